"""Image files by name, before any is opened: none outside its folder, and why some are missing."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vehicle_lightning.data.images import IMAGE_SUFFIXES
from vehicle_lightning.errors import one_line

# An absolute path, of whatever system, or a way up.
LEADS_OUTSIDE = r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)"
# On Windows alone `C:x` means a file of another drive; elsewhere it is a name like others.
OUTSIDE = re.compile(LEADS_OUTSIDE + ("|^[A-Za-z]:" if os.name == "nt" else ""))
LEAST = 0.5  # of the missing files that a reason must explain


def leads_outside(name: str) -> bool:
    """Whether a name, put behind a folder, could lead out of it."""
    return OUTSIDE.search(name) is not None


def stays_inside(folder: Path) -> Callable[[str | Path], bool]:
    """Return what tells whether a path, all links followed, is one of a file in the folder."""
    root = folder.resolve()
    parents: dict[str, bool] = {}  # following links takes longer than all else that a path costs

    def is_inside(path: str | Path) -> bool:
        parent = os.path.dirname(path)
        try:
            if parent not in parents:
                parents[parent] = Path(parent).resolve().is_relative_to(root)
            is_sound = not os.path.islink(path) or Path(path).resolve().is_relative_to(root)
        except (RuntimeError, OSError, ValueError):  # links in a circle, or no name at all
            return False
        return parents[parent] and is_sound

    return is_inside


def files_below(folder: Path) -> Iterator[str]:
    """Yield the files in a folder, to any depth, by name relative to it, in order; none hidden."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inner = Path(place).relative_to(folder).as_posix()
        for name in sorted(files):
            if not name.startswith("."):
                yield name if inner == "." else f"{inner}/{name}"


@dataclass(frozen=True, slots=True)  # there may be millions
class ImageFile:
    """An image to predict.

    Attributes:
        name: what the output calls it: the path as it was given, or the name in the CSV.
        folder: what the name is relative to.
        fault: why it must not be opened; empty if it may.
    """

    name: str
    folder: Path = Path()
    fault: str = ""

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.name


def listed_images(names: Sequence[str], image_dir: Path) -> list[ImageFile]:
    """Return the images of a list, in its order.

    A name that is blank or leads out of the image folder has a fault, so that no row is lost.
    """
    is_inside = stays_inside(image_dir)

    def fault(name: str) -> str:
        if not name:
            return "no name"
        if leads_outside(name):
            return "leads out of the image folder"
        return link_fault(image_dir / name, is_inside)

    return [ImageFile(name, image_dir, fault(name)) for name in names]


def link_fault(path: Path, is_inside: Callable[[Path], bool]) -> str:
    """Say that a link leads out of the folder that `is_inside` tells of, or nothing."""
    return "" if is_inside(path) else "a link out of the image folder"


def likely_reason(missing: Sequence[str], image_dir: Path | None) -> str:
    """Say in a clause why files are missing, if most of them are there under a like name.

    Args:
        missing: names of files that are not in the folder.
        image_dir: the folder; None where the images lie anywhere.
    """
    if not missing or image_dir is None:
        return ""
    there = list(files_below(image_dir))
    if not there:
        return (
            f"there are no files in {image_dir.absolute()}; name another folder with --image-dir."
        )
    for like, how in LIKE:
        # The one file of each key; what several files have in common tells nothing.
        counts = Counter(map(like, there))
        files = {key: name for name in there if counts[key := like(name)] == 1}
        found = {name: files[like(name)] for name in missing if like(name) in files}
        if len(found) >= LEAST * len(missing):
            name, other = next(iter(found.items()))
            looks_same = _same_form(name) == _same_form(other)
            return (
                f"{len(found)} of the {len(missing)} missing are there "
                f"{how.format(PurePosixPath(other).suffix)}, as {one_line(other)} for "
                f"{ascii(name) if looks_same else one_line(name)}; write the names in the CSV as "
                f"the files are called{_folder(found)}."
            )
    return ""


def _same_path(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _same_form(name: str) -> str:
    return unicodedata.normalize("NFC", _same_path(name))


def _same_letters(name: str) -> str:
    return _same_form(name).casefold()


def _same_stem(name: str) -> str:
    path = PurePosixPath(_same_letters(name))
    return str(path.with_suffix("")) if path.suffix in IMAGE_SUFFIXES else str(path)


def _same_file_name(name: str) -> str:
    return PurePosixPath(_same_path(name)).name


# What is left of a name without the ways in which two may differ, and how the file is called then.
LIKE: tuple[tuple[Callable[[str], str], str], ...] = (
    (_same_path, "with / in the place of \\"),
    (_same_form, "in another Unicode form of the same letters"),
    (_same_letters, "in upper or lower case"),
    (_same_stem, "with the ending {}"),
    (_same_file_name, "in another folder"),
)


def _folder(found: dict[str, str]) -> str:
    """The folder to name instead, where that is all that is wrong."""
    fronts = Counter(
        other.removesuffix(name) for name, other in found.items() if other.endswith("/" + name)
    )
    if list(fronts.values()) != [len(found)]:
        return ""
    return f", or name the folder {next(iter(fronts)).rstrip('/')} in it with --image-dir"
