"""Images by name: what a command line or a CSV lists, before any of them is opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vehicle_lightning.data.safe_path import leads_outside, stays_inside


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
    return [
        _listed(name, image_dir, outside, is_inside)
        for name, outside in zip(names, leads_outside(names), strict=True)
    ]


def link_fault(path: Path, is_inside: Callable[[Path], bool]) -> str:
    """Say that a link leads out of the folder that `is_inside` tells of, or nothing."""
    return "" if is_inside(path) else "a link out of the image folder"


def _listed(
    name: str, image_dir: Path, outside: bool, is_inside: Callable[[Path], bool]
) -> ImageFile:
    if not name:
        return ImageFile(name, image_dir, "no name")
    if outside:
        return ImageFile(name, image_dir, "leads out of the image folder")
    return ImageFile(name, image_dir, link_fault(image_dir / name, is_inside))
