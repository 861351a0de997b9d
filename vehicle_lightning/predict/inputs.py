"""What the command line names: checkpoints to predict by, and images to predict.

Nothing here opens an image or a checkpoint, so that a slip of the pen is told before anything slow
is imported.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vehicle_lightning.console import notice
from vehicle_lightning.data.safe_path import leads_outside, stays_inside
from vehicle_lightning.errors import DataError, RunError
from vehicle_lightning.runs.folder import RunFolder

CHECKPOINT_SUFFIX = ".ckpt"
# What is taken for an image in a folder. Phones write HEIC, which Pillow alone does not read: such
# a file is better reported than passed over.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".jp2", ".avif", ".heic", ".heif"),
)


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


def tell_apart(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the models among the paths, and all others: images and folders of images.

    A model is a run folder or a checkpoint file. What does not exist is taken as a pattern.

    Raises:
        DataError: a path does not exist, and nothing matches it.
        RunError: there is no model.
    """
    found = [match for path in paths for match in _matching(path)]
    models = [path for path in found if _is_model(path)]
    if not models:
        raise RunError(
            "There is no model to predict by; give a run folder such as logs/default/0, or a "
            "checkpoint file."
        )
    return models, [path for path in found if not _is_model(path)]


def _matching(path: Path) -> list[Path]:
    if path.exists() or path.is_symlink():
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  takes absolute ones too
    if not matches:
        raise DataError(f"There is no file or folder {path}, and as a pattern it matches nothing.")
    return list(map(Path, matches))


def _is_model(path: Path) -> bool:
    return path.suffix == CHECKPOINT_SUFFIX or RunFolder(path).config.is_file()


def find_images(paths: Sequence[Path]) -> list[ImageFile]:
    """Return the given image files, and those in the given folders in the order of their names.

    Folders are searched to any depth for files that are called like images; hidden ones do not
    count, and links to folders are not followed. An image that is named twice counts once.

    Raises:
        DataError: there are no images, or a folder holds a run.
        OSError: a folder cannot be read.
    """
    images: dict[str, ImageFile] = {}
    for path in paths:
        for image in _in_folder(path) if path.is_dir() else [ImageFile(str(path))]:
            images.setdefault(image.name, image)
    if not images:
        where = f" in {', '.join(map(str, paths))}" if paths else ""
        raise DataError(
            f"There are no images{where}; give image files, folders of them, a quoted pattern, or "
            f"a --csv of names."
        )
    return list(images.values())


def listed_images(csv: Path, column: str, image_dir: Path) -> list[ImageFile]:
    """Return the images that a CSV lists, one a row and in its order.

    A name that is blank or leads out of the image folder has a fault, so that no row is lost.

    Raises:
        DataError: the CSV cannot be read, has no such column, or has no rows.
    """
    from vehicle_lightning.data.table import read_names  # pandas takes its time

    names = read_names(csv, column)
    is_inside = stays_inside(image_dir)
    return [
        _listed(name, image_dir, outside, is_inside)
        for name, outside in zip(names, leads_outside(names), strict=True)
    ]


def _listed(
    name: str, image_dir: Path, outside: bool, is_inside: Callable[[Path], bool]
) -> ImageFile:
    if not name:
        return ImageFile(name, image_dir, "no name")
    if outside:
        return ImageFile(name, image_dir, "leads out of the image folder")
    return ImageFile(name, image_dir, _link_fault(image_dir / name, is_inside))


def _in_folder(folder: Path) -> Iterator[ImageFile]:
    is_inside = stays_inside(folder)
    for place, folders, files in os.walk(folder, onerror=_raise):
        run = RunFolder(Path(place))
        if run.config.name in files and run.checkpoints.name in folders:
            raise DataError(
                f"{folder} holds the run {place}, whose pictures are no photographs; name the run "
                f"itself to predict by it."
            )
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (linked := Path(place, name)).is_symlink():
                notice(f"{linked} is a link to a folder and is not followed; name it by itself.")
        for name in sorted(files):
            path = Path(place, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield ImageFile(str(path), fault=_link_fault(path, is_inside))


def _link_fault(path: Path, is_inside: Callable[[Path], bool]) -> str:
    return "" if is_inside(path) else "a link out of the image folder"


def _raise(error: OSError) -> None:
    raise error
