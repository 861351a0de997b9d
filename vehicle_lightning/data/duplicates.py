"""Duplicates: which pictures show the same photograph, be it compressed, resized or cropped anew.

Two steps, so that not every pair has to be looked at. First every picture and thirteen slightly
smaller crops of it get a perceptual hash; pictures of which any two hashes nearly agree are
candidates. Then the two thumbnails of a candidate pair are laid over one another, at the scale and
shift where they agree best, and must agree there in their details.

Sources:
    Zauner (2010), Implementation and benchmarking of perceptual image hash functions (the hash by
    the discrete cosine transform).
    Norouzi, Punjani, Fleet (2012), Fast search in Hamming space with multi-index hashing.
    Lewis (1995), Fast normalized cross-correlation.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.fft import dctn, irfft2, rfft2
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

AT_ONCE = 1000  # pictures
THUMBNAIL = 64  # pixels a side
HASHED = 32  # pixels a side of what is hashed
CROPS = ((0.95, 2), (0.9, 3))  # side of the crops that are hashed too, and places along each axis
HASHES = 1 + sum(places**2 for _, places in CROPS)
MOST_PAIRED = 8  # pictures of one hash that are paired with all others of a like one
FARTHEST = 8  # bits of 64 by which the hashes of candidates may differ
SCALES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85)  # of the smaller picture in the larger one
COARSE = 2.5  # pixels; what is blurred so says where the sky is, not which photograph it is
LEAST_AGREEMENT = 0.75  # normalised cross-correlation of what remains
FLAT = 2.0  # grey levels of standard deviation below which nothing remains to compare

Pairs = NDArray[np.int64]
Thumbnails = NDArray[np.uint8]


def near_duplicates(thumbnails_of: Callable[[NDArray[np.int64]], Thumbnails], count: int) -> Pairs:
    """Find the pairs of pictures that show the same photograph, or the same scene a moment later.

    Robust to compression, resizing, changes of brightness, contrast and colour, and crops of up to
    a tenth of a side; not to mirroring, rotation, stretching or larger crops.

    Args:
        thumbnails_of: returns uint8 of shape (B, 64, 64), grey, for picture numbers int64 of shape
            (B,). It is asked for all pictures once, a thousand at a time, and then for candidates,
            so that only the hashes are kept: 112 bytes a picture.
        count: number of pictures.

    Returns:
        int64 of shape (P, 2), the smaller number first, in ascending order; as many pairs as it
        takes to connect all pictures that show the same.
    """
    found = [np.empty((0, HASHES), dtype=np.uint64)]
    detailed = [np.empty(0, dtype=bool)]
    for start in range(0, count, AT_ONCE):
        thumbnails = thumbnails_of(np.arange(start, min(start + AT_ONCE, count)))
        found.append(hashes(thumbnails))
        detailed.append(_details(thumbnails).std(axis=(1, 2)) >= FLAT)
    rows = np.flatnonzero(np.concatenate(detailed))  # the others are alike without being the same
    candidates = rows[candidate_pairs(np.concatenate(found)[rows])]

    same: list[tuple[int, int]] = []
    groups = DisjointSet(rows.tolist())
    for one, other in candidates.tolist():
        # Of many pictures of one scene it is enough to know that each is like one other.
        if groups.connected(one, other):
            continue
        if agreement(*thumbnails_of(np.array([one, other]))) >= LEAST_AGREEMENT:
            groups.merge(one, other)
            same.append((one, other))
    return np.array(same, dtype=np.int64).reshape(-1, 2)


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


def hashes(thumbnails: Thumbnails) -> NDArray[np.uint64]:
    """Hash each picture and thirteen crops of it: uint64 of shape (N, 14).

    Of 32 x 32 grey levels the 8 x 8 lowest frequencies but the mean, each one bit: above the median
    or not.
    """
    views = [thumbnails]
    for share, places in CROPS:
        side = round(share * THUMBNAIL)
        corners = np.linspace(0, THUMBNAIL - side, places).round().astype(int)
        views += [thumbnails[:, y : y + side, x : x + side] for y in corners for x in corners]
    return np.stack([_hash(_shrunk(view)) for view in views], axis=1)


def _shrunk(view: Thumbnails) -> NDArray[np.float32]:
    """Area means of 32 x 32 cells."""
    weights = _cell_weights(view.shape[1])
    shrunk: NDArray[np.float32] = weights @ view.astype(np.float32) @ weights.T
    return shrunk


def _cell_weights(side: int) -> NDArray[np.float32]:
    """Weight of each pixel of a line in each of 32 cells of equal width: (32, side)."""
    edges = np.linspace(0, side, HASHED + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (overlap.clip(0) * HASHED / side).astype(np.float32)


def _hash(pictures: NDArray[np.float32]) -> NDArray[np.uint64]:
    frequencies = dctn(pictures, axes=(1, 2))[:, :8, :8].reshape(len(pictures), 64)
    bits = frequencies > np.median(frequencies[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False  # the mean brightness tells nothing
    packed: NDArray[np.uint64] = np.packbits(bits, axis=1).view(">u8").astype(np.uint64)[:, 0]
    return packed


def candidate_pairs(hashes: NDArray[np.uint64]) -> Pairs:
    """Find the pairs of pictures of which any two hashes differ in at most 8 bits.

    Of the eight bytes of two such hashes two are nearly always equal (always up to 6 bits), so it
    is enough to compare, for each choice of two bytes, the hashes that share them.

    Args:
        hashes: uint64 of shape (N, K).

    Returns:
        int64 of shape (P, 2), each pair once, the smaller number first, in ascending order.
    """
    values, entry = np.unique(hashes.ravel(), return_inverse=True)
    owners = np.repeat(np.arange(len(hashes)), hashes.shape[1])
    near: list[Pairs] = [np.stack([np.arange(len(values))] * 2, axis=1)]
    octets = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    for one, other in itertools.combinations(range(8), 2):
        key = octets[:, one].astype(np.int64) << 8 | octets[:, other]
        for a, b in _within_buckets(key):
            close = np.bitwise_count(values[a] ^ values[b]) <= FARTHEST
            near.append(np.stack([a[close], b[close]], axis=1))
    return _between_owners(np.unique(np.concatenate(near), axis=0), entry, owners)


def _within_buckets(key: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Yield all pairs of positions with the same key, in rounds of growing distance."""
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    distance = 1
    alive = np.arange(len(key) - 1)
    while len(alive := alive[alive + distance < len(key)]):
        alive = alive[sorted_key[alive] == sorted_key[alive + distance]]
        yield order[alive], order[alive + distance]
        distance += 1


