"""Images of one camera are no duplicates, near copies among them are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vehicle_lightning.data.duplicates import LEAST_SCENE, group_images
from vehicle_lightning.data.facts import read_hashes

COUNT = 2 * LEAST_SCENE


def scene(kind: str) -> Image.Image:
    """What does not change: a street, a form, a slide."""
    rng = np.random.default_rng(1)
    image = Image.new("RGB", (240, 240), (236, 236, 230) if kind != "street" else (90, 110, 120))
    draw = ImageDraw.Draw(image)
    if kind == "form":
        for line in range(12, 230, 18):
            draw.rectangle((14, line, 14 + int(rng.integers(40, 90)), line + 4), fill=(60, 60, 60))
            draw.line((120, line + 5, 225, line + 5), fill=(120, 120, 120))
        return image
    for _ in range(60):
        x, y, w, h = rng.integers(0, 240, 4) // [1, 1, 6, 6]
        colour = tuple(map(int, rng.integers(0, 256, 3)))
        if kind == "slide":
            colour = (150, 120 + int(rng.integers(60)), 170)
            draw.ellipse((x, y, x + 14, y + 14), fill=colour)
        else:
            draw.rectangle((x, y, x + w, y + h), fill=colour)
    return image


@pytest.mark.parametrize("kind", ["street", "form", "slide"])
def test_a_scene_is_said_and_its_images_are_not_joined(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    still = scene(kind)
    paths = []
    for number in range(COUNT):
        image = still.copy()
        x, y = 20 + 27 * (number % 8), 20 + 36 * (number // 8)  # no two at one place
        colour = [(240, 240, 20) if kind == "street" else (30, 30, 200), (30, 30, 30)][number % 2]
        ImageDraw.Draw(image).ellipse((x, y, x + 25, y + 20), fill=colour)
        noise = rng.normal(0, 3, (240, 240, 3))
        pixels = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
        paths.append(tmp_path / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    with Image.open(paths[5]) as image:
        stream = io.BytesIO()
        image.crop((4, 0, 236, 232)).save(stream, "JPEG", quality=50)
    paths.append(tmp_path / "near.jpg")
    paths[-1].write_bytes(stream.getvalue())
    digests = np.arange(COUNT + 1).astype("S32")
    hashed = read_hashes(paths, tmp_path)
    found = group_images(digests, tmp_path, lambda: hashed)
    pairs = [np.flatnonzero(found.of_image == g).tolist() for g in range(found.of_image.max() + 1)]
    assert [pair for pair in pairs if len(pair) > 1] in ([[5, COUNT]], [])
    if kind == "street":  # elsewhere an object stands out so much that no hashes are alike
        assert len(found.scenes) == 1
        assert len(found.scenes[0]) > 0.9 * COUNT
        assert len(set(found.certain.tolist())) == COUNT + 1
