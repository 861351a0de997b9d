"""Perceptual hashes of a picture and of slightly smaller crops of it.

Source:
    Zauner (2010), Implementation and benchmarking of perceptual image hash functions (the hash by
    the discrete cosine transform; here a bit is the sign of a frequency).
"""

import errno
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.errors import DataError

THUMBNAIL = 56  # pixels a side; a quarter of 224, at which a JPEG decodes straight to it
HASHED = 32  # pixels a side of what is hashed
FREQUENCIES = 16  # the lowest along each axis make the hash
LOWEST = 8  # of these along each axis make its first word
CROPS = ((0.95, 2), (0.9, 3))  # side of the crops that are hashed too, and places along each axis
HASHES = 1 + sum(places**2 for _, places in CROPS)
WORDS = FREQUENCIES**2 // 64
# From low to high, so that bits that change together, as high ones do, stand together.
BIT_ORDER = np.argsort(np.indices((FREQUENCIES, FREQUENCIES)).max(axis=0).ravel(), kind="stable")
FLAT = 2.0  # grey levels of standard deviation below which no details remain to compare
IN_MEMORY = 64 << 20  # bytes

Hashes = NDArray[np.uint64]
Thumbnails = NDArray[np.uint8]
Pictures = NDArray[np.void]
# One record a picture: what tells whether it shows the same as another.
PICTURE = np.dtype(
    [
        ("hashes", "<u8", (HASHES, WORDS)),  # of the picture and of thirteen crops of it
        ("mirrored", "<u8", WORDS),  # hash of its mirror image
        ("detailed", np.bool_),  # the others are alike without showing the same
        ("thumbnail", np.uint8, (THUMBNAIL, THUMBNAIL)),  # grey
        ("colours", np.uint8, (THUMBNAIL // 2, THUMBNAIL // 2, 2)),  # blue and red, Cb and Cr
    ]
)


def hash_pictures(thumbnails: Thumbnails) -> Pictures:
    """Hash thumbnails, Y, Cb, Cr, uint8 of shape (N, 56, 56, 3), to records of type `PICTURE`.

    Of 32 x 32 grey levels the 16 x 16 lowest frequencies, each one bit: positive or not. The 8 x 8
    lowest of them make the first word; its lowest bit, of the mean, is always 0.
    """
    grey, colours = thumbnails[..., 0], thumbnails[..., 1:]
    frequencies = _frequencies(grey.astype(np.float32))
    mirror = (-1.0) ** np.arange(FREQUENCIES, dtype=np.float32)
    pictures = np.empty(len(thumbnails), dtype=PICTURE)
    pictures["hashes"] = _bits(frequencies)
    pictures["mirrored"] = _bits(frequencies[:, 0] * mirror)
    pictures["detailed"] = _finest(frequencies[:, 0]) >= FLAT
    pictures["thumbnail"] = grey
    half = (len(thumbnails), THUMBNAIL // 2, 2, THUMBNAIL // 2, 2, 2)
    pictures["colours"] = colours.reshape(half).mean(axis=(2, 4))
    return pictures


def room_for_pictures(folder: Path, is_used: NDArray[np.bool_]) -> Pictures:
    """Return records of type `PICTURE`, all zero: many in a mapped file, gone with the process.

    Args:
        folder: where the file is, without a name in it.
        is_used: bool of shape (N,), which will be written; the others take no room, these 5.2 kB.

    Raises:
        DataError: the folder cannot be written to, or its disk has no room.
    """
    needed = int(is_used.sum()) * PICTURE.itemsize
    if needed <= IN_MEMORY:
        return np.zeros(len(is_used), dtype=PICTURE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A disk that is found full through the map would end the process.
        if shutil.disk_usage(folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with TemporaryFile(dir=folder) as file:
            file.truncate(len(is_used) * PICTURE.itemsize)
            return np.memmap(file, PICTURE)
    except OSError as error:
        raise DataError(
            f"Cannot write to {folder} ({error.strerror}); choose another --cache-dir."
        ) from error


def _frequencies(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lowest frequencies of each picture and its crops: (N, 14, 16, 16)."""
    count, found, start = len(pictures), [], 0
    stretches = [(_of_line(share, places), places) for share, places in ((1.0, 1), *CROPS)]
    columns = np.concatenate([lines for lines, _ in stretches]) @ pictures
    for lines, places in stretches:
        own = columns[:, start : start + len(lines)].reshape(-1, THUMBNAIL)
        both = (own @ lines.T).reshape(count, places, FREQUENCIES, places, FREQUENCIES)
        found.append(both.swapaxes(2, 3).reshape(count, places**2, FREQUENCIES, FREQUENCIES))
        start += len(lines)
    return np.concatenate(found, axis=1)


@cache
def _of_line(share: float, places: int) -> NDArray[np.float32]:
    """Map a line of pixels to the lowest frequencies of stretches of it: (places * 16, 56).

    A stretch is brought to 32 cells, by area, and transformed by the discrete cosine transform.
    """
    side = round(share * THUMBNAIL)
    edges = np.linspace(0, side, HASHED + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    cells = overlap.clip(0) * HASHED / side
    cosines = np.cos(np.pi / HASHED * np.outer(np.arange(FREQUENCIES), np.arange(HASHED) + 0.5))
    found = np.zeros((places, FREQUENCIES, THUMBNAIL), dtype=np.float32)
    for place, start in enumerate(np.linspace(0, THUMBNAIL - side, places).round().astype(int)):
        found[place, :, start : start + side] = 2 * cosines @ cells
    return found.reshape(-1, THUMBNAIL)


def _bits(frequencies: NDArray[np.float32]) -> Hashes:
    """Hash lowest frequencies: uint64 of shape (..., 4) for (..., 16, 16)."""
    bits = (frequencies > 0).reshape(*frequencies.shape[:-2], FREQUENCIES**2)
    bits[..., 0] = False  # the mean brightness tells nothing
    return np.packbits(bits.take(BIT_ORDER, axis=-1), axis=-1, bitorder="little").view("<u8")


def _finest(frequencies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation of the details that the hash sees, in grey levels: (N,) for (N, 16, 16).

    It comes from all but the lowest frequencies, by Parseval's theorem.
    """
    energy = np.square(frequencies / HASHED**2) / 4
    energy[:, :LOWEST, :LOWEST] = 0
    return np.asarray(np.sqrt(energy.sum(axis=(1, 2))), dtype=np.float32)
