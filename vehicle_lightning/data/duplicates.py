"""Duplicates: which pictures show the same photograph, be it compressed, resized or cropped anew.

Three steps, each dearer than the one before and for fewer pairs. Every picture and thirteen
slightly smaller crops of it get a perceptual hash of 256 bits. Pictures are candidates where the
hash of one is near to any hash of the other: in its first 64 bits, by which they are looked up, and
as a whole. Then the two thumbnails are laid over one another, at the scale and shift where they
agree best, and must agree there in their details.

Sources:
    Zauner (2010), Implementation and benchmarking of perceptual image hash functions (the hash by
    the discrete cosine transform; here a bit is the sign of a frequency).
    Norouzi, Punjani, Fleet (2012), Fast search in Hamming space with multi-index hashing.
    Lewis (1995), Fast normalized cross-correlation.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.fft import dct, irfft2, rfft2
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vehicle_lightning.parallel import in_threads

THUMBNAIL = 56  # pixels a side; a quarter of 224, at which a JPEG decodes straight to it
HASHED = 32  # pixels a side of what is hashed
FREQUENCIES = 16  # the lowest along each axis make the hash
LOWEST = 8  # of these along each axis make its first word
CROPS = ((0.95, 2), (0.9, 3))  # side of the crops that are hashed too, and places along each axis
HASHES = 1 + sum(places**2 for _, places in CROPS)
WORDS = FREQUENCIES**2 // 64
MOST_PAIRED = 8  # pictures of one hash that are paired with all others of a like one
FARTHEST_WORD = 8  # bits of 64 by which the first words of candidates may differ
FARTHEST = 64  # bits of 256 by which the hashes of candidates may differ
AT_ONCE = 1 << 17  # pairs of hashes, few enough to stay near the processor
SCALES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85)  # of the smaller picture in the larger one
COARSE = 2.5  # pixels; what is blurred so says where the sky is, not which photograph it is
LEAST_AGREEMENT = 0.65  # normalised cross-correlation of what remains
FLAT = 2.0  # grey levels of standard deviation below which no details remain to compare

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]
Thumbnails = NDArray[np.uint8]


@dataclass(frozen=True)
class Prints:
    """What is kept of N pictures to find those that show the same: 481 bytes a picture.

    Attributes:
        hashes: uint64 of shape (N, 14, 4), of each picture and of thirteen crops of it.
        mirrored: uint64 of shape (N, 4), of its mirror image.
        detailed: bool of shape (N,); the others are alike without showing the same.
    """

    hashes: Hashes
    mirrored: Hashes
    detailed: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[np.int64]) -> "Prints":
        """Return those of some pictures."""
        return Prints(self.hashes[rows], self.mirrored[rows], self.detailed[rows])

    @classmethod
    def of(cls, thumbnails: Thumbnails) -> "Prints":
        """Hash thumbnails: uint8 of shape (N, 56, 56), grey.

        Of 32 x 32 grey levels the 16 x 16 lowest frequencies but the mean, each one bit: positive
        or not. The 8 x 8 lowest of them come first.
        """
        pictures = thumbnails.astype(np.float32)
        frequencies = _frequencies(pictures)
        mirror = (-1.0) ** np.arange(FREQUENCIES, dtype=np.float32)
        return cls(
            _bits(frequencies),
            _bits(frequencies[:, 0] * mirror),
            _finest(frequencies[:, 0]) >= FLAT,
        )

    @classmethod
    def joined(cls, parts: "Sequence[Prints]") -> "Prints":
        """Return those of all parts, one after the other."""
        parts = [cls.of(np.empty((0, THUMBNAIL, THUMBNAIL), dtype=np.uint8)), *parts]
        return cls(
            np.concatenate([part.hashes for part in parts]),
            np.concatenate([part.mirrored for part in parts]),
            np.concatenate([part.detailed for part in parts]),
        )


def near_duplicates(
    prints: Prints,
    thumbnails_of: Callable[[NDArray[np.int64]], Thumbnails],
    *,
    mirrored: bool = False,
) -> Pairs:
    """Find the pairs of pictures that show the same photograph, or the same scene a moment later.

    Robust to compression, resizing, changes of brightness, contrast and colour, and crops of up to
    a tenth of a side; not to rotation, stretching or larger crops.

    Args:
        prints: of N pictures.
        thumbnails_of: returns uint8 of shape (B, 56, 56), grey, for picture numbers int64 of shape
            (B,); asked for candidates only, from several threads.
        mirrored: find the pictures that show the mirror image of another instead.

    Returns:
        int64 of shape (P, 2), the smaller number first, in ascending order; as many pairs as it
        takes to connect all pictures that show the same.
    """
    rows = np.flatnonzero(prints.detailed)
    hashes = prints.hashes[rows]
    sought = prints.mirrored[rows] if mirrored else hashes[:, 0]
    pairs = candidate_pairs(sought[:, 0], hashes[..., 0])
    candidates = rows[pairs[_distance(sought, hashes, pairs) <= FARTHEST]]

    groups = DisjointSet(rows.tolist())

    def agree(pair: list[int]) -> bool:
        # Of many pictures of one scene it is enough to know that each is like one other.
        if groups.connected(*pair):
            return False
        one, other = thumbnails_of(np.array(pair))
        return agreement(one[:, ::-1] if mirrored else one, other) >= LEAST_AGREEMENT

    same = np.zeros(len(candidates), dtype=bool)
    for position, is_same in enumerate(in_threads(agree, candidates.tolist())):
        same[position] = is_same and groups.merge(*candidates[position].tolist())
    return candidates[same]


def grouped(count: int, *pairs: Pairs) -> NDArray[np.int64]:
    """Return a group number for each of `count` pictures; pairs are in one group, and so on.

    Args:
        count: number of pictures.
        pairs: int64 arrays of shape (P, 2).
    """
    first, second = np.concatenate([np.empty((0, 2), dtype=np.int64), *pairs]).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    groups: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return groups


def _frequencies(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lowest frequencies of each picture and its crops: (N, 14, 16, 16)."""
    count, found = len(pictures), []
    for share, places in ((1.0, 1), *CROPS):
        lines = _frequencies_of_line(share, places)
        both = (lines @ pictures @ lines.T).reshape(count, places, FREQUENCIES, places, FREQUENCIES)
        found.append(both.swapaxes(2, 3).reshape(count, places**2, FREQUENCIES, FREQUENCIES))
    return np.concatenate(found, axis=1)


