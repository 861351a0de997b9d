"""What README and docs promise: Python that runs, flags that exist, links that lead somewhere."""

import contextlib
import io
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from vehicle_lightning.__main__ import commands

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "experiments/README.md")]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(.+(?:\\\n.+)*)$", re.MULTILINE)
NAMES = "|".join(commands())
COMMAND = re.compile(rf"(?:python -m vehicle_lightning\.|^)({NAMES})\b(.*)", re.DOTALL)
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
EXAMPLES = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")))
]


@cache
def flags_of(command: str) -> frozenset[str]:
    """The flags that the help of a command names."""
    main = import_module(f"vehicle_lightning.{command}.__main__").main
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main(["--help"])
    return frozenset(FLAG.findall(printed.getvalue()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", EXAMPLES)
def test_python_runs(
    code: str, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").symlink_to(drawn)
    exec(compile(code, "<page>", "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_exist(page: Path) -> None:
    text = PYTHON.sub("", page.read_text(encoding="utf-8"))
    every = frozenset().union(*map(flags_of, commands()))
    for span, block in CODE.findall(text):
        code = (span or block).strip()
        called = COMMAND.search(code)
        if called:
            name, rest = called.groups()
            assert set(FLAG.findall(rest)) <= flags_of(name), code
        elif code.startswith("--"):
            assert set(FLAG.findall(code)) <= every, code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    named = re.findall(r"python -m vehicle_lightning\.(\w+)", page.read_text(encoding="utf-8"))
    assert set(named) <= set(commands())


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1500
