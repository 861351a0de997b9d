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
from dataclasses import dataclass, field
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
    Examined,
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
CACHE_VERSION = 2  # raise it when read_image or the layout of the files changes
# A file that was changed this short before it was listed may have been changed again since without
# a later time; its content is compared. Some file systems count whole seconds.
UNSURE = 2 * 10**9  # nanoseconds
INDEX = ("fault", "mean", "mean_square", "grey", "contrast", "white")


class PixelSource(Protocol):
    """Gives the pixels of rows: uint8 of shape (B, H, W, 3)."""

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels: ...


@dataclass(frozen=True)
class DecodedImages:
    """What is known of N images.

    Attributes:
        digests: the hash of each file's content; equal files have equal ones. None where the file
            could not be read.
        unreadable: row -> what is wrong with its file.
        channel_mean: float64 of shape (N, 3), mean of each image's red, green, blue in [0, 1].
        channel_mean_square: float64 of shape (N, 3), mean of their squares.
        grey: float64 of shape (N,), mean of each image in grey, in [0, 255].
        contrast: float64 of shape (N,), standard deviation of each small grey image in [0, 255].
        white: what is white in deep grey images, by kind.
        pixels: gives the pixels of rows.
        hashes: perceptual hashes of all that are not unreadable; None where the images were not
            read this time.
    """

    digests: tuple[str | None, ...]
    unreadable: dict[int, str]
    channel_mean: NDArray[np.float64]
    channel_mean_square: NDArray[np.float64]
    grey: NDArray[np.float64]
    contrast: NDArray[np.float64]
    white: WhiteValues
    pixels: PixelSource
    hashes: HashStore | None = field(default=None, repr=False)


def cache_folder(settings: SourceSettings) -> Path:
    """Return the cache folder: the one of the settings, or that of this package."""
    return settings.cache_dir or default_cache_dir()


def default_cache_dir() -> Path:
    """Return the cache folder of this package: `$VEHICLE_LIGHTNING_CACHE`, or the user's own."""
    chosen = os.environ.get("VEHICLE_LIGHTNING_CACHE")
    return Path(chosen) if chosen else user_cache_path("vehicle_lightning", appauthor=False)


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
        index = _read_arrays(index_file, INDEX)
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
    count, rows = len(places.paths), places.rows
    unreadable = {row: state for row, state in enumerate(places.states) if isinstance(state, str)}
    named: list[str | None] = [None] * count
    for row, digest, fault in zip(rows.tolist(), digests.tolist(), index["fault"], strict=True):
        named[row] = digest.decode() or None
        if fault:
            unreadable[row] = str(fault)
    white = json.loads(str(index["white"]))
    pixels: PixelSource = (
        MappedPixels(places.of_content(digests)[0], rows, count)
        if places.keep_pixels
        else DecodingPixels(places.paths, places.size, white)
    )
    spread = {name: _spread(index[name], rows, count) for name in INDEX[1:5]}
    return DecodedImages(
        tuple(named),
        dict(sorted(unreadable.items())),
        spread["mean"],
        spread["mean_square"],
        spread["grey"],
        spread["contrast"],
        white,
        pixels,
        hashes,
    )


def _find(places: _Places) -> tuple[NDArray[np.bytes_], dict[str, Any]] | None:
    """Return what the cache has of these files, opening only those that may have changed."""
    now = time.time_ns()
    listing = _read_arrays(places.listing, ("states", "digests", "listed"))
    states = np.array([places.states[row] for row in places.rows], dtype=np.int64).reshape(-1, 3)
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
    position = np.zeros(len(places.paths), dtype=np.int64)
    position[places.rows] = np.arange(count)
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

        def take(found: Examined) -> None:
            if found.pixels is None:
                return
            if places.keep_pixels:
                for row, pixels in zip(found.rows.tolist(), found.pixels, strict=True):
                    stream.seek(start + int(position[row]) * size * size * 3)
                    stream.write(pixels.tobytes())
            found.store(hashes)

        facts, white = examine_all(places.paths, places.states, take, size)
    facts = facts[places.rows]
    digests = facts["digest"]
    pixel_file, index_file = places.of_content(digests)
    if places.keep_pixels:
        scratch.replace(pixel_file)
    else:
        scratch.unlink()
    index = {
        "fault": facts["fault"].astype(str),
        "mean": facts["mean"],
        "mean_square": facts["mean_square"],
        "grey": facts["grey"],
        "contrast": facts["contrast"],
        "white": np.array(json.dumps(white)),
    }
    _write_arrays(index_file, index)
    _write_listing(places, digests, now)
    return (digests, index), hashes


def _write_listing(places: _Places, digests: NDArray[np.bytes_], now: int) -> None:
    states = np.array([places.states[row] for row in places.rows], dtype=np.int64).reshape(-1, 3)
    arrays = {"states": states, "digests": digests, "listed": np.array(now)}
    _write_arrays(places.listing, arrays)


def _write_arrays(file: Path, arrays: dict[str, Any]) -> None:
    with atomic_write(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _read_arrays(file: Path, names: Sequence[str]) -> dict[str, Any] | None:
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

    def __init__(self, paths: Sequence[Path], image_size: int, white: WhiteValues) -> None:
        self._paths = paths
        self._size = image_size
        self._white = white

    def __getitem__(self, rows: NDArray[np.int64]) -> Pixels:
        """Return uint8 of shape (B, H, W, 3).

        Raises:
            ImageChangedError: an image cannot be read any more.
        """
        return np.stack([read_again(self._paths[row], self._size, self._white) for row in rows])


def _spread(
    values: NDArray[np.float64], readable: NDArray[np.int64], rows: int
) -> NDArray[np.float64]:
    spread = np.full((rows, *values.shape[1:]), np.nan)
    spread[readable] = values
    return spread
