"""What the command line names: checkpoints to predict by, and images to predict.

Nothing here opens an image or a checkpoint, so that a slip of the pen is told before anything slow
is imported.
"""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vehicle_lightning.console import notice
from vehicle_lightning.data.images import IMAGE_SUFFIXES
from vehicle_lightning.data.paths import ImageFile, link_fault, stays_inside
from vehicle_lightning.errors import DataError, RunError
from vehicle_lightning.runs.folder import RunFolder

CHECKPOINT_SUFFIX = ".ckpt"


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
                yield ImageFile(str(path), fault=link_fault(path, is_inside))


def _raise(error: OSError) -> None:
    raise error
