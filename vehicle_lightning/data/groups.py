"""Grouping: which images must stay on one side of the split, as they show the same photograph."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from vehicle_lightning.console import progress_over
from vehicle_lightning.data.duplicates import Pairs, grouped, near_duplicates
from vehicle_lightning.data.hashes import THUMBNAIL, Prints, StoredPrints
from vehicle_lightning.data.images import read_again
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import atomic_write
from vehicle_lightning.parallel import in_threads

AT_ONCE = 64  # images
GROUPING_VERSION = 3  # raise it whenever the same images would be grouped in another way


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


def group_images(
    path_of: Callable[[int], Path],
    digests: NDArray[np.bytes_],
    cache_dir: Path,
    prints: StoredPrints | None = None,
) -> Groups:
    """Find exact and near copies among readable images, or find them found already.

    Args:
        path_of: returns the file of each of N images, counted from 0.
        digests: bytes of shape (N,), hashes of their contents.
        cache_dir: folder to remember the near copies in.
        prints: of the N pictures, where they have been taken already.

    Raises:
        DataError: the cache folder cannot be written to, or the disk is full.
        ImageChangedError: a file cannot be read any more.
    """
    distinct, first, which = np.unique(digests, return_index=True, return_inverse=True)
    file = cache_dir / f"{_key(distinct)}-copies.npy"
    near = _remembered(file, len(distinct))
    if near is None:
        near = which[_near_copies(path_of, np.sort(first), cache_dir, prints)]
        _remember(file, near)
    exact = np.stack([np.arange(len(digests)), first[which]], axis=1)
    groups = grouped(len(digests), exact, first[near])
    return Groups(groups, len(digests) - len(distinct), len(distinct) - int(groups.max()) - 1)


def thumbnails_of(
    path_of: Callable[[int], Path],
) -> Callable[[NDArray[np.int64]], NDArray[np.uint8]]:
    """Return what reads of some of the files what is compared: uint8 of shape (B, 56, 56), grey."""
    return lambda rows: np.stack(
        [read_again(path_of(row), THUMBNAIL, grey=True) for row in rows.tolist()]
    )


def _near_copies(
    path_of: Callable[[int], Path],
    rows: NDArray[np.int64],
    cache_dir: Path,
    prints: StoredPrints | None,
) -> Pairs:
    """Find near copies among some images, whose prints may have been read with all others."""
    if prints is not None:
        return near_duplicates(prints, thumbnails_of(path_of), among=rows)
    read = thumbnails_of(lambda position: path_of(int(rows[position])))
    return rows[near_duplicates(_read_prints(read, len(rows), cache_dir), read)]


def _read_prints(
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]], count: int, folder: Path
) -> StoredPrints:
    prints = StoredPrints(folder)
    batches = np.split(np.arange(count), range(AT_ONCE, count, AT_ONCE))
    parts = in_threads(lambda batch: Prints.of(read(batch)), batches)
    for part in progress_over(parts, len(batches), "Looking for near copies"):
        prints.append(part)
    return prints


def _key(digests: NDArray[np.bytes_]) -> str:
    key = hashlib.blake2b(f"{GROUPING_VERSION} {PIL.__version__} ".encode(), digest_size=12)
    key.update(digests.tobytes())
    return key.hexdigest()


def _remembered(file: Path, count: int) -> Pairs | None:
    """Return the pairs among `count` pictures that a file has."""
    try:
        known: Pairs = np.load(file)
    except (OSError, ValueError, EOFError):
        return None  # not known yet, or damaged
    is_pairs = isinstance(known, np.ndarray) and known.dtype == np.int64 and known.shape[1:] == (2,)
    return known if is_pairs and ((known >= 0) & (known < count)).all() else None


def _remember(file: Path, pairs: Pairs) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, pairs)
    except OSError as error:
        raise DataError(
            f"Cannot write {error.filename or file} ({error.strerror}); choose another --cache-dir."
        ) from error
