"""Facts: what each image file holds, all files read and decoded once."""

import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vehicle_lightning.console import progress_over
from vehicle_lightning.data.cache import content_digest
from vehicle_lightning.data.hashes import THUMBNAIL, Prints, StoredPrints
from vehicle_lightning.data.images import orientation, read_grey
from vehicle_lightning.data.safe_path import stays_inside
from vehicle_lightning.parallel import in_processes, in_threads

AT_ONCE = 128  # files
MANY = 5000  # files that are worth the second it takes to start processes
LARGEST_FILE = 1 << 30  # bytes; a file is read as a whole
NO_IMAGES = {
    b"%pdf": "a PDF, no image",
    b"pk\x03\x04": "a ZIP archive, no image",
    b"<!do": "a web page, no image",
    b"<htm": "a web page, no image",
    b"<svg": "an SVG drawing, which Pillow cannot read",
}

Facts = NDArray[np.void]
# One record a file, of 96 bytes, so that a million files fit into memory.
FACTS = np.dtype(
    [
        ("fault", object),  # why it cannot be used, or ""
        ("digest", "S32"),  # hash of its content, or b"" where there is none
        ("bytes", np.int64),  # its size
        ("width", np.int64),  # pixels, as stored
        ("height", np.int64),
        ("mode", object),  # Pillow's name of its colour mode, or ""
        ("orientation", np.int64),  # of EXIF; 1 is upright
        ("modified", np.float64),  # time of the last change, in seconds
        ("quantization", np.float64),  # mean of a JPEG's table; lower is better quality; 0 else
    ]
)


def examine_files(
    image_dir: Path, names: Sequence[str], store_dir: Path
) -> tuple[Facts, StoredPrints]:
    """Read and decode every file once, in parallel.

    Args:
        image_dir: folder that the names are relative to; what leads out of it is not opened.
        names: N file names.
        store_dir: folder with room for the prints.

    Returns:
        Records of type `FACTS` of shape (N,), and the prints of the files without a fault.

    Raises:
        DataError: the folder for the prints cannot be written to, or the disk is full.
    """
    starts = range(0, len(names), AT_ONCE)
    batches = (names[start : start + AT_ONCE] for start in starts)
    in_parallel = in_processes if len(names) >= MANY else in_threads
    examined = in_parallel(partial(_examine_batch, image_dir), batches)
    facts, prints = np.zeros(len(names), dtype=FACTS), StoredPrints(store_dir)
    with warnings.catch_warnings(action="ignore"):  # of odd files, which Pillow reads all the same
        progress = progress_over(examined, len(starts), "Examining images")
        for start, (batch_facts, batch_prints) in zip(starts, progress, strict=True):
            facts[start : start + len(batch_facts)] = batch_facts
            prints.append(batch_prints)
    return facts, prints


def _examine_batch(image_dir: Path, names: Sequence[str]) -> tuple[Facts, Prints]:
    """Return the facts, and the prints of the sound files."""
    is_inside, folder = stays_inside(image_dir), str(image_dir)
    found = (_examine(os.path.join(folder, name), is_inside) for name in names)
    facts, thumbnails = zip(*found, strict=True)
    shown = np.array([picture for picture in thumbnails if picture is not None], dtype=np.uint8)
    prints = Prints.of(shown.reshape(-1, THUMBNAIL, THUMBNAIL))
    return np.array(list(facts), dtype=FACTS), prints


def _examine(
    path: str, is_inside: Callable[[str], bool]
) -> tuple[tuple[Any, ...], NDArray[np.uint8] | None]:
    """Return one record of facts, and the thumbnail if there is no fault."""
    try:
        if not is_inside(path):
            return _faulty("a link out of the image folder"), None
        facts = os.stat(path)
        if stat.S_ISDIR(facts.st_mode):
            return _faulty("a folder"), None
        if not stat.S_ISREG(facts.st_mode):
            return _faulty("not a file"), None  # a pipe would be waited for
        if facts.st_size > LARGEST_FILE:
            return _faulty("far too large for an image", size=facts.st_size), None
        with open(path, "rb", buffering=0) as stream:
            content, modified = stream.read(), facts.st_mtime
    except FileNotFoundError:
        return _faulty("missing"), None
    except (OSError, ValueError) as error:
        return _faulty((getattr(error, "strerror", None) or str(error)).lower()), None
    if not content:
        return _faulty("empty", modified=modified), None
    digest = content_digest(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            (width, height), mode, turned = image.size, image.mode, orientation(image)
            quantization = _quantization(image)
            shown = read_grey(image, THUMBNAIL)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        return _faulty(_reason(error, content), digest, len(content), modified), None
    size = len(content)
    return ("", digest, size, width, height, mode, turned, modified, quantization), shown


def _faulty(
    fault: str, digest: str = "", size: int = 0, modified: float = 0.0
) -> tuple[str, str, int, int, int, str, int, float, float]:
    return fault, digest, size, 0, 0, "", 1, modified, 0.0


def _quantization(image: Image.Image) -> float:
    tables = getattr(image, "quantization", None)
    return sum(tables[0]) / len(tables[0]) if tables else 0.0


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        return NO_IMAGES.get(content[:4].lower(), "no image")
    if isinstance(error, Image.DecompressionBombError):
        return "far too many pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else text
