"""The cache: every image decoded once, checked once, and kept as pixels in one mapped file.

A cache is named after the contents of the images and their size in pixels, so a changed image is
never served stale, and runs on the same images share one file whatever the folder is called.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path

from vehicle_lightning.console import progress_over
from vehicle_lightning.data.images import read_again, read_or_fault
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import atomic_write, remove_half_written
from vehicle_lightning.parallel import in_threads

AT_ONCE = 64  # files
CACHE_VERSION = 1  # raise it when read_image or the layout of the files changes

Pixels = NDArray[np.uint8]


class PixelSource(Protocol):
    """Gives the pixels of rows: uint8 of shape (B, H, W, 3)."""

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels: ...


@dataclass(frozen=True)
class DecodedImages:
    """What the first read of N images found.

    Attributes:
        digests: the hash of each file's content; equal files have equal ones. None where the file
            could not be read.
        unreadable: row -> what is wrong with its file.
        channel_mean: float64 of shape (N, 3), mean of each image's red, green, blue in [0, 1].
        channel_mean_square: float64 of shape (N, 3), mean of their squares.
        pixels: gives the pixels of rows.
    """

    digests: tuple[str | None, ...]
    unreadable: dict[int, str]
    channel_mean: NDArray[np.float64]
    channel_mean_square: NDArray[np.float64]
    pixels: PixelSource


def default_cache_dir() -> Path:
    """Return the cache folder of this package: `$VEHICLE_LIGHTNING_CACHE`, or the user's own."""
    chosen = os.environ.get("VEHICLE_LIGHTNING_CACHE")
    return Path(chosen) if chosen else user_cache_path("vehicle_lightning", appauthor=False)


def decode_images(
    paths: Sequence[Path], image_size: int, cache_dir: Path, *, keep_pixels: bool = True
) -> DecodedImages:
    """Decode all images in parallel, or find them decoded already.

    Args:
        paths: the image files.
        image_size: height and width to bring them to, in pixels.
        cache_dir: folder of the cache files; several processes may share it.
        keep_pixels: keep the pixels in a memory-mapped file (N * image_size^2 * 3 bytes);
            otherwise only check each image once, and decode at every use.

    Raises:
        DataError: the cache folder cannot be written to, or the disk is full.
    """
    digests, unreadable = _digest(paths)
    readable = [row for row in range(len(paths)) if row not in unreadable]
    key = _key(image_size, (digests[row] for row in readable))
    pixel_file = cache_dir / f"{key}-pixels.npy"
    index_file = cache_dir / f"{key}-index.npz"

    def is_there() -> bool:
        shape = (len(readable), image_size, image_size, 3)
        return _index_is_whole(index_file, shape) and (
            not keep_pixels or _pixels_are_whole(pixel_file, shape)
        )

    if not is_there():
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(cache_dir / f"{key}.lock"):
                if not is_there():
                    remove_half_written(cache_dir, key)
                    kept = pixel_file if keep_pixels else None
                    _decode(paths, readable, image_size, kept, index_file)
        except OSError as error:
            megabytes = len(readable) * image_size**2 * 3 / 1e6 if keep_pixels else 1
            raise DataError(
                f"Cannot write the image cache {error.filename or cache_dir} ({error.strerror}), "
                f"which needs {megabytes:.1f} MB; choose another --cache-dir or use --cache none."
            ) from error

    with np.load(index_file) as index:
        mean, mean_square, faults = (index[name] for name in ("mean", "mean_square", "faults"))
    for position, fault in enumerate(faults):
        if fault:
            unreadable[readable[position]] = str(fault)
    source: PixelSource = (
        MappedPixels(pixel_file, np.array(readable, dtype=np.int64), len(paths))
        if keep_pixels
        else DecodingPixels(paths, image_size)
    )
    return DecodedImages(
        digests,
        dict(sorted(unreadable.items())),
        _spread(mean, readable, len(paths)),
        _spread(mean_square, readable, len(paths)),
        source,
    )


class MappedPixels:
    """Pixels out of a memory-mapped file; survives pickling into worker processes."""

    def __init__(self, file: Path, readable: NDArray[np.int64], rows: int) -> None:
        self._file = file
        self._position = np.full(rows, -1, dtype=np.int64)
        self._position[readable] = np.arange(len(readable))
        self._pixels = self._map()

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels:
        """Return uint8 of shape (B, H, W, 3)."""
        pixels: Pixels = self._pixels[self._position[rows]]
        return pixels

    def __getstate__(self) -> dict[str, object]:
        return {"_file": self._file, "_position": self._position}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._pixels = self._map()

    def _map(self) -> Pixels:
        pixels: Pixels = np.load(self._file, mmap_mode="r")
        return pixels


