"""Facts: what each image file holds, found with its pixels and thumbnail in one read."""

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vehicle_lightning.console import progress_over
from vehicle_lightning.data.hashes import THUMBNAIL, Pictures, hash_pictures, room_for_pictures
from vehicle_lightning.data.images import (
    Pixels,
    WhiteValues,
    changed,
    deep_kind,
    extent,
    orientation,
    range_fault,
    to_rgb,
    to_thumbnail,
    white_values,
)
from vehicle_lightning.data.paths import stays_inside
from vehicle_lightning.parallel import cores, in_processes, in_threads

AT_ONCE = 128  # files
AT_ONCE_WITH_PIXELS = 32
MANY = 5000  # files that are worth the second it takes to start processes
LARGEST_FILE = 1 << 30  # bytes; a file is read as a whole
DRAFTED = ("JPEG", "MPO")  # formats that decode at a fraction of their size, for each use anew
FRAMED = ("GIF", "TIFF", "WEBP", "PNG")  # formats that may hold several frames
FLAT = 1.0  # levels of standard deviation below which a picture is blank
NO_IMAGES = {
    b"%pdf": "a PDF, no image",
    b"pk\x03\x04": "a ZIP archive, no image",
    b"<!do": "a web page, no image",
    b"<htm": "a web page, no image",
    b"<svg": "an SVG drawing, which Pillow cannot read",
}

Facts = NDArray[np.void]
# One record a file, of some 180 bytes, so that a million files fit into memory.
FACTS = np.dtype(
    [
        ("fault", object),  # why it cannot be used, or ""
        ("digest", "S32"),  # hash of its content, or b"" where it is not read
        ("bytes", np.int64),  # its size
        ("modified", np.float64),  # time of the last change, in seconds
        ("width", np.int64),  # pixels, as stored
        ("height", np.int64),
        ("mode", object),  # Pillow's name of its colour mode, or ""
        ("orientation", np.int64),  # of EXIF; 1 is upright
        ("quantization", np.float64),  # mean of a JPEG's table; lower is better quality; 0 else
        ("has_frames", np.bool_),  # more than one, as an animation has
        ("kind", object),  # of a deep grey image, or ""
        ("highest", np.float64),  # value of a deep grey image
        ("grey", np.float64),  # mean of its thumbnail, in [0, 255]; NaN where there is none
        ("contrast", np.float64),  # deviation of its thumbnail, of the colours where grey is flat
        ("mean", np.float64, 3),  # of its red, green, blue in [0, 1], where pixels are asked for
        ("mean_square", np.float64, 3),
    ]
)
NOTHING = ("", b"", 0, 0.0, 0, 0, "", 1, 0.0, False, "", 0.0, np.nan, np.nan, 0.0, 0.0)


class FileStates(NamedTuple):
    """What tells of N files without a read whether they changed, and why some must not be opened.

    Attributes:
        numbers: int64 of shape (N, 3), bytes, time of the last change of the content in
            nanoseconds, and of anything else, such as that time; 0 where there is a fault.
        faults: N texts, empty where a file may be opened.
    """

    numbers: NDArray[np.int64]
    faults: list[str]


class Examined(NamedTuple):
    """What N files hold.

    Attributes:
        facts: records of type `FACTS` of shape (N,).
        pictures: their hashes, of type `PICTURE`; zero where a file cannot be decoded.
        white: what is white in deep grey images.
    """

    facts: Facts
    pictures: Pictures
    white: dict[str, float]


def no_facts(count: int) -> Facts:
    """Return records of so many files of which nothing is known."""
    return np.full(count, np.array(NOTHING, dtype=FACTS))


def file_states(paths: Sequence[Path], image_dir: Path | None) -> FileStates:
    """Look at files without opening any.

    Args:
        paths: the files.
        image_dir: folder that no file may lie outside of; None where any may be read.
    """
    is_inside = None if image_dir is None else stays_inside(image_dir)
    numbers, faults = np.zeros((len(paths), 3), dtype=np.int64), [""] * len(paths)
    for row, path in enumerate(map(str, paths)):
        try:
            if is_inside is not None and not is_inside(path):
                faults[row] = "a link out of the image folder"
                continue
            facts = os.stat(path)
        except (OSError, ValueError) as error:
            faults[row] = fault_of(error)
            continue
        if stat.S_ISDIR(facts.st_mode):
            faults[row] = "a folder"
        elif not stat.S_ISREG(facts.st_mode):
            faults[row] = "not a file"  # a pipe would be waited for
        elif facts.st_size > LARGEST_FILE:
            faults[row] = "far too large for an image"
        else:
            numbers[row] = facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
    return FileStates(numbers, faults)


