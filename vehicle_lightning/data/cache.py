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
from vehicle_lightning.data.facts import FileStates, content_digest, examine_all, file_states
from vehicle_lightning.data.hashes import Pictures
from vehicle_lightning.data.images import Pixels, WhiteValues, changed, read_or_fault
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import atomic_write, remove_half_written
from vehicle_lightning.parallel import in_threads

AT_ONCE = 64  # files
CACHE_VERSION = 4  # raise it when read_image or the layout of the files changes
# A file that was changed this short before it was listed may have been changed again since without
# a later time; its content is compared. Some file systems count whole seconds.
UNSURE = 2 * 10**9  # nanoseconds
INDEX = ("fault", "mean", "mean_square", "grey", "contrast", "white")

Index = dict[str, Any]  # what is known of N files, arrays by the names above


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
        hashes: perceptual hashes of all that are listed; None where none were read this time.
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
    hashes: Pictures | None


def cache_folder(settings: SourceSettings) -> Path:
    """Return the folder of the settings, of `$VEHICLE_LIGHTNING_CACHE`, or the user's own."""
    chosen = settings.cache_dir or os.environ.get("VEHICLE_LIGHTNING_CACHE")
    return Path(chosen or user_cache_path("vehicle_lightning", appauthor=False))


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
    shape = (len(paths), image_size, image_size, 3)
    cache = _Cache(paths, file_states(paths, image_dir), shape, cache_dir, keep_pixels)
    found, hashes = cache.find(), None
    if found is None:
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(cache.listing.with_suffix(".lock")):
                found = cache.find()
                if found is None:
                    digests, index, hashes = cache.fill()
                    found = digests, index
        except OSError as error:
            megabytes = np.prod(shape) / 1e6 if keep_pixels else 1
            raise DataError(
                f"Cannot write the image cache {error.filename or cache_dir} ({error.strerror}), "
                f"which needs {megabytes:.1f} MB; choose another --cache-dir or use --cache none."
            ) from error
    digests, index = found
    faults = enumerate(index["fault"].tolist())
    rows = np.flatnonzero(index["fault"] == "")
    white = json.loads(str(index["white"]))
    return DecodedImages(
        rows,
        {row: fault for row, fault in faults if fault},
        digests[rows],
        index["mean"][rows],
        index["mean_square"][rows],
        index["grey"][rows],
        index["contrast"][rows],
        white,
        MappedPixels(cache.files(digests)[0], rows)
        if keep_pixels
        else DecodingPixels(paths, rows, image_size, white),
        hashes,
    )


@dataclass(frozen=True)
class _Cache:
    """What is remembered of some files, decoded to one size: pixels are uint8 of `shape`."""

    paths: Sequence[Path]
    states: FileStates
    shape: tuple[int, ...]
    folder: Path
    keep_pixels: bool

    @property
    def listing(self) -> Path:
        """The file that remembers sizes, times and contents of these paths."""
        key = hashlib.blake2b(f"{CACHE_VERSION} {self.shape[1]}".encode(), digest_size=12)
        for path in self.paths:
            key.update(f"{os.path.abspath(path)}\0".encode("utf-8", "surrogateescape"))  # noqa: PTH100
        return self.folder / f"{key.hexdigest()}-files.npz"

    def files(self, digests: NDArray[np.bytes_]) -> tuple[Path, Path]:
        """Return the files of the pixels and of what is known of each image."""
        # Another release of Pillow may decode differently, and read what an earlier one could not.
        key = hashlib.blake2b(f"{CACHE_VERSION} {PIL.__version__} ".encode(), digest_size=12)
        key.update(digests.tobytes())
        name = f"{key.hexdigest()}-{self.shape[1]}px-{self.shape[0]}"
        return self.folder / f"{name}-pixels.npy", self.folder / f"{name}-index.npz"

    def find(self) -> tuple[NDArray[np.bytes_], Index] | None:
        """Return digests and index of these files, opening only those that may have changed."""
        now, states = time.time_ns(), self.states.numbers
        is_open = np.array([not fault for fault in self.states.faults], dtype=bool)
        digests, known = np.zeros(len(states), dtype="S32"), np.zeros(len(states), dtype=bool)
        listing = read_arrays(self.listing, ("states", "digests", "listed"))
        if listing is not None and listing["states"].shape == states.shape:
            known = (listing["states"] == states).all(axis=1)
            known &= states[:, 1:].max(axis=1, initial=0) < int(listing["listed"]) - UNSURE
            digests[known] = listing["digests"][known]
        elif not any(self.folder.glob(f"*-{self.shape[1]}px-{len(states)}-index.npz")):
            return None  # nothing was ever decoded that could serve
        unsure = np.flatnonzero(is_open & ~known)
        digests[unsure] = _digests([self.paths[row] for row in unsure.tolist()])
        pixel_file, index_file = self.files(digests)
        index = read_arrays(index_file, INDEX)
        if index is None or len(index["fault"]) != len(states):
            return None
        if self.keep_pixels and not _pixels_are_whole(pixel_file, self.shape):
            return None
        index["fault"] = np.where(is_open, index["fault"], self.states.faults)
        if len(unsure):
            with suppress(OSError):  # then the next run compares the contents again
                self._list(digests, now)
        return digests, index

    def fill(self) -> tuple[NDArray[np.bytes_], Index, Pictures]:
        """Read all files; write the index last, so that it stands only beside whole pixels."""
        now, image_size = time.time_ns(), self.shape[1]
        remove_half_written(self.folder, self.listing.stem)
        scratch = self.listing.with_name(f"{self.listing.stem}-pixels.npy")
        # Not written through the map: on a full disk that would end the process by a signal.
        with atomic_write(scratch) as temporary, temporary.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(stream, header)
            start, size = stream.tell(), image_size**2 * 3

            def take(rows: NDArray[np.int64], pixels: Pixels) -> None:
                for row, shown in zip(rows.tolist(), pixels, strict=True):
                    stream.seek(start + row * size)
                    stream.write(shown.tobytes())

            facts, hashes, white = examine_all(
                self.paths,
                self.states,
                self.folder,
                image_size,
                take if self.keep_pixels else None,
            )
            stream.truncate(start + len(facts) * size)
        digests = facts["digest"]
        pixel_file, index_file = self.files(digests)
        if self.keep_pixels:
            scratch.replace(pixel_file)
        else:
            scratch.unlink()
        index: Index = {name: facts[name] for name in INDEX[1:-1]}
        index |= {"fault": facts["fault"].astype(str), "white": np.array(json.dumps(white))}
        write_arrays(index_file, index)
        self._list(digests, now)
        return digests, index, hashes

    def _list(self, digests: NDArray[np.bytes_], now: int) -> None:
        arrays = {"states": self.states.numbers, "digests": digests, "listed": np.array(now)}
        write_arrays(self.listing, arrays)


def _digests(paths: Sequence[Path]) -> NDArray[np.bytes_]:
    def digest(path: Path) -> str:
        try:
            return content_digest(path.read_bytes())
        except OSError:
            return ""

    batches = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    parts = in_threads(lambda batch: [digest(path) for path in batch], batches)
    counted = progress_over(parts, len(paths), "Checking images", count=len)
    return np.array([digest for part in counted for digest in part], dtype="S32")


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
        images = []
        for path in [self._paths[row] for row in self._rows[rows].tolist()]:
            pixels = read_or_fault(path, self._size, self._white)
            if isinstance(pixels, str):
                raise changed(path, pixels)
            images.append(pixels)
        return np.stack(images)
