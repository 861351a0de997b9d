"""Grouping: which images must stay on one side of the split, as they show the same photograph."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from vehicle_lightning.console import progress_bar
from vehicle_lightning.data.duplicates import THUMBNAIL, Pairs, grouped, near_duplicates
from vehicle_lightning.data.images import read_image
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import written_whole

GROUPING_VERSION = 1  # raise it whenever the same images would be grouped in another way


@dataclass(frozen=True)
class Groups:
    """Which images show the same photograph.

    Attributes:
        of_image: int64 of shape (N,), the group of each image, numbered from 0 as they appear.
        exact: number of images whose file equals an earlier one.
        near: number of further images that show what an earlier one shows.
    """

    of_image: NDArray[np.int64]
    exact: int
    near: int


def group_images(paths: Sequence[Path], digests: NDArray[np.str_], cache_dir: Path) -> Groups:
    """Find exact and near copies among readable images, or find them found already.

    Args:
        paths: the image files.
        digests: str of shape (N,), hashes of their contents.
        cache_dir: folder to remember the near copies in.

    Raises:
        DataError: the cache folder cannot be written to, or the disk is full.
    """
    distinct, first, which = np.unique(digests, return_index=True, return_inverse=True)
    near = first[_near_pairs([paths[row] for row in first], distinct, cache_dir)]
    exact = np.stack([np.arange(len(digests)), first[which]], axis=1)
    groups = grouped(len(digests), exact, near)
    return Groups(groups, len(digests) - len(distinct), len(distinct) - int(groups.max()) - 1)


def _near_pairs(paths: Sequence[Path], digests: NDArray[np.str_], cache_dir: Path) -> Pairs:
    """Pairs of positions in `paths`, whose digests are distinct and in ascending order."""
    content = f"{GROUPING_VERSION} {PIL.__version__} " + " ".join(digests)
    key = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
    file = cache_dir / f"{key}-copies.npy"
    try:
        known: Pairs = np.load(file)
        return known.reshape(-1, 2)
    except (OSError, ValueError, EOFError):
        pass  # not known yet, or damaged
    pairs = _search(paths)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, pairs)
    except OSError as error:
        raise DataError(
            f"Cannot write {error.filename or file} ({error.strerror}); choose another --cache-dir."
        ) from error
    return pairs


def _search(paths: Sequence[Path]) -> Pairs:
    with ThreadPoolExecutor() as pool, progress_bar() as bar:
        task = bar.add_task("Looking for near copies", total=len(paths))

        def thumbnails(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            found = np.stack(list(pool.map(_thumbnail, (paths[row] for row in rows))))
            bar.advance(task, len(rows))
            return found

        return near_duplicates(thumbnails, len(paths))


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    """Grey of shape (64, 64)."""
    return np.asarray(Image.fromarray(read_image(path, THUMBNAIL)).convert("L"))