def fault_of(error: OSError | ValueError) -> str:
    """Say in a few words why a file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return "missing"
    return (getattr(error, "strerror", None) or str(error)).lower()


def content_digest(content: bytes) -> str:
    """Return the hash that tells equal files."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def examine_all(
    paths: Sequence[Path],
    states: FileStates,
    folder: Path,
    image_size: int | None = None,
    take: Callable[[NDArray[np.int64], Pixels], None] | None = None,
) -> Examined:
    """Read and decode files in parallel, each once but for deep grey ones, which take two reads.

    Args:
        paths: N files.
        states: of each.
        folder: where their hashes are while the process runs.
        image_size: height and width to decode to, in pixels; None where no pixels are needed.
        take: is given rows and pixels, uint8 of shape (B, size, size, 3), some files at a time; 0
            where a file cannot be decoded. Deep grey ones come twice, the second time decoded.

    Raises:
        DataError: the folder cannot be written to, or the disk is full.
    """
    facts = no_facts(len(paths))
    facts["fault"] = states.faults
    pictures = room_for_pictures(folder, facts["fault"] == "")

    def examine(rows: NDArray[np.int64], white: WhiteValues | None) -> None:
        size = AT_ONCE if image_size is None else AT_ONCE_WITH_PIXELS
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        items = (([str(paths[row]) for row in batch.tolist()], batch) for batch in batches)
        work = partial(_examine_batch, image_size=image_size, white=white)
        if image_size is None and len(rows) >= MANY:
            examined = in_processes(work, items)
        else:
            examined = in_threads(work, items, ahead=2 * cores())
        with warnings.catch_warnings(action="ignore"):  # of odd files, which are read all the same
            for some, found, hashed, pixels in progress_over(
                examined, len(rows), "Reading images", count=lambda item: len(item[0])
            ):
                facts[some], pictures[some] = found, hashed
                if take is not None and pixels is not None:
                    take(some, pixels)

    examine(np.flatnonzero(facts["fault"] == ""), None)
    deep = np.flatnonzero((facts["kind"] != "") & (facts["fault"] == ""))
    kinds = facts["kind"][deep]
    highest = {kind: float(facts["highest"][deep][kinds == kind].max()) for kind in set(kinds)}
    white = white_values(dict(sorted(highest.items())))
    if white:
        examine(deep, white)
    facts["bytes"], facts["modified"] = states.numbers[:, 0], states.numbers[:, 1] / 1e9
    return Examined(facts, pictures, white)


def read_hashes(paths: Sequence[Path], folder: Path) -> tuple[Pictures, NDArray[np.int64]]:
    """Read the perceptual hashes of N images that could be read before, into a file in a folder.

    Returns:
        Records of type `PICTURE` of shape (N,), and their numbers.

    Raises:
        DataError: the folder cannot be written to, or the disk is full.
        ImageChangedError: an image cannot be read any more.
    """
    facts, pictures, _ = examine_all(paths, file_states(paths, None), folder)
    for row in np.flatnonzero(facts["fault"] != "").tolist():
        raise changed(paths[row], facts["fault"][row])
    return pictures, np.arange(len(paths))


def _examine_batch(
    batch: tuple[list[str], NDArray[np.int64]], image_size: int | None, white: WhiteValues | None
) -> tuple[NDArray[np.int64], Facts, Pictures, Pixels | None]:
    paths, rows = batch
    facts = no_facts(len(paths))
    thumbnails = np.zeros((len(paths), THUMBNAIL, THUMBNAIL, 3), dtype=np.uint8)
    pixels = None
    if image_size is not None:
        pixels = np.zeros((len(paths), image_size, image_size, 3), dtype=np.uint8)
    for place, path in enumerate(paths):
        own_pixels = None if pixels is None else pixels[place]
        _examine(path, white, facts[place], thumbnails[place], own_pixels)
    pictures = hash_pictures(thumbnails)
    pictures["detailed"] &= ~np.isnan(facts["contrast"])
    return rows, facts, pictures, pixels


def _examine(
    path: str, white: WhiteValues | None, facts: np.void, thumbnail: Pixels, pixels: Pixels | None
) -> None:
    """Fill in one record of facts, and thumbnail and pixels if there is no fault."""
    try:
        with open(path, "rb", buffering=0) as stream:
            content = stream.readall()
    except (OSError, ValueError) as error:
        facts["fault"] = fault_of(error)
        return
    facts["digest"] = content_digest(content).encode()
    if not content:
        facts["fault"] = "empty"
        return
    wanted = pixels
    try:
        with Image.open(io.BytesIO(content)) as image:
            facts["width"], facts["height"], facts["mode"] = image.width, image.height, image.mode
            facts["orientation"] = orientation(image)
            if tables := getattr(image, "quantization", None):
                facts["quantization"] = sum(tables[0]) / len(tables[0])
            if image.format in FRAMED:
                facts["has_frames"] = bool(getattr(image, "is_animated", False))
            if (kind := deep_kind(image)) is not None:
                lowest, highest = extent(image)
                facts["kind"], facts["highest"] = kind, highest
                facts["fault"] = range_fault(kind, lowest, highest)
                if white is None or facts["fault"]:
                    return
            thumbnail[:] = to_thumbnail(image, THUMBNAIL, white)
            if wanted is not None and image.format not in DRAFTED:
                wanted[:] = to_rgb(image, len(wanted), white)
                wanted = None
        if wanted is not None:
            with Image.open(io.BytesIO(content)) as image:
                wanted[:] = to_rgb(image, len(wanted), white)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        facts["fault"] = _reason(error, content)
        return
    if pixels is not None:
        values = pixels.reshape(-1, 3).astype(np.float32) / 255
        facts["mean"] = values.mean(axis=0, dtype=np.float64)
        facts["mean_square"] = (values**2).mean(axis=0, dtype=np.float64)
    grey, *colours = (float(channel.std()) for channel in np.moveaxis(thumbnail, 2, 0))
    # Colours that are equally bright make a picture too.
    facts["contrast"] = grey if grey >= FLAT else max(grey, *colours)
    facts["grey"] = thumbnail[..., 0].mean()


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        return NO_IMAGES.get(content[:4].lower(), "no image")
    if isinstance(error, Image.DecompressionBombError):
        return "far too many pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else text