def _between_owners(near: Pairs, entry: NDArray[np.intp], owners: NDArray[np.int64]) -> Pairs:
    """Turn pairs of hash values into pairs of the pictures that have them.

    Where very many share one value, each is paired with the first few and with the next one.
    """
    values, pictures = np.unique(np.stack([entry, owners], axis=1), axis=0).T
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
    found = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    distinct: Pairs = found[found[:, 0] < found[:, 1]]
    return distinct


def agreement(one: Thumbnails, other: Thumbnails) -> float:
    """Return how well the details of two thumbnails agree where they agree best, at most 1.

    Each is scaled down and shifted over the other; the correlation is that of the smaller picture
    with what lies beneath it, both without their coarse light and dark.

    Args:
        one: uint8 of shape (64, 64), grey.
        other: likewise.
    """
    return max(
        _best_correlation(_details(large), _details(_scaled(small, scale)))
        for large, small in ((one, other), (other, one))
        for scale in SCALES
    )


def _details(picture: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float64]:
    values = picture.astype(np.float64)
    details: NDArray[np.float64] = values - gaussian_filter(values, COARSE, axes=(-2, -1))
    return details


def _scaled(picture: Thumbnails, scale: float) -> NDArray[np.float64]:
    side = round(scale * len(picture))
    position = (np.arange(side) + 0.5) / scale - 0.5
    low = np.clip(np.floor(position).astype(int), 0, len(picture) - 2)
    weight = np.clip(position - low, 0, 1)
    values = picture.astype(np.float64)
    rows = values[low] * (1 - weight[:, None]) + values[low + 1] * weight[:, None]
    scaled: NDArray[np.float64] = rows[:, low] * (1 - weight) + rows[:, low + 1] * weight
    return scaled


def _best_correlation(large: NDArray[np.float64], small: NDArray[np.float64]) -> float:
    """Highest normalised cross-correlation of the small picture at any place in the large one."""
    template = small - small.mean()
    places = len(large) - len(small) + 1
    products = _sums_under(large, template)[:places, :places]
    ones = np.ones_like(small)
    sums = _sums_under(large, ones)[:places, :places]
    squares = _sums_under(large**2, ones)[:places, :places]
    spread = np.sqrt((squares - sums**2 / small.size).clip(1e-6) * np.square(template).sum())
    return float((products / spread).max())


def _sums_under(large: NDArray[np.float64], small: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of large times small, for each place of the small picture's corner."""
    spectrum = rfft2(large) * np.conj(rfft2(small, large.shape))
    sums: NDArray[np.float64] = irfft2(spectrum, large.shape)
    return sums
