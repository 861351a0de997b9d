"""The arrows of the architecture run one way, and a command can be deleted."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vehicle_lightning"
GROUND = {"config", "conflicts", "settings_file", "errors", "files", "console", "parallel"}
COMMANDS = {path.parent.name for path in PACKAGE.glob("*/__main__.py")} - {"fit"}
TRAIN = {"sweep", "improve", "learning_curve"}  # the commands that may import fit
ALLOWED = {
    **dict.fromkeys(GROUND, GROUND),
    "runs": GROUND,
    "cli": GROUND | {"runs"},
    "synthetic": GROUND,
    "data": GROUND | {"synthetic"},
    "model": GROUND | {"runs", "data"},
    "fit": GROUND | {"cli", "runs", "data", "model"},
    **{
        name: GROUND | {"cli", "runs", "data", "model"} | ({"fit"} if name in TRAIN else set())
        for name in COMMANDS
    },
}


def imports(part: Path) -> set[str]:
    """The parts of the package that a file or a folder imports, wherever in it."""
    found = set()
    for file in sorted(part.rglob("*.py")) if part.is_dir() else [part]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
                if node.module == "vehicle_lightning":
                    modules = [f"vehicle_lightning.{name.name}" for name in node.names]
            elif isinstance(node, ast.Import):
                modules = [name.name for name in node.names]
            found |= {m.split(".")[1] for m in modules if m.startswith("vehicle_lightning.")}
    return found - {part.stem}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_arrows_run_one_way(name: str) -> None:
    part = PACKAGE / name if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
    assert imports(part) <= ALLOWED[name]


def test_every_part_is_listed() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    assert parts == set(ALLOWED)


def test_training_works_with_all_other_commands_deleted(drawn: Path, tmp_path: Path) -> None:
    copy = tmp_path / "vehicle_lightning"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", *COMMANDS))
    flags = [
        "--data-dir",
        str(drawn),
        "--image-size",
        "32",
        "--epochs",
        "1",
        "--accelerator",
        "cpu",
    ]
    command = [sys.executable, "-m", "vehicle_lightning.fit", *flags]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "logs/image-size32-epochs1/0/summary.json").is_file()
