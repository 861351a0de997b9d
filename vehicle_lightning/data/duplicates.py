"""Duplicates: which pictures show the same photograph, be it compressed, resized or cropped anew.

Four steps, each dearer than the one before and for fewer pairs. Every picture and thirteen slightly
smaller crops of it get a perceptual hash of 256 bits. Pictures are candidates where the hash of one
is near to any hash of the other: in its first 64 bits, by which they are looked up, and as a whole.
Then the two thumbnails are laid over one another, at the scale and shift where they agree best, and
must agree there in their details. At last they are aligned to a fraction of a pixel and must agree
at every place: images of one camera share their background and differ where something moved, which
makes them one scene and no duplicates.

Sources:
    Norouzi, Punjani, Fleet (2012), Fast search in Hamming space with multi-index hashing.
    Lewis (1995), Fast normalized cross-correlation.
    Lucas, Kanade (1981), An iterative image registration technique.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import PIL
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vehicle_lightning.data.cache import read_arrays, write_arrays
from vehicle_lightning.data.hashes import Hashes, Pictures
from vehicle_lightning.errors import DataError
from vehicle_lightning.parallel import in_threads

MOST_PAIRED = 8  # pictures of one hash that are paired with all others of a like one
FARTHEST_WORD = 8  # bits of 64 by which the first words of candidates may differ
FARTHEST = 64  # bits of 256 by which the hashes of candidates may differ
PART_BITS = 7
PARTS = range(1, 64, PART_BITS)  # where the parts of a word begin; the lowest bit is always 0
EQUAL_PARTS = 3  # of near words
AT_ONCE = 8192  # pictures or pairs, few enough for their hashes to stay near the processor
NEAREST = 8  # candidates of a picture that are looked at; more have only the images of one scene
SCALES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85)  # of the smaller picture in the larger one
COARSE = 2.5  # pixels; what is blurred so says where the sky is, not which photograph it is
LEAST_AGREEMENT = 0.65  # normalised cross-correlation of what remains
ALIGNMENTS = 4  # steps of Lucas and Kanade
FINE, COARSEST, LOCAL = 0.7, 4.0, 2.0  # pixels of blur: of noise, of shadows, of a place
MOST_DIFFERENCE = 0.65  # energy of the difference at any place, relative to the picture's mean
ALIGNED = 0.8  # correlation from which two pictures lie well over one another
MOST_DIFFERENCE_OF_CROPS = 1.1
MOST_COLOUR = 26.0  # levels of Cb and Cr by which a place may differ
EDGE = 2  # pixels
LEAST_SCENE = 20  # images that are called a scene where they are also
SCENE_SHARE = 0.03  # of all images or more
GROUPING_VERSION = 6  # raise it whenever the same images would be grouped in another way

Rows = NDArray[np.int64]
Pairs = NDArray[np.int64]
Channels = NDArray[np.float32]
Wanted = Literal["exact", "near", "off"]


@dataclass(frozen=True)
class Duplicates:
    """Which images show the same photograph.

    Attributes:
        of_image: int64 of shape (N,), the group of each image, numbered from 0 as they appear.
        exact: number of images whose file equals an earlier one.
        near: number of further images that show what an earlier one shows.
        scenes: the images of each scene, int64 rows in ascending order: so many look alike that
            they come from one camera or page, and are not kept together.
        certain: as `of_image`, but that no near duplicates inside a scene are joined: of very many
            images of one camera some show the same by chance.
    """

    of_image: NDArray[np.int64]
    exact: int
    near: int
    scenes: tuple[NDArray[np.int64], ...]
    certain: NDArray[np.int64]


class NearPairs(NamedTuple):
    """Pairs of pictures, int64 of shape (P, 2), the smaller number first.

    Attributes:
        same: show the same photograph; as many as it takes to connect all that do.
        scene: share what is large and differ somewhere.
    """

    same: Pairs
    scene: Pairs


def group_images(
    digests: NDArray[np.bytes_],
    cache_dir: Path,
    read_hashes: Callable[[], tuple[Pictures, Rows]],
    wanted: Wanted = "near",
) -> Duplicates:
    """Find exact and near duplicates among readable images, or find them found already.

    Args:
        digests: bytes of shape (N,), hashes of their contents.
        cache_dir: folder to remember the near duplicates in.
        read_hashes: returns perceptual hashes of pictures and which of them the N images are,
            int64 of shape (N,); called where the near duplicates are not known.
        wanted: which are to be found.

    Raises:
        DataError: the cache folder cannot be written to, or the disk is full.
    """
    count = len(digests)
    distinct, first, which = np.unique(digests, return_index=True, return_inverse=True)
    if wanted == "off" or count == 0:
        return Duplicates(np.arange(count), 0, 0, (), np.arange(count))
    exact = np.stack([np.arange(count), first[which]], axis=1)
    certain = grouped(count, exact)
    if wanted == "exact":
        return Duplicates(certain, count - len(distinct), 0, (), certain)
    key = hashlib.blake2b(f"{GROUPING_VERSION} {PIL.__version__} ".encode(), digest_size=12)
    key.update(distinct.tobytes())
    file = cache_dir / f"{key.hexdigest()}-near.npz"
    known = read_arrays(file, NearPairs._fields)
    if known is not None:
        near = NearPairs(**known)
    else:
        pictures, rows = read_hashes()
        near = near_duplicates(pictures, rows[first])
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_arrays(file, near._asdict())
        except OSError as error:
            raise DataError(
                f"Cannot write {error.filename or file} ({error.strerror}); choose another "
                f"--cache-dir."
            ) from error
    # A group that takes in a good part of the data is no photograph several times.
    largest = max(LEAST_SCENE, SCENE_SHARE * len(distinct))
    of_picture = grouped(len(distinct), near.same)
    is_scene = np.bincount(of_picture)[of_picture[near.same[:, 0]]] > largest
    alike = grouped(len(distinct), near.same, near.scene)
    sizes = np.bincount(alike)
    scenes = [np.flatnonzero(alike[which] == scene) for scene in np.flatnonzero(sizes > largest)]
    groups = grouped(count, exact, first[near.same[~is_scene]])
    near_count = len(distinct) - int(groups.max()) - 1
    certain = grouped(count, exact, first[near.same[sizes[alike[near.same[:, 0]]] <= largest]])
    return Duplicates(groups, count - len(distinct), near_count, tuple(scenes), certain)


def near_duplicates(pictures: Pictures, rows: Rows, *, mirrored: bool = False) -> NearPairs:
    """Find the pairs of pictures that show the same photograph, or the same scene a moment later.

    Robust to compression, resizing, changes of brightness, contrast and colour, and crops of up to
    a tenth of a side; not to rotation, stretching or larger crops.

    Args:
        pictures: records of type `PICTURE`.
        rows: int64 of shape (N,), those of them to compare.
        mirrored: find the pictures that show the mirror image of another instead.

    Returns:
        Pairs of places in `rows`.
    """
    places = np.flatnonzero(pictures["detailed"][rows])
    words = pictures["hashes"][..., 0][rows[places]]
    sought = pictures["mirrored"][:, 0][rows[places]] if mirrored else words[:, 0]
    candidates = places[candidate_pairs(sought, words)]
    distance = _distance(pictures, rows[candidates], mirrored=mirrored)
    candidates, distance = candidates[distance <= FARTHEST], distance[distance <= FARTHEST]
    candidates = candidates[_are_nearest(candidates, distance)]
    groups = DisjointSet(np.unique(candidates).tolist())

    def compare(pair: list[int]) -> Likeness:
        # Of many pictures of one scene it is enough to know that each is like one other.
        if groups.connected(*pair):
            return "other"
        one, other = (_channels(picture) for picture in pictures[rows[pair]])
        return likeness(one[..., ::-1] if mirrored else one, other)

    found: dict[Likeness, list[list[int]]] = {"same": [], "scene": [], "other": []}
    pairs = candidates.tolist()
    for pair, kind in zip(pairs, in_threads(compare, pairs), strict=True):
        if kind != "same" or groups.merge(*pair):
            found[kind].append(sorted(pair))
    same, scene = (
        np.array(found[kind], dtype=np.int64).reshape(-1, 2) for kind in ("same", "scene")
    )
    return NearPairs(_distinct(same), _distinct(scene))


def _are_nearest(pairs: Pairs, distance: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each pair is among the few nearest ones of one of its pictures."""
    one, other = (pd.Series(distance).groupby(side).rank(method="first") for side in pairs.T)
    return ((one <= NEAREST) | (other <= NEAREST)).to_numpy()


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


