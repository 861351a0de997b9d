"""Image files by name, before any is opened: none outside its folder, and why some are missing."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
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
    there = [
        Path(place, name).relative_to(image_dir).as_posix()
        for place, _, files in os.walk(image_dir)
        for name in files
    ]
    if not there:
        return (
            f"there are no files in {image_dir.absolute()}; name another folder with --image-dir."
        )
    for like in (_same_letters, _same_stem, _same_file_name):
        # The one file of each key; what several files have in common tells nothing.
        files = {key: names[0] for key, names in _by(like, there).items() if len(names) == 1}
        found = {name: files[like(name)] for name in missing if like(name) in files}
        if len(found) >= LEAST * len(missing):
            name, other = next(iter(found.items()))
            return (
                f"{len(found)} of the {len(missing)} missing are there {_difference(name, other)}, "
                f"as {one_line(other)} for {_spelt(name, other)}; write the names in the CSV as "
                f"the files are called{_folder(found)}."
            )
    return ""


def _by(key: Callable[[str], str], names: Iterable[str]) -> dict[str, list[str]]:
    every: dict[str, list[str]] = defaultdict(list)
    for name in names:
        every[key(name)].append(name)
    return every


def _same_letters(name: str) -> str:
    """A name without case, Unicode form, and the way in which folders are separated."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./").casefold()


def _same_stem(name: str) -> str:
    """Likewise, without the ending of an image."""
    path = PurePosixPath(_same_letters(name))
    return str(path.with_suffix("")) if path.suffix in IMAGE_SUFFIXES else str(path)


def _same_file_name(name: str) -> str:
    """A name without its folder."""
    return PurePosixPath(name.replace("\\", "/")).name


def _difference(name: str, other: str) -> str:
    if "\\" in name and name.replace("\\", "/").casefold() == other.casefold():
        return "with / in the place of \\"
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other):
        return "in another Unicode form of the same letters"
    if name.casefold() == other.casefold():
        return "in upper or lower case"
    before, after = PurePosixPath(name), PurePosixPath(other)
    if _same_letters(after.stem) == _same_letters(before.name):
        return f"with {after.suffix} behind the name"
    if before.suffix.casefold() != after.suffix.casefold():
        return f"with the ending {after.suffix}"
    return "in another folder"


def _spelt(name: str, other: str) -> str:
    """A name as it is shown, spelt out where it would look like the other one."""
    normal = (unicodedata.normalize("NFC", text) for text in (name, other))
    return ascii(name) if len(set(normal)) == 1 else one_line(name)


def _folder(found: dict[str, str]) -> str:
    """The folder to name instead, where that is all that is wrong."""
    fronts = Counter(
        other.removesuffix(name) for name, other in found.items() if other.endswith("/" + name)
    )
    if len(fronts) == 1 and sum(fronts.values()) == len(found):
        return f", or name the folder {next(iter(fronts)).rstrip('/')} in it with --image-dir"
    return ""
