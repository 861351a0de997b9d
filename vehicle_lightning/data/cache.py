"""The cache: every image read, checked and decoded once, and kept as pixels in one mapped file.

Pixels are named after the contents of the images and their size, so a changed image is never served
stale, and runs on the same images share one file whatever the folder is called. A list beside them
remembers size and times of each file, so that unchanged files are not even opened.
"""

import hashlib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.console import progress_over
from vehicle_lightning.data.facts import (
    FileState,
    content_digest,
    examine_all,
    file_states,
)
from vehicle_lightning.data.hashes import HashStore
from vehicle_lightning.data.images import Pixels, WhiteValues, read_again
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import atomic_write, remove_half_written
from vehicle_lightning.parallel import in_threads

AT_ONCE = 64  # files
CACHE_VERSION = 3  # raise it when read_image or the layout of the files changes
# A file that was changed this short before it was listed may have been changed again since without
# a later time; its content is compared. Some file systems count whole seconds.
UNSURE = 2 * 10**9  # nanoseconds
INDEX = ("fault", "mean", "mean_square", "grey", "contrast", "white")


class PixelSource(Protocol):
    """Gives the pixels of rows: uint8 of shape (B, H, W, 3)."""

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels: ...


@dataclass(frozen=True)
class DecodedImages:
    """What is known of the N images, of those listed, that can be read.

    Attributes:
        rows: int64 of shape (N,), which of those listed they are, in ascending order.
        unreadable: row, of those listed -> what is wrong with its file.
        digests: bytes of shape (N,), hash of each file's content; equal files have equal ones.
        channel_mean: float64 of shape (N, 3), mean of each image's red, green, blue in [0, 1].
        channel_mean_square: float64 of shape (N, 3), mean of their squares.
        grey: float64 of shape (N,), mean of each image in grey, in [0, 255].
        contrast: float64 of shape (N,), standard deviation of each small grey image in [0, 255].
        white: what is white in deep grey images, by kind.
        pixels: gives the pixels of rows of the N.
        hashes: perceptual hashes of rows of the N; None where the images were not read this time.
    """

    rows: NDArray[np.int64]
    unreadable: dict[int, str]
    digests: NDArray[np.bytes_]
    channel_mean: NDArray[np.float64]
    channel_mean_square: NDArray[np.float64]
    grey: NDArray[np.float64]
    contrast: NDArray[np.float64]
    white: WhiteValues
    pixels: PixelSource
    hashes: HashStore | None


def cache_folder(settings: SourceSettings) -> Path:
    """Return the folder of the settings, of `$VEHICLE_LIGHTNING_CACHE`, or the user's own."""
    chosen = settings.cache_dir or os.environ.get("VEHICLE_LIGHTNING_CACHE")
    return Path(chosen or user_cache_path("vehicle_lightning", appauthor=False))


