"""Perceptual hashes of a picture and of slightly smaller crops of it.

Source:
    Zauner (2010), Implementation and benchmarking of perceptual image hash functions (the hash by
    the discrete cosine transform; here a bit is the sign of a frequency).
"""

from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.data.disk_array import DiskArray

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

AT_ONCE = 4096  # pictures whose hashes are read at once

Hashes = NDArray[np.uint64]
Thumbnails = NDArray[np.uint8]


@dataclass(frozen=True)
class PerceptualHashes:
    """What tells which of N pictures show the same.

    Attributes:
        hashes: uint64 of shape (N, 14, 4), of each picture and of thirteen crops of it.
        mirrored: uint64 of shape (N, 4), of its mirror image.
        detailed: bool of shape (N,); the others are alike without showing the same.
    """

    hashes: Hashes
    mirrored: Hashes
    detailed: NDArray[np.bool_]

    @classmethod
    def of(cls, thumbnails: Thumbnails) -> "PerceptualHashes":
        """Hash thumbnails: uint8 of shape (N, 56, 56), grey.

        Of 32 x 32 grey levels the 16 x 16 lowest frequencies, each one bit: positive or not. The
        8 x 8 lowest of them make the first word; its lowest bit, of the mean, is always 0.
        """
        frequencies = _frequencies(thumbnails.astype(np.float32))
        mirror = (-1.0) ** np.arange(FREQUENCIES, dtype=np.float32)
        return cls(
            _bits(frequencies),
            _bits(frequencies[:, 0] * mirror),
            _finest(frequencies[:, 0]) >= FLAT,
        )


class HashStore:
    """Hashes and thumbnails of any number of pictures, in files: 4 kB a picture, 9 bytes in memory.

    Args:
        folder: where the files are, without names in it.

    Attributes:
        words: uint64 of shape (N, 14), the first words of the hashes, by which they are looked up.
        hashes: uint64 of shape (N, 14, 4).
        mirrored: uint64 of shape (N, 4).
        thumbnails: uint8 of shape (N, 56, 56), grey.
    """

    def __init__(self, folder: Path) -> None:
        self.words = DiskArray((HASHES,), np.uint64, folder)
        self.hashes = DiskArray((HASHES, WORDS), np.uint64, folder)
        self.mirrored = DiskArray((WORDS,), np.uint64, folder)
        self.thumbnails = DiskArray((THUMBNAIL, THUMBNAIL), np.uint8, folder)
        self._detailed: list[NDArray[np.bool_]] = []
        self._rows: list[NDArray[np.int64]] = []

    def append(
        self, rows: NDArray[np.int64], thumbnails: Thumbnails, hashes: PerceptualHashes
    ) -> None:
        """Add further pictures.

        Args:
            rows: int64 of shape (B,), what the caller counts them as.
            thumbnails: uint8 of shape (B, 56, 56).
            hashes: of these.

        Raises:
            DataError: the folder cannot be written to, or the disk is full.
        """
        self.words.append(hashes.hashes[..., 0])
        self.hashes.append(hashes.hashes)
        self.mirrored.append(hashes.mirrored)
        self.thumbnails.append(thumbnails)
        self._detailed.append(hashes.detailed)
        self._rows.append(rows)

    def renumbered(self, kept: NDArray[np.int64]) -> "HashStore":
        """Return the same pictures, counted by where each stands in `kept`, ascending."""
        other = copy(self)
        other._rows = [np.searchsorted(kept, self.rows)]
        return other

    @property
    def rows(self) -> NDArray[np.int64]:
        """What the caller counts each of the N pictures as, int64 of shape (N,)."""
        return np.concatenate([np.empty(0, dtype=np.int64), *self._rows])

    @property
    def detailed(self) -> NDArray[np.bool_]:
        """Bool of shape (N,); the others are alike without showing the same."""
        return np.concatenate([np.empty(0, dtype=bool), *self._detailed])

    def sought(self, places: NDArray[np.int64], *, mirrored: bool) -> Hashes:
        """Read the hash of each picture, or of its mirror image: (B, 4) for ascending places."""
        return self.mirrored[places] if mirrored else self.hashes[places][:, 0]

    def sought_words(self, places: NDArray[np.int64], *, mirrored: bool) -> Hashes:
        """Read the first word of each of these hashes: (B,) for ascending places."""
        stored = self.mirrored if mirrored else self.words
        parts = np.array_split(places, len(places) // AT_ONCE + 1)
        return np.concatenate([stored[part][:, 0] for part in parts])


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
