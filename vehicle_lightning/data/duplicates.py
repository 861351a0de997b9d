"""Duplicates: which pictures show the same photograph, be it compressed, resized or cropped anew.

Three steps, each dearer than the one before and for fewer pairs. Every picture and thirteen
slightly smaller crops of it get a perceptual hash of 256 bits. Pictures are candidates where the
hash of one is near to any hash of the other: in its first 64 bits, by which they are looked up, and
as a whole. Then the two thumbnails are laid over one another, at the scale and shift where they
agree best, and must agree there in their details.

Sources:
    Norouzi, Punjani, Fleet (2012), Fast search in Hamming space with multi-index hashing.
    Lewis (1995), Fast normalized cross-correlation.
"""

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vehicle_lightning.data.hashes import WORDS, Hashes, StoredPrints, Thumbnails
from vehicle_lightning.parallel import in_threads

MOST_PAIRED = 8  # pictures of one hash that are paired with all others of a like one
FARTHEST_WORD = 8  # bits of 64 by which the first words of candidates may differ
FARTHEST = 64  # bits of 256 by which the hashes of candidates may differ
PART_BITS = 7
PARTS = range(1, 64, PART_BITS)  # where the parts of a word begin; the lowest bit is always 0
EQUAL_PARTS = 3  # of near words
AT_ONCE = 8192  # pictures or pairs, few enough for their hashes to stay near the processor
SCALES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85)  # of the smaller picture in the larger one
COARSE = 2.5  # pixels; what is blurred so says where the sky is, not which photograph it is
LEAST_AGREEMENT = 0.65  # normalised cross-correlation of what remains

Pairs = NDArray[np.int64]


def near_duplicates(
    prints: StoredPrints,
    thumbnails_of: Callable[[NDArray[np.int64]], Thumbnails],
    *,
    among: NDArray[np.int64] | None = None,
    mirrored: bool = False,
) -> Pairs:
    """Find the pairs of pictures that show the same photograph, or the same scene a moment later.

    Robust to compression, resizing, changes of brightness, contrast and colour, and crops of up to
    a tenth of a side; not to rotation, stretching or larger crops.

    Args:
        prints: of N pictures.
        thumbnails_of: returns uint8 of shape (B, 56, 56), grey, for picture numbers int64 of shape
            (B,); asked for candidates only, from several threads.
        among: int64 of shape (M,), the numbers of the pictures to compare; by default all.
        mirrored: find the pictures that show the mirror image of another instead.

    Returns:
        int64 of shape (P, 2), the smaller number first, in ascending order; as many pairs as it
        takes to connect all pictures that show the same.
    """
    rows = np.flatnonzero(prints.detailed)
    if among is not None:
        rows = np.intersect1d(rows, among)
    sought = prints.sought_words(rows, mirrored=mirrored)
    candidates = rows[candidate_pairs(sought, lambda some: prints.words[rows[some]])]
    candidates = candidates[_distance(prints, candidates, mirrored=mirrored) <= FARTHEST]

    groups = DisjointSet(np.unique(candidates).tolist())

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


