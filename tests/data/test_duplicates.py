"""Near duplicates: which are found, and which pictures are not taken for any."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from vehicle_lightning.data.duplicates import (
    FARTHEST_WORD,
    candidate_pairs,
    group_images,
    grouped,
    near_duplicates,
)
from vehicle_lightning.data.facts import read_hashes
from vehicle_lightning.data.hashes import THUMBNAIL, Pictures, hash_pictures
from vehicle_lightning.errors import ImageChangedError
from vehicle_lightning.synthetic import make_vehicles

Change = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    directory = make_vehicles(
        tmp_path_factory.mktemp("data") / "large",
        count=24,
        image_size=160,
        workers=1,
    )
    return [Image.open(path).convert("RGB") for path in sorted(directory.glob("images/*"))]


def thumbnails(pictures: list[Image.Image]) -> NDArray[np.uint8]:
    if not pictures:
        return np.empty((0, THUMBNAIL, THUMBNAIL, 3), dtype=np.uint8)
    size = (THUMBNAIL, THUMBNAIL)
    small = [p.convert("YCbCr").resize(size, Image.Resampling.BILINEAR) for p in pictures]
    return np.stack([np.asarray(picture) for picture in small])


def found(pictures: list[Image.Image], *, mirrored: bool = False) -> set[tuple[int, int]]:
    hashed = hash_pictures(thumbnails(pictures))
    pairs = near_duplicates(hashed, np.arange(len(pictures)), mirrored=mirrored).same
    return {(int(a), int(b)) for a, b in pairs}


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def cropped(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """Cut away so many of 160 pixels from each side."""
    part = picture.crop((left, top, 160 - right, 160 - bottom))
    return part.resize((160, 160), Image.Resampling.BICUBIC)


CHANGES: dict[str, Change] = {
    "compressed": lambda p: compressed(p, 20),
    "smaller": lambda p: p.resize((70, 70)),
    "larger": lambda p: p.resize((400, 400), Image.Resampling.BICUBIC),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.2),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.6),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "cropped at the left": lambda p: cropped(p, 12, 6, 0, 6),
    "cropped in a corner": lambda p: cropped(p, 0, 0, 14, 14),
    "cropped and compressed": lambda p: compressed(cropped(p, 6, 10, 6, 2), 30),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_copies_are_found(pictures: list[Image.Image], change: Change) -> None:
    count = len(pictures)
    pairs = found([*pictures, *map(change, pictures)])
    assert {(a, b) for a, b in pairs if b != a + count} == set()
    assert len(pairs) >= 0.9 * count  # a drawing at night may show too little


def test_where_an_object_differs_in_colour_alone_it_is_another_picture() -> None:
    """As yellow and blue spots on a white slide, which are as bright as what they cover."""
    rng = np.random.default_rng(0)
    grey = rng.integers(90, 230, (10, 10), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    spotted = []
    for number in range(8):
        channels = np.stack([grey, *np.full((2, 160, 160), 128, dtype=np.uint8)], axis=-1)
        left = 16 * number
        channels[40:80, left : left + 40, 1:] = ((80, 140), (180, 110))[number % 2]
        spotted.append(Image.fromarray(channels, "YCbCr").convert("RGB"))
    assert found(spotted) == set()
    assert found([*spotted, compressed(spotted[3], 50)]) == {(3, 8)}


def test_mirrored_copies_are_found_where_asked(pictures: list[Image.Image]) -> None:
    count = len(pictures)
    both = [*pictures, *(compressed(ImageOps.mirror(cropped(p, 4, 4, 0, 4)), 40) for p in pictures)]
    pairs = found(both, mirrored=True)
    assert {(a, b) for a, b in pairs if b != a + count} == set()
    assert len(pairs) >= 0.9 * count
    assert found(both) == set()


def test_different_pictures_are_no_copies(pictures: list[Image.Image]) -> None:
    assert found(pictures) == set()


def test_pictures_without_details_are_no_copies() -> None:
    shades = [Image.new("RGB", (64, 64), (i, i, i)) for i in range(0, 250, 5)]
    slopes = [Image.linear_gradient("L").resize((64, 64)).rotate(90 * i) for i in range(4)]
    assert found([*shades, *slopes, *slopes]) == set()


def test_many_copies_of_one_picture_are_one_group(pictures: list[Image.Image]) -> None:
    copies = [compressed(pictures[0], quality) for quality in range(20, 96, 2)]
    pairs = found([*copies, *pictures[1:6]])
    assert len(pairs) == len(copies) - 1
    groups = grouped(len(copies) + 5, np.array(sorted(pairs)))
    assert list(groups) == [0] * len(copies) + [1, 2, 3, 4, 5]


def test_nothing_and_one_picture_have_no_copies(pictures: list[Image.Image]) -> None:
    assert found(pictures[:1]) == set()
    assert found([]) == set()


def closest(sought: NDArray[np.uint64], words: NDArray[np.uint64], a: int, b: int) -> int:
    """Bits between the sought word of either and any word of the other."""
    return int(
        min(
            np.bitwise_count(sought[a] ^ words[b]).min(),
            np.bitwise_count(sought[b] ^ words[a]).min(),
        )
    )


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.lists(st.integers(0, FARTHEST_WORD), max_size=8),
    st.booleans(),
)
def test_candidates_are_those_of_looking_at_every_pair(
    seed: int, count: int, planted: list[int], mirrored: bool
) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (count, 3), dtype=np.uint64)
    sought = rng.integers(0, 2**64, count, dtype=np.uint64) if mirrored else words[:, 0].copy()
    for flips in planted:
        mask = np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, flips, False).astype(np.uint64))
        sought[rng.integers(count)] = words[rng.integers(count), rng.integers(3)] ^ mask
    distance = {
        (a, b): closest(sought, words, a, b) for a in range(count) for b in range(a + 1, count)
    }
    pairs = {(int(a), int(b)) for a, b in candidate_pairs(sought, words)}
    equal = {(a, b) for a, b in distance if sought[a] == sought[b]}  # they are one another's copies
    assert {pair for pair, bits in distance.items() if bits <= 6} <= pairs
    assert all(distance[pair] <= FARTHEST_WORD or pair in equal for pair in pairs)


def test_a_hash_keeps_through_brightness_and_contrast(pictures: list[Image.Image]) -> None:
    shown = thumbnails(pictures).astype(float)
    dimmed = (0.5 * shown + 20).round().astype(np.uint8)
    both = hash_pictures(shown.astype(np.uint8)), hash_pictures(dimmed)
    distance = np.bitwise_count(both[0]["hashes"] ^ both[1]["hashes"])
    assert np.median(distance.sum(axis=-1)) <= 8


@given(st.integers(1, 30), st.data())
def test_groups_are_the_connected_parts(count: int, data: st.DataObject) -> None:
    number = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(number, number), max_size=20))
    groups = grouped(count, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    assert list(dict.fromkeys(groups)) == list(range(groups.max() + 1))
    parts = [{n} for n in range(count)]
    for a, b in pairs:
        merged = next(p for p in parts if a in p) | next(p for p in parts if b in p)
        parts = [p for p in parts if not p & merged] + [merged]
    assert {frozenset(np.flatnonzero(groups == g)) for g in set(groups)} == set(
        map(frozenset, parts)
    )


def test_groups_of_files(pictures: list[Image.Image], tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path, picture in zip(
        paths,
        [pictures[0], pictures[1], pictures[0], compressed(pictures[1], 40)],
        strict=True,
    ):
        picture.save(path)
    digests = np.array([b"x", b"y", b"x", b"z"])
    cache = tmp_path / "cache"

    def read() -> tuple[Pictures, NDArray[np.int64]]:
        return read_hashes(paths, cache)

    first = group_images(digests, cache, read)
    assert (list(first.of_image), first.exact, first.near) == ([0, 1, 0, 1], 1, 1)

    (remembered,) = cache.glob("*-near.npz")
    for path in paths:
        path.unlink()  # they are not looked at again
    assert list(group_images(digests, cache, read).of_image) == [0, 1, 0, 1]
    remembered.write_bytes(b"damaged")
    with pytest.raises(ImageChangedError, match="could be read"):
        group_images(digests, cache, read)
