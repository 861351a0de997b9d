import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vehicle_lightning.data.images import UnknownRangeError, read_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def red_left_half(width: int = 16, height: int = 16) -> Image.Image:
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


def looks_red_then_blue(pixels: np.ndarray) -> bool:
    left, right = pixels[:, :6].reshape(-1, 3), pixels[:, -6:].reshape(-1, 3)
    return bool(np.abs(left - RED).max() < 12 and np.abs(right - BLUE).max() < 12)


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGB", {}),
        ("a.jpg", "RGB", {"quality": 95, "subsampling": 0}),
        ("a.JPEG", "CMYK", {"quality": 95, "subsampling": 0}),
        ("a.webp", "RGB", {"lossless": True}),
        ("a.png", "P", {}),
        ("a.png", "RGBA", {}),
        ("a.gif", "P", {}),
        ("a.bmp", "RGB", {}),
        ("a.tif", "CMYK", {}),
    ],
)
def test_left_stays_left_in_every_format(
    tmp_path: Path, name: str, mode: str, options: dict[str, int]
) -> None:
    red_left_half().convert(mode).save(tmp_path / name, **options)
    pixels = read_image(tmp_path / name, 16).astype(int)
    assert pixels.shape == (16, 16, 3)
    assert looks_red_then_blue(pixels)


def test_uint8_and_size(tmp_path: Path) -> None:
    red_left_half(40, 40).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", 24)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (24, 24, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_in_the_metadata_is_undone(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = red_left_half()
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert looks_red_then_blue(read_image(tmp_path / "a.png", 16).astype(int))


def test_grey_becomes_equal_channels(tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", 256)
    assert (pixels[..., 0] == np.arange(256)[:, None]).all()
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    values = np.full((16, 16), 128 * 256, dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 16, {"integer": 65535.0}) == 128).all()
    with pytest.raises(UnknownRangeError, match="not known what is white"):
        read_image(tmp_path / "a.png", 16)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    clear = Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    options = {"transparency": 0} if mode == "P" else {}
    image = Image.new("P", (16, 16)) if mode == "P" else clear.convert(mode)
    image.save(tmp_path / "a.png", **options)
    assert (read_image(tmp_path / "a.png", 16) == 255).all()


def test_an_oblong_image_is_cropped_not_squeezed(tmp_path: Path) -> None:
    image = Image.new("RGB", (48, 16), BLUE)
    image.paste(RED, (16, 0, 32, 16))
    image.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 16) == RED).all()


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0" + b"\0" * 50])
def test_broken_files_raise(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(OSError, match=r"cannot identify|truncated"):
        read_image(tmp_path / "a.jpg", 16)


def test_a_truncated_file_raises(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match="truncated"):
        read_image(tmp_path / "a.jpg", 64)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_file_and_its_content_are_the_same_picture(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    """Pillow maps the raw pixels of a TIFF that it opens by its path."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "picture.tiff"
    picture.save(file, exif=exif)
    content = io.BytesIO(file.read_bytes())
    assert np.array_equal(read_image(file, 32), read_image(content, 32))
