"""How large the package is: lines by folder, of the five files to read first, and one name's way.

    python benchmarks/size.py [--way]

With --way a small training shows which functions of the package are given or return the name of one
image, alone or among others, from the CSV to predictions_val.csv.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

PACKAGE = Path(__file__).parents[1] / "vehicle_lightning"
CORE = ("runs", "data", "model", "fit")  # with the files beside them
READ_FIRST = (
    "config.py",
    "data/datamodule.py",
    "model/network.py",
    "model/classifier.py",
    "fit/train.py",
)


def lines(files: list[Path]) -> int:
    """Return how many lines the files have together."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> None:
    """Print one row for each folder, then the sums."""
    folders = {folder.name: sorted(folder.rglob("*.py")) for folder in sorted(PACKAGE.iterdir())}
    parts = {name: files for name, files in folders.items() if files}
    parts["(top level)"] = sorted(PACKAGE.glob("*.py"))
    for name, files in parts.items():
        print(f"{name:14} {len(files):3} files {lines(files):6} lines")
    core = [file for name in (*CORE, "(top level)") for file in parts[name]]
    every = [file for files in parts.values() for file in files]
    print(f"{'core':14} {len(core):3} files {lines(core):6} lines")
    print(f"{'all':14} {len(every):3} files {lines(every):6} lines")
    print(f"read first     {lines([PACKAGE / name for name in READ_FIRST])} lines")
    if "--way" in sys.argv:
        met = way_of_a_name()
        print(f"a name meets   {len(met)} functions in {len({file for file, _ in met})} files")
        for file, function in sorted(met):
            print(f"    {file} {function}")


def way_of_a_name() -> set[tuple[str, str]]:
    """Train for an epoch, and return file and name of each function that meets an image's name."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from vehicle_lightning import Settings, train
    from vehicle_lightning.synthetic import make_vehicles

    met: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as place:
        folder = make_vehicles(Path(place) / "data", count=40, image_size=32, workers=1)
        name = (folder / "train.csv").read_text(encoding="utf-8").split()[1].split(",")[0]

        def look(frame: FrameType, event: str, result: Any) -> None:
            code = frame.f_code
            if not code.co_filename.startswith(str(PACKAGE)) or code.co_name.startswith("<"):
                return
            given = [value for key, value in frame.f_locals.items() if key != "self"]
            values = given if event == "call" else [result]
            if event in ("call", "return") and holds(name, values):
                met.add((Path(code.co_filename).relative_to(PACKAGE).as_posix(), code.co_qualname))

        settings = Settings(
            data_dir=folder,
            image_size=32,
            epochs=1,
            log_dir=Path(place) / "logs",
            cache_dir=Path(place) / "cache",
        )
        threading.setprofile(look)
        sys.setprofile(look)
        try:
            train(settings)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return met


def holds(name: str, values: Iterable[Any], depth: int = 3) -> bool:
    """Whether a text, a path, or anything that holds some of them, has the name."""
    for value in values:
        if isinstance(value, str | Path):
            found = str(value).endswith(name)
        elif isinstance(value, dict):
            found = depth > 0 and holds(name, [*value, *value.values()], depth - 1)
        elif isinstance(value, pd.DataFrame):
            found = "file" in value and bool((value["file"] == name).any())
        elif isinstance(value, list | tuple | set):
            found = depth > 0 and holds(name, value, depth - 1)
        elif is_dataclass(value):
            found = depth > 0 and holds(name, vars(value).values(), depth - 1)
        else:
            found = False
        if found:
            return True
    return False


if __name__ == "__main__":
    main()
