"""How large the package is: files and lines by folder, and of the five files to read first.

python benchmarks/size.py
"""

from pathlib import Path

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


if __name__ == "__main__":
    main()