@dataclass(frozen=True)
class _Places:
    """Where the cache of some files of one size lies; `rows` are those that may be opened."""

    paths: Sequence[Path]
    states: Sequence[FileState | str]
    rows: NDArray[np.int64]
    size: int
    folder: Path
    keep_pixels: bool

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Size and times of the files that may be opened: int64 of shape (K, 3)."""
        states = [self.states[row] for row in self.rows.tolist()]
        return np.array(states, dtype=np.int64).reshape(-1, 3)

    @property
    def listing(self) -> Path:
        """The file that remembers sizes, times and contents of these paths."""
        key = hashlib.blake2b(f"{CACHE_VERSION} {self.size}".encode(), digest_size=12)
        for path in self.paths:
            key.update(f"{os.path.abspath(path)}\0".encode("utf-8", "surrogateescape"))  # noqa: PTH100
        return self.folder / f"{key.hexdigest()}-files.npz"

    def of_content(self, digests: NDArray[np.bytes_]) -> tuple[Path, Path]:
        """Return the files of the pixels and of what is known of each image."""
        # Another release of Pillow may decode differently, and read what an earlier one could not.
        key = hashlib.blake2b(f"{CACHE_VERSION} {PIL.__version__} ".encode(), digest_size=12)
        key.update(digests.tobytes())
        name = f"{key.hexdigest()}-{self.size}px-{len(digests)}"
        return self.folder / f"{name}-pixels.npy", self.folder / f"{name}-index.npz"

    def index(self, digests: NDArray[np.bytes_]) -> dict[str, Any] | None:
        """Return what is known of images of these contents, if all is there and whole."""
        pixel_file, index_file = self.of_content(digests)
        index = read_arrays(index_file, INDEX)
        if index is None or len(index["fault"]) != len(self.rows):
            return None
        shape = (len(self.rows), self.size, self.size, 3)
        return index if not self.keep_pixels or _pixels_are_whole(pixel_file, shape) else None


def decode_images(
    paths: Sequence[Path],
    image_size: int,
    cache_dir: Path,
    *,
    image_dir: Path | None = None,
    keep_pixels: bool = True,
) -> DecodedImages:
    """Read all images in parallel, each once, or find them read already.

    Args:
        paths: the image files.
        image_size: height and width to bring them to, in pixels.
        cache_dir: folder of the cache files; several processes may share it.
        image_dir: folder that no file may lie outside of; None where any may be read.
        keep_pixels: keep the pixels in a memory-mapped file (N * image_size^2 * 3 bytes);
            otherwise only check each image once, and decode at every use.

    Raises:
        DataError: the cache folder cannot be written to, or the disk is full.
    """
    states = file_states(paths, image_dir)
    rows = np.array([r for r, s in enumerate(states) if not isinstance(s, str)], dtype=np.int64)
    places = _Places(paths, states, rows, image_size, cache_dir, keep_pixels)
    found, hashes = _find(places), None
    if found is None:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(places.listing.with_suffix(".lock")):
                found = _find(places)
                if found is None:
                    found, hashes = _read(places)
        except OSError as error:
            megabytes = len(rows) * image_size**2 * 3 / 1e6 if keep_pixels else 1
            raise DataError(
                f"Cannot write the image cache {error.filename or cache_dir} ({error.strerror}), "
                f"which needs {megabytes:.1f} MB; choose another --cache-dir or use --cache none."
            ) from error
    return _to_images(places, *found, hashes)


def _to_images(
    places: _Places, digests: NDArray[np.bytes_], index: dict[str, Any], hashes: HashStore | None
) -> DecodedImages:
    faults = {row: state for row, state in enumerate(places.states) if isinstance(state, str)}
    found = zip(places.rows.tolist(), index["fault"].tolist(), strict=True)
    faults |= {row: fault for row, fault in found if fault}
    readable = np.flatnonzero(index["fault"] == "")  # in the file of the pixels
    rows = places.rows[readable]
    if hashes is not None:
        hashes.renumber(rows)
    white = json.loads(str(index["white"]))
    pixels: PixelSource
    if places.keep_pixels:
        pixels = MappedPixels(places.of_content(digests)[0], readable)
    else:
        pixels = DecodingPixels(places.paths, rows, places.size, white)
    return DecodedImages(
        rows,
        dict(sorted(faults.items())),
        digests[readable],
        index["mean"][readable],
        index["mean_square"][readable],
        index["grey"][readable],
        index["contrast"][readable],
        white,
        pixels,
        hashes,
    )


def _find(places: _Places) -> tuple[NDArray[np.bytes_], dict[str, Any]] | None:
    """Return what the cache has of these files, opening only those that may have changed."""
    now = time.time_ns()
    listing = read_arrays(places.listing, ("states", "digests", "listed"))
    states = places.numbers
    digests = np.zeros(len(states), dtype="S32")
    sure = np.zeros(len(states), dtype=bool)
    if listing is not None and listing["states"].shape == states.shape:
        same = (listing["states"] == states).all(axis=1)
        sure = same & (states[:, 1:].max(axis=1, initial=0) < int(listing["listed"]) - UNSURE)
        digests[sure] = listing["digests"][sure]
    elif not any(places.folder.glob(f"*-{places.size}px-{len(states)}-index.npz")):
        return None  # nothing was ever decoded that could serve
    unsure = np.flatnonzero(~sure)
    digests[unsure] = _digests([places.paths[places.rows[place]] for place in unsure])
    index = places.index(digests)
    if index is not None and len(unsure):
        with suppress(OSError):  # then the next run compares the contents again
            _write_listing(places, digests, now)
    return None if index is None else (digests, index)


def _digests(paths: Sequence[Path]) -> NDArray[np.bytes_]:
    def digest(path: Path) -> str:
        try:
            return content_digest(path.read_bytes())
        except OSError:
            return ""

    batches = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    parts = in_threads(lambda batch: [digest(path) for path in batch], batches)
    found = [d for part in progress_over(parts, len(batches), "Checking images") for d in part]
    return np.array(found, dtype="S32")


def _read(places: _Places) -> tuple[tuple[NDArray[np.bytes_], dict[str, Any]], HashStore]:
    """Read all files; write the index last, so that it stands only beside whole pixels."""
    now, count, size = time.time_ns(), len(places.rows), places.size
    remove_half_written(places.folder, places.listing.stem)
    hashes = HashStore(places.folder)
    # Not written through the map: on a full disk that would end the process by a signal.
    scratch = places.listing.with_name(f"{places.listing.stem}-pixels.npy")
    with atomic_write(scratch) as temporary, temporary.open("wb") as stream:
        if places.keep_pixels:
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
                "fortran_order": False,
                "shape": (count, size, size, 3),
            }
            np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()

        def take(rows: NDArray[np.int64], pixels: Pixels) -> None:
            for place, shown in zip(np.searchsorted(places.rows, rows), pixels, strict=True):
                stream.seek(start + int(place) * size * size * 3)
                stream.write(shown.tobytes())

        keep = take if places.keep_pixels else None
        facts, white = examine_all(places.paths, places.states, hashes, size, keep)
    facts = facts[places.rows]
    digests = facts["digest"]
    pixel_file, index_file = places.of_content(digests)
    if places.keep_pixels:
        scratch.replace(pixel_file)
    else:
        scratch.unlink()
    index: dict[str, Any] = {name: facts[name] for name in INDEX[1:-1]}
    index |= {"fault": facts["fault"].astype(str), "white": np.array(json.dumps(white))}
    write_arrays(index_file, index)
    _write_listing(places, digests, now)
    return (digests, index), hashes


def _write_listing(places: _Places, digests: NDArray[np.bytes_], now: int) -> None:
    arrays = {"states": places.numbers, "digests": digests, "listed": np.array(now)}
    write_arrays(places.listing, arrays)


def write_arrays(file: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name as one file, whole.

    Raises:
        OSError: writing failed.
    """
    with atomic_write(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_arrays(file: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the arrays of a file, or None where it is missing or damaged."""
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _pixels_are_whole(file: Path, shape: tuple[int, ...]) -> bool:
    try:
        pixels = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(pixels.shape == shape and pixels.dtype == np.uint8)


class MappedPixels:
    """Pixels out of a memory-mapped file; survives pickling into worker processes."""

    def __init__(self, file: Path, places: NDArray[np.int64]) -> None:
        """Map the file, in which the N images lie at these places."""
        self._file, self._places = file, places
        self._pixels: Pixels = np.load(file, mmap_mode="r")

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels:
        """Return uint8 of shape (B, H, W, 3)."""
        pixels: Pixels = self._pixels[self._places[rows]]
        return pixels

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedPixels, (self._file, self._places)


class DecodingPixels:
    """Pixels decoded from the image files at every use."""

    def __init__(
        self, paths: Sequence[Path], rows: NDArray[np.int64], image_size: int, white: WhiteValues
    ) -> None:
        """Take the paths of all that are listed, and which of them the N images are."""
        self._paths, self._rows = paths, rows
        self._size, self._white = image_size, white

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels:
        """Return uint8 of shape (B, H, W, 3).

        Raises:
            ImageChangedError: an image cannot be read any more.
        """
        paths = [self._paths[row] for row in self._rows[rows].tolist()]
        return np.stack([read_again(path, self._size, self._white) for path in paths])
