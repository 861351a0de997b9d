"""Why image files are missing: the likely reason, and what to change."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from vehicle_lightning.data.images import IMAGE_SUFFIXES
from vehicle_lightning.errors import one_line

LEAST = 0.5  # of the missing files that a reason must explain


def likely_reason(missing: Sequence[str], image_dir: Path | None) -> str:
    """Say in a clause why files are missing, if most of them are there under a like name.

    Args:
        missing: names of files that are not in the folder.
        image_dir: the folder; None where the images lie anywhere.
    """
    if not missing or image_dir is None:
        return ""
    there = _files(image_dir)
    if not there:
        return (
            f"there are no files in {image_dir.absolute()}; name another folder with --image-dir."
        )
    for explain in (_other_letters, _ending, _place):
        found = {name: other for name in missing if (other := explain(name, there))}
        if len(found) < LEAST * len(missing):
            continue
        name, other = next(iter(found.items()))
        return (
            f"{len(found)} of the {len(missing)} missing are there {_difference(name, other)}, as "
            f"{one_line(other)} for {_spelt(name, other)}; write the names in the CSV as the files "
            f"are called{_folder(found)}."
        )
    return ""


class _There:
    """The names of all files in a folder, relative to it, and by what they are looked up."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        self.by_sense = _first_by(names, _sense)
        self.by_stem = _first_by(
            names, lambda name: _sense(str(PurePosixPath(name).with_suffix("")))
        )
        self.by_last = _first_by(names, lambda name: PurePosixPath(name).name)


def _first_by(names: Sequence[str], key: Callable[[str], str]) -> dict[str, str]:
    """The one name of each key; keys of several names tell nothing."""
    every: dict[str, list[str]] = defaultdict(list)
    for name in names:
        every[key(name)].append(name)
    return {sense: same[0] for sense, same in every.items() if len(same) == 1}


def _files(folder: Path) -> _There | None:
    names = [
        Path(place, name).relative_to(folder).as_posix()
        for place, _, files in os.walk(folder)
        for name in files
    ]
    return _There(names) if names else None


def _sense(name: str) -> str:
    """A name without case, Unicode form, and the way in which folders are separated."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./").casefold()


def _other_letters(name: str, there: _There) -> str:
    return there.by_sense.get(_sense(name), "")


def _ending(name: str, there: _There) -> str:
    """The file that has this name with an ending, or with another one."""
    sense = _sense(name)
    path = PurePosixPath(sense)
    ends = path.suffix in IMAGE_SUFFIXES
    return there.by_stem.get(sense, "") or (
        there.by_stem.get(str(path.with_suffix("")), "") if ends else ""
    )


def _place(name: str, there: _There) -> str:
    """The file of this name in another folder."""
    return there.by_last.get(PurePosixPath(name.replace("\\", "/")).name, "")


def _difference(name: str, other: str) -> str:
    if "\\" in name and name.replace("\\", "/").casefold() == other.casefold():
        return "with / in the place of \\"
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other):
        return "in another Unicode form of the same letters"
    if name.casefold() == other.casefold():
        return "in upper or lower case"
    before, after = PurePosixPath(name), PurePosixPath(other)
    if _sense(after.stem) == _sense(before.name):
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
