"""The default data set: synthetic emergency and ordinary vehicles, drawn on first use.

They stand in for photographs whose licence does not allow passing them on, and have the same
layout: a CSV file of names and labels, and a folder of JPEG files.
"""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import filelock
import numpy as np

from vehicle_lightning.errors import DataError
from vehicle_lightning.parallel import cores, in_processes

VERSION = 2  # raise it whenever the same seed would give other pictures

CSV_NAME = "train.csv"
IMAGES_NAME = "images"
RECIPE_NAME = "synthetic.json"

EMERGENCY_SHARE = 681 / 1646  # as among the photographs
JPEG_QUALITIES = (62, 94)  # lowest, and one above the highest; the same for both classes
BATCH = 12  # pictures handed to a process at a time
DRAWING_VARIABLE = "VEHICLE_LIGHTNING_DRAWING"  # tells child processes what is being drawn


@dataclass(frozen=True)
class Recipe:
    """All that decides what a set looks like."""

    version: int
    count: int
    image_size: int
    seed: int


def make_vehicles(
    directory: Path | str,
    *,
    count: int = 1646,
    image_size: int = 224,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Draw `count` square pictures of vehicles, unless `directory` already holds the same set.

    Writes `train.csv` (columns `image_names`, `emergency_or_not`: 1 for police, fire brigade and
    ambulance, 0 for all else) and `images/*.jpg`, and returns the directory. The set depends on
    `count` (at least 1), `image_size` (pixels a side, at least 32) and `seed` (0 or more) only,
    never on `workers`, the number of processes (default: one for each available core).

    Several processes may ask for the same directory at once: one draws, the others wait. The
    directory appears under its name only when it is complete.

    Raises:
        DataError: the directory holds something else or cannot be written to.
        ValueError: a number is out of its range.
    """
    if count < 1 or image_size < 32 or seed < 0 or (workers is not None and workers < 1):
        raise ValueError(
            "make_vehicles needs count >= 1, image_size >= 32, seed >= 0 and workers >= 1"
        )
    directory, recipe = Path(directory), Recipe(VERSION, count, image_size, seed)
    if _holds(directory, recipe):
        return directory
    try:
        with _only_one(directory):
            if not _holds(directory, recipe):
                _refuse_foreign(directory)
                _draw_aside(directory, recipe, workers or cores())
    except OSError as error:
        raise DataError(
            f"Cannot write the synthetic vehicles to {directory} ({error.strerror or error}); "
            "choose another directory, or make room and allow writing there."
        ) from error
    return directory


def _holds(directory: Path, recipe: Recipe) -> bool:
    """Whether the directory holds a complete set made by the same recipe."""
    try:
        found = json.loads((directory / RECIPE_NAME).read_text(encoding="utf-8"))
        pictures = sum(1 for _ in (directory / IMAGES_NAME).iterdir())
    except (OSError, ValueError):
        return False
    complete = pictures == recipe.count and (directory / CSV_NAME).is_file()
    return complete and bool(found == asdict(recipe))


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Let one process at a time draw a directory."""
    place = str(directory.absolute())
    if os.environ.get(DRAWING_VARIABLE) == place:
        # A script without a main guard, run again by the processes that it started itself: waiting
        # for the lock would never end.
        raise RuntimeError('put the code of the script under `if __name__ == "__main__":`')
    directory.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(directory.with_name(f".{directory.name}.lock")):
        os.environ[DRAWING_VARIABLE] = place
        try:
            yield
        finally:
            del os.environ[DRAWING_VARIABLE]


def _refuse_foreign(directory: Path) -> None:
    """Accept only a directory that does not exist yet or is empty."""
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if (directory / RECIPE_NAME).is_file():
        raise DataError(
            f"{directory} holds synthetic vehicles of other settings, or not all of them; choose "
            "another directory, or delete this one to draw it anew."
        )
    if directory.exists() or directory.is_symlink():
        raise DataError(
            f"{directory} is in the way of the synthetic vehicles and holds something else; "
            "choose another directory, or move it away."
        )


def _draw_aside(directory: Path, recipe: Recipe, workers: int) -> None:
    """Draw under another name next to the directory, and rename at the end."""
    partial = directory.with_name(f".{directory.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)  # what a killed drawing left behind; the lock says nobody uses it
    images = partial / IMAGES_NAME
    images.mkdir(parents=True)
    try:
        labels = _labels(recipe)
        _draw_all(images, recipe, labels, workers)
        with (partial / CSV_NAME).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image_names", "emergency_or_not"))
            writer.writerows((_name(recipe, i), int(label)) for i, label in enumerate(labels))
        (partial / RECIPE_NAME).write_text(json.dumps(asdict(recipe)) + "\n", encoding="utf-8")
        if directory.is_dir():
            directory.rmdir()  # empty, and in the way of renaming on Windows
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _labels(recipe: Recipe) -> list[bool]:
    """Whether each picture shows an emergency vehicle, shuffled so that no order tells it."""
    count = recipe.count
    emergencies = round(count * EMERGENCY_SHARE)
    if count > 1:
        emergencies = min(max(emergencies, 1), count - 1)
    # Pictures use the generators [seed, 0] to [seed, count - 1].
    rng = np.random.default_rng([recipe.seed, count])
    labels: list[bool] = rng.permutation(np.arange(count) < emergencies).tolist()
    return labels


def _name(recipe: Recipe, index: int) -> str:
    return f"{index + 1:0{max(4, len(str(recipe.count)))}}.jpg"


def _draw_all(images: Path, recipe: Recipe, labels: list[bool], workers: int) -> None:
    """Draw all pictures in this process, or in several when there are enough of them."""
    from vehicle_lightning.console import notice, progress_over  # only needed when drawing

    notice(f"Drawing {recipe.count} synthetic vehicles, once.")
    pictures = list(enumerate(labels))
    batches = [pictures[start : start + BATCH] for start in range(0, recipe.count, BATCH)]
    draw = partial(_draw_batch, images, recipe)
    alone = workers == 1 or len(batches) == 1
    drawn = map(draw, batches) if alone else in_processes(draw, batches, min(workers, len(batches)))
    for _ in progress_over(chain.from_iterable(drawn), recipe.count, "Drawing vehicles"):
        pass


Batch = list[tuple[int, bool]]  # number and label of each picture


def _draw_batch(images: Path, recipe: Recipe, pictures: Batch) -> Batch:
    """Draw and save a few pictures, and return them."""
    from vehicle_lightning.synthetic.picture import draw_picture  # only needed when drawing

    for index, emergency in pictures:
        rng = np.random.default_rng([recipe.seed, index])
        quality = int(rng.integers(*JPEG_QUALITIES))
        image = draw_picture(rng, emergency=emergency, image_size=recipe.image_size)
        image.save(images / _name(recipe, index), quality=quality)
    return pictures