class DecodingPixels:
    """Pixels decoded from the image files at every use."""

    def __init__(self, paths: Sequence[Path], image_size: int) -> None:
        self._paths = paths
        self._size = image_size

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels:
        """Return uint8 of shape (B, H, W, 3).

        Raises:
            ImageChangedError: an image cannot be read any more.
        """
        return np.stack([read_again(self._paths[row], self._size) for row in rows])


def content_digest(content: bytes) -> str:
    """Return the hash that tells equal files."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _digest(paths: Sequence[Path]) -> tuple[tuple[str | None, ...], dict[int, str]]:
    def digest(path: Path) -> tuple[str | None, str]:
        try:
            if path.exists() and not path.is_file():
                return None, "not a file"
            return content_digest(path.read_bytes()), ""
        except OSError as error:
            return None, (error.strerror or str(error)).lower()
        except ValueError as error:  # a name that no file can have
            return None, str(error)

    # Several at once: to hand one file to a thread takes longer than to find that it is missing.
    batches = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    parts = in_threads(lambda batch: [digest(path) for path in batch], batches)
    results = [
        result for part in progress_over(parts, len(batches), "Checking images") for result in part
    ]
    faults = {row: fault for row, (_, fault) in enumerate(results) if fault}
    return tuple(digest for digest, _ in results), faults


def _key(image_size: int, digests: Iterable[str | None]) -> str:
    # Another release of Pillow may decode differently, and read what an earlier one could not.
    content = f"{CACHE_VERSION} {PIL.__version__} {image_size} " + " ".join(map(str, digests))
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def _index_is_whole(file: Path, shape: tuple[int, ...]) -> bool:
    try:
        with file.open("rb") as stream, np.load(stream) as index:
            return all(len(index[name]) == shape[0] for name in ("mean", "mean_square", "faults"))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return False  # missing or damaged


def _pixels_are_whole(file: Path, shape: tuple[int, ...]) -> bool:
    try:
        pixels = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(pixels.shape == shape and pixels.dtype == np.uint8)


def _decode(
    paths: Sequence[Path],
    rows: Sequence[int],
    size: int,
    pixel_file: Path | None,
    index_file: Path,
) -> None:
    """Decode in parallel; write the index last, so that it stands only beside whole pixels."""
    mean = np.zeros((len(rows), 3))
    mean_square = np.zeros((len(rows), 3))
    faults = [""] * len(rows)

    def decoded() -> Iterator[Pixels]:
        results = in_threads(lambda row: _try_to_read(paths[row], size), rows)
        for position, result in enumerate(progress_over(results, len(rows), "Reading images")):
            if isinstance(result, str):
                faults[position] = result
                yield np.zeros((size, size, 3), dtype=np.uint8)
            else:
                pixels, mean[position], mean_square[position] = result
                yield pixels

    if pixel_file is None:
        for _ in decoded():
            pass
    else:
        # Not written through the map: on a full disk that would end the process by a signal.
        with atomic_write(pixel_file) as temporary, temporary.open("wb") as stream:
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
                "fortran_order": False,
                "shape": (len(rows), size, size, 3),
            }
            np.lib.format.write_array_header_1_0(stream, header)
            for pixels in decoded():
                stream.write(pixels.tobytes())
    with atomic_write(index_file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, mean=mean, mean_square=mean_square, faults=np.array(faults, dtype=str))


def _try_to_read(
    path: Path, size: int
) -> tuple[Pixels, NDArray[np.float64], NDArray[np.float64]] | str:
    pixels = read_or_fault(path, size)
    if isinstance(pixels, str):
        return pixels
    values = pixels.reshape(-1, 3).astype(np.float32) / 255
    return pixels, values.mean(axis=0, dtype=np.float64), (values**2).mean(axis=0, dtype=np.float64)


def _spread(values: NDArray[np.float64], readable: Sequence[int], rows: int) -> NDArray[np.float64]:
    spread = np.full((rows, 3), np.nan)
    spread[list(readable)] = values
    return spread