def _distance(pictures: Pictures, pairs: Pairs, *, mirrored: bool) -> NDArray[np.int64]:
    """Fewest bits, for each pair, between the sought hash of one and any hash of the other."""
    nearest = [np.empty(0, dtype=np.int64)]
    for one, other in (part.T for part in np.array_split(pairs, len(pairs) // AT_ONCE + 1)):
        bits = []
        for a, b in ((one, other), (other, one)):
            sought = pictures["mirrored"][a] if mirrored else pictures["hashes"][a, 0]
            differing = np.bitwise_count(sought[:, None] ^ pictures["hashes"][b]).sum(axis=-1)
            bits.append(differing.min(axis=-1).astype(np.int64))
        nearest.append(np.minimum(*bits))
    return np.concatenate(nearest)


def candidate_pairs(sought: Hashes, words: Hashes) -> Pairs:
    """Find the pairs of which the sought word of one differs in at most 8 bits from any of another.

    Of the nine parts of two words that differ in up to 6 bits three are always equal (in 7 or 8
    bits nearly always), so it is enough to compare, for each choice of three parts, the words that
    share them. By chance only one word in two million shares 21 bits with another: nearly all time
    goes into the look-ups, whose number grows with that of the pictures and not with its square.

    Where very many have one sought word, each of them is paired with the next one, and all other
    pictures with the first few.

    Args:
        sought: uint64 of shape (N,).
        words: uint64 of shape (N, K).

    Returns:
        int64 of shape (P, 2), each pair once, the smaller number first, in ascending order.
    """
    order = np.argsort(sought, kind="stable")
    equal = sought[order[1:]] == sought[order[:-1]]
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(np.append(False, equal)[: len(place)], 0, place))
    few = order[rank < MOST_PAIRED]

    def look_up(parts: tuple[int, ...]) -> Pairs:
        return _near_with_equal_parts(parts, sought, few, words)

    near = in_threads(look_up, itertools.combinations(PARTS, EQUAL_PARTS))
    pairs = [np.stack([order[:-1][equal], order[1:][equal]], axis=1), *near]
    return _distinct(np.sort(np.concatenate(pairs), axis=1))


def _near_with_equal_parts(
    parts: tuple[int, ...],
    sought: Hashes,
    few: NDArray[np.int64],
    words: Hashes,
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
        part = words[first : first + AT_ONCE].ravel()
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
    return np.stack(np.divmod(np.unique(pairs[:, 0] * width + pairs[:, 1]), width), axis=1)


Likeness = Literal["same", "scene", "other"]


class _Place(NamedTuple):
    """Where one picture lies in another: pixel i of the small one on scale * i + offset."""

    small: Channels
    large: Channels
    scale: float
    top: int
    left: int
    correlation: float


def likeness(one: Channels, other: Channels) -> Likeness:
    """Say whether two thumbnails show the same photograph, or one scene with another object in it.

    Args:
        one: Y, Cb, Cr, float32 of shape (3, 56, 56).
        other: likewise.
    """
    place = max(
        (place for pair in ((one, other), (other, one)) for place in _places(*pair)),
        key=lambda place: place.correlation,
    )
    if place.correlation < LEAST_AGREEMENT:
        return "other"
    # What agrees less on the whole is cropped or was taken from elsewhere, and one camera's images
    # agree well: there a difference is no matter of the alignment.
    allowed = MOST_DIFFERENCE if place.correlation >= ALIGNED else MOST_DIFFERENCE_OF_CROPS
    small, large, inside = _aligned(place)
    if _difference(small[0], large[0], inside) > allowed:
        return "scene"
    return "same" if _colour_difference(small, large, inside) <= MOST_COLOUR else "scene"


def _channels(picture: np.void) -> Channels:
    """Y, Cb, Cr of a hashed picture, float32 of shape (3, 56, 56)."""
    colours = picture["colours"].repeat(2, axis=0).repeat(2, axis=1).transpose(2, 0, 1)
    return np.concatenate([picture["thumbnail"][None], colours]).astype(np.float32)


def _places(large: Channels, small: Channels) -> Iterator[_Place]:
    """The best place of the small picture in the large one, at each scale."""
    details = _details(large[0])
    for scale in SCALES:
        inner = round(scale * len(details))
        lines = _between(len(details), (np.arange(inner) + 0.5) / scale - 0.5)
        sought = _details(lines @ small[0] @ lines.T)
        windows = sliding_window_view(details, sought.shape)
        middle = slice(inner // 2, inner // 2 + len(windows))  # of the first window to the last
        energy = uniform_filter(details**2, inner)[middle, middle].clip(1e-6)
        products = windows.reshape(-1, inner**2) @ sought.ravel()
        correlation = products / (inner * np.sqrt(energy.ravel()) * np.linalg.norm(sought) + 1e-6)
        best = int(correlation.argmax())
        yield _Place(small, large, scale, *divmod(best, len(windows)), float(correlation[best]))


def _details(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a Gaussian blur takes away from a square picture; its mean is 0, nearly."""
    blur = _blur(len(picture))
    return np.asarray(picture - blur @ picture @ blur.T)


@cache
def _blur(side: int) -> NDArray[np.float32]:
    """Map a line of pixels to the blurred line, which is faster than to filter each picture."""
    return np.asarray(gaussian_filter1d(np.eye(side), COARSE, axis=0), dtype=np.float32)


def _difference(
    small: NDArray[np.float32], large: NDArray[np.float32], inside: NDArray[np.bool_]
) -> float:
    """Return by how much two pictures differ where they differ most, relative to their details."""
    gain, offset = np.polyfit(large[inside], small[inside], 1)
    expected = (gain * large + offset).clip(0, 255)

    def fine(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.square(picture - gaussian_filter(picture, COARSEST)))

    details = _local(fine(small), inside)[inside].mean()
    return _largest(_local(fine(small - expected), inside), inside) / float(details + 1)


def _colour_difference(small: Channels, large: Channels, inside: NDArray[np.bool_]) -> float:
    """Return by how many levels colours differ where they differ most.

    One picture may be paler or tinted, so that its colours follow from those of the other by one
    linear map: the stronger ones are told from the weaker ones, in the levels of these, as to a
    grey picture all colours are one.
    """
    weak, strong = sorted((small, large), key=lambda picture: _strength(picture, inside))
    known = np.concatenate([weak, np.ones_like(weak[:1])])
    mapping = np.linalg.lstsq(known[:, inside].T, strong[1:, inside].T, rcond=None)[0]
    error = np.square(strong[1:] - np.tensordot(mapping.T, known, 1)).sum(axis=0)
    share = _strength(weak, inside) / (_strength(strong, inside) + 1e-6)
    return share * float(np.sqrt(_largest(_local(error, inside), inside)))


def _strength(picture: Channels, inside: NDArray[np.bool_]) -> float:
    return float(np.sqrt(picture[1:, inside].var(axis=1).sum()))


def _local(energy: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean around each place."""
    covered = gaussian_filter(inside.astype(np.float32), LOCAL).clip(0.05)
    return np.asarray(gaussian_filter(energy * inside, LOCAL) / covered)


def _largest(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """The largest value but for the edge, which lies outside of one of the pictures in part."""
    inner = inside[EDGE:-EDGE, EDGE:-EDGE]
    return float(values[EDGE:-EDGE, EDGE:-EDGE][inner].max(initial=0.0))


def _aligned(place: _Place) -> tuple[Channels, Channels, NDArray[np.bool_]]:
    """The small picture, the large one moved onto it, and where both are."""
    small, large = (
        np.stack([gaussian_filter(channel, FINE) for channel in picture])
        for picture in (place.small, place.large)
    )
    side = small.shape[-1]
    pixel = np.arange(side)
    away = (pixel / side).astype(np.float32)
    # Pixel i of the small picture lies on scale[a] * i + offset[a] of the large one, along axis a.
    scale = np.full(2, place.scale)
    offset = np.array([place.top, place.left]) + (place.scale - 1) / 2
    for step in range(ALIGNMENTS + 1):
        position = scale[:, None] * pixel + offset[:, None]
        down, across = (_between(side, line) for line in position)
        moved = down @ large[0] @ across.T
        if step == ALIGNMENTS:
            break
        by_row, by_column = np.gradient(moved)
        terms = (moved, 1, by_row, by_row * away[:, None], by_column, by_column * away)
        columns = np.stack([np.broadcast_to(term, moved.shape).ravel() for term in terms], axis=1)
        squares = (columns.T @ columns).astype(np.float64) + 1e-3 * np.eye(len(terms))
        gain, _, *moves = np.linalg.solve(squares, columns.T @ small[0].ravel())
        if abs(gain) < 0.05:
            break  # one of them is nearly flat
        shift, stretch = np.clip(np.array(moves).reshape(2, 2) / gain, -1.5, 1.5).T
        offset = offset + scale * shift
        scale = scale * (1 + stretch / side)
    within = (position >= -0.5) & (position <= side - 0.5)
    return small, np.asarray(down @ large @ across.T), within[0][:, None] & within[1][None]


def _between(length: int, position: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Map a line of pixels to its values at these positions, interpolating linearly."""
    away = np.abs(position[:, None].clip(0, length - 1) - np.arange(length))
    return (1 - away).clip(0).astype(np.float32)