def _distance(prints: StoredPrints, pairs: Pairs, *, mirrored: bool) -> NDArray[np.int64]:
    """Fewest bits, for each pair, between the sought hash of one and any hash of the other."""
    nearest = [np.empty(0, dtype=np.int64)]
    for part in np.array_split(pairs, len(pairs) // AT_ONCE + 1):
        rows, places = np.unique(part, return_inverse=True)
        sought, hashes = prints.sought(rows, mirrored=mirrored), prints.hashes[rows]
        one, other = places.reshape(-1, 2).T
        bits = [
            np.bitwise_count(sought[a, None] ^ hashes[b]).sum(axis=-1)
            for a, b in ((one, other), (other, one))
        ]
        nearest.append(np.minimum(*bits).min(axis=-1, initial=64 * WORDS).astype(np.int64))
    return np.concatenate(nearest)


def candidate_pairs(sought: Hashes, words_of: Callable[[NDArray[np.int64]], Hashes]) -> Pairs:
    """Find the pairs of which the sought word of one differs in at most 8 bits from any of another.

    Of the nine parts of two words that differ in up to 6 bits three are always equal (in 7 or 8
    bits nearly always), so it is enough to compare, for each choice of three parts, the words that
    share them. By chance only one word in two million shares 21 bits with another: nearly all time
    goes into the look-ups, whose number grows with that of the pictures and not with its square.

    Where very many have one sought word, each of them is paired with the next one, and all other
    pictures with the first few.

    Args:
        sought: uint64 of shape (N,).
        words_of: returns uint64 of shape (B, K) for ascending picture numbers int64 of shape (B,);
            asked for consecutive ones, from several threads.

    Returns:
        int64 of shape (P, 2), each pair once, the smaller number first, in ascending order.
    """
    order = np.argsort(sought, kind="stable")
    equal = sought[order[1:]] == sought[order[:-1]]
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(np.append(False, equal)[: len(place)], 0, place))
    few = order[rank < MOST_PAIRED]

    def look_up(parts: tuple[int, ...]) -> Pairs:
        return _near_with_equal_parts(parts, sought, few, words_of)

    near = in_threads(look_up, itertools.combinations(PARTS, EQUAL_PARTS))
    pairs = [np.stack([order[:-1][equal], order[1:][equal]], axis=1), *near]
    return _distinct(np.sort(np.concatenate(pairs), axis=1))


def _near_with_equal_parts(
    parts: tuple[int, ...],
    sought: Hashes,
    few: NDArray[np.int64],
    words_of: Callable[[NDArray[np.int64]], Hashes],
) -> Pairs:
    """Pairs of one of a few pictures and another, a word of which is near to the sought one."""
    keys = _key(sought[few], parts)
    order = np.argsort(keys)
    keys, in_order, values = keys[order], few[order], sought[few[order]]
    is_first = np.diff(keys, prepend=-1) > 0
    is_last = np.append(is_first[1:], True)
    place_of = np.empty(1 << PART_BITS * EQUAL_PARTS, dtype=np.int32)  # the first one, by key
    place_of[keys[is_first]] = np.flatnonzero(is_first)
    is_key = np.zeros(len(place_of), dtype=bool)
    is_key[keys] = True
    is_key_bits = np.packbits(is_key, bitorder="little")  # so small that it stays near
    near = [np.empty((0, 2), dtype=np.int64)]
    for first in range(0, len(sought), AT_ONCE):
        words = words_of(np.arange(first, min(first + AT_ONCE, len(sought))))
        part = words.ravel()
        keys = _key(part, parts)
        byte = is_key_bits.take(keys >> 3, mode="wrap")  # faster, as nothing is checked
        hit = np.flatnonzero(byte >> (keys & 7).astype(np.uint8) & 1)
        place = place_of[keys[hit]]
        while len(hit):
            close = np.bitwise_count(values[place] ^ part[hit]) <= FARTHEST_WORD
            one, other = in_order[place[close]], first + hit[close] // words.shape[1]
            differs = one != other
            near.append(np.stack([one[differs], other[differs]], axis=1))
            more = ~is_last[place]
            hit, place = hit[more], place[more] + 1
    return np.concatenate(near)


def _key(words: Hashes, parts: tuple[int, ...]) -> NDArray[np.int64]:
    """Some parts of each word, in ascending order, side by side."""
    key = np.zeros(len(words), dtype=np.uint64)
    bits = np.empty_like(key)
    for place, part in enumerate(parts):
        low = PART_BITS * place
        np.right_shift(words, np.uint64(part - low), out=bits)
        bits &= np.uint64(((1 << PART_BITS) - 1) << low)
        key |= bits
    return key.view(np.int64)


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