@cache
def _frequencies_of_line(share: float, places: int) -> NDArray[np.float32]:
    """Map a line of pixels to the lowest frequencies of stretches of it: (places * 16, 56).

    A stretch is brought to 32 cells, by area, and transformed.
    """
    side = round(share * THUMBNAIL)
    edges = np.linspace(0, side, HASHED + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    of_stretch = dct(overlap.clip(0) * HASHED / side, axis=0)[:FREQUENCIES]
    found = np.zeros((places, FREQUENCIES, THUMBNAIL), dtype=np.float32)
    for place, start in enumerate(np.linspace(0, THUMBNAIL - side, places).round().astype(int)):
        found[place, :, start : start + side] = of_stretch
    return found.reshape(-1, THUMBNAIL)


def _bits(frequencies: NDArray[np.float32]) -> Hashes:
    """Hash lowest frequencies: uint64 of shape (..., 4) for (..., 16, 16)."""
    bits = frequencies > 0
    bits[..., 0, 0] = False  # the mean brightness tells nothing
    parts = (
        bits[..., rows, columns].reshape(*bits.shape[:-2], 64)
        for rows, columns in itertools.product((slice(LOWEST), slice(LOWEST, None)), repeat=2)
    )
    return np.packbits(np.concatenate(list(parts), axis=-1), axis=-1).view(np.uint64)


def _finest(frequencies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation of the details that the hash sees, in grey levels: (N,) for (N, 16, 16).

    It comes from all but the lowest frequencies, by Parseval's theorem.
    """
    energy = np.square(frequencies / HASHED**2) / 4
    energy[:, :LOWEST, :LOWEST] = 0
    return np.asarray(np.sqrt(energy.sum(axis=(1, 2))), dtype=np.float32)


def _distance(sought: Hashes, hashes: Hashes, pairs: Pairs) -> NDArray[np.int64]:
    """Fewest bits, for each pair, between the sought hash of one and any hash of the other."""
    nearest = np.full(len(pairs), 64 * WORDS)
    for part in np.array_split(np.arange(len(pairs)), len(pairs) * HASHES // AT_ONCE + 1):
        for one, other in (pairs[part].T, pairs[part, ::-1].T):
            bits = np.bitwise_count(sought[one, None] ^ hashes[other]).sum(axis=-1)
            nearest[part] = np.minimum(nearest[part], bits.min(axis=-1, initial=64 * WORDS))
    return nearest


def candidate_pairs(sought: Hashes, words: Hashes) -> Pairs:
    """Find the pairs of which the sought word of one differs in at most 8 bits from any of another.

    Of the eight bytes of two such words two are nearly always equal (always up to 6 bits), so it
    is enough to compare, for each choice of two bytes, the words that share them.

    Args:
        sought: uint64 of shape (N,).
        words: uint64 of shape (N, K).

    Returns:
        int64 of shape (P, 2), each pair once, the smaller number first, in ascending order.
    """
    values, entry = np.unique(np.column_stack([sought, words]), return_inverse=True)
    entry = entry.reshape(len(sought), words.shape[1] + 1)
    wanted = np.flatnonzero(np.bincount(entry[:, 0]))
    octets = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    near = [np.stack([wanted, wanted], axis=1)]

    def look_up(octet_pair: tuple[int, int]) -> Pairs:
        high, low = octet_pair
        key = octets[:, high].astype(np.uint16) << np.uint16(8) | octets[:, low]
        return _near_with_the_same_key(values, key, wanted)

    near += in_threads(look_up, itertools.combinations(range(8), 2))
    return _between_owners(_distinct(np.concatenate(near)), entry)


def _near_with_the_same_key(
    values: Hashes, key: NDArray[np.uint16], wanted: NDArray[np.int64]
) -> Pairs:
    """Pairs of a wanted position and any position with the same key and nearly the same value."""
    order = np.argsort(key, kind="stable")
    in_order = values[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(key, minlength=1 << 16))])
    first, count = starts[key[wanted]], np.diff(starts)[key[wanted]]
    ends = np.cumsum(count)
    near = [np.empty((0, 2), dtype=np.int64)]
    rounds = np.searchsorted(ends, np.arange(AT_ONCE, count.sum(), AT_ONCE), side="right")
    for part in np.split(np.arange(len(wanted)), rounds):
        own_count, own_ends = count[part], ends[part] - (ends[part] - count[part])[:1].sum()
        position = np.repeat(first[part] - own_ends + own_count, own_count)
        position += np.arange(len(position))
        differing = np.repeat(values[wanted[part]], own_count) ^ in_order[position]
        close = np.flatnonzero(np.bitwise_count(differing) <= FARTHEST_WORD)
        of_wanted = wanted[part[np.searchsorted(own_ends, close, side="right")]]
        near.append(np.stack([of_wanted, order[position[close]]], axis=1))
    return np.concatenate(near)


def _between_owners(near: Pairs, entry: NDArray[np.int64]) -> Pairs:
    """Turn pairs of words into pairs of the pictures that have them.

    Where very many share one value, each is paired with the first few and with the next one.
    """
    owners = np.repeat(np.arange(len(entry)), entry.shape[1])
    values, pictures = _distinct(np.stack([entry.ravel(), owners], axis=1)).T
    starts = np.searchsorted(values, np.arange(entry.max(initial=-1) + 2))
    count = np.diff(starts)
    next_one = values[1:] == values[:-1]
    pairs = [np.stack([pictures[:-1][next_one], pictures[1:][next_one]], axis=1)]

    one, other = near.T
    alone = (count[one] == 1) & (count[other] == 1)  # as nearly all are
    pairs.append(pictures[starts[near[alone]]])
    for a, b in near[~alone & ((one != other) | (count[one] > 2))]:
        few = pictures[starts[a] : starts[a + 1]][:MOST_PAIRED]
        crossed = np.meshgrid(few, pictures[starts[b] : starts[b + 1]])
        pairs.append(np.stack([side.ravel() for side in crossed], axis=1))
    found = _distinct(np.sort(np.concatenate(pairs), axis=1))
    return found[found[:, 0] < found[:, 1]]


def _distinct(pairs: Pairs) -> Pairs:
    """Each pair once, in ascending order; numpy sorts single numbers far faster than rows."""
    width = int(pairs.max(initial=0)) + 1
    keys = np.sort(pairs[:, 0] * width + pairs[:, 1])
    return np.stack(np.divmod(keys[np.diff(keys, prepend=-1) > 0], width), axis=1)


def agreement(one: Thumbnails, other: Thumbnails) -> float:
    """Return how well the details of two thumbnails agree where they agree best, at most 1.

    Each is scaled down and shifted over the other; the correlation is that of the smaller picture
    with what lies beneath it, both without their coarse light and dark.

    Args:
        one: uint8 of shape (56, 56), grey.
        other: likewise.
    """
    pictures = one.astype(np.float32), other.astype(np.float32)
    return max(
        _best_correlation(_details(large), _details(_scaled(small, scale)))
        for large, small in (pictures, pictures[::-1])
        for scale in SCALES
    )


def _details(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a Gaussian blur takes away from square pictures (..., S, S)."""
    blur = _blur(pictures.shape[-1])
    return pictures - np.asarray(blur @ pictures @ blur.T, dtype=np.float32)


@cache
def _blur(side: int) -> NDArray[np.float32]:
    """Map a line of pixels to the blurred line."""
    return np.asarray(gaussian_filter1d(np.eye(side), COARSE, axis=0), dtype=np.float32)


def _scaled(picture: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    lines = _scaled_line(len(picture), scale)
    return np.asarray(lines @ picture @ lines.T, dtype=np.float32)


@cache
def _scaled_line(length: int, scale: float) -> NDArray[np.float32]:
    """Map a line of pixels to a shorter one, interpolating linearly."""
    position = (np.arange(round(scale * length)) + 0.5) / scale - 0.5
    away = np.abs(position[:, None].clip(0, length - 1) - np.arange(length))
    return (1 - away).clip(0).astype(np.float32)


def _best_correlation(large: NDArray[np.float32], small: NDArray[np.float32]) -> float:
    """Highest normalised cross-correlation of the small picture at any place in the large one."""
    template = small - small.mean()
    places = len(large) - len(small) + 1
    products = _sums_under(large, template)[:places, :places]
    ones = np.ones_like(small)
    sums = _sums_under(large, ones)[:places, :places]
    squares = _sums_under(large**2, ones)[:places, :places]
    spread = np.sqrt((squares - sums**2 / small.size).clip(1e-6) * np.square(template).sum())
    return float((products / spread).max())


def _sums_under(large: NDArray[np.float32], small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of large times small, for each place of the small picture's corner."""
    spectrum = rfft2(large) * np.conj(rfft2(small, large.shape))
    sums: NDArray[np.float32] = irfft2(spectrum, large.shape)
    return sums
