"""Pictures are what they seem: every mode and depth is right, or refused by name."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vehicle_lightning.data.cache import DecodedImages, decode_images
from vehicle_lightning.data.facts import examine_all, file_states

SIDE = 64
RAMP = np.linspace(0.0, 1.0, SIDE, dtype=np.float64)[None].repeat(SIDE, axis=0)
GREY = (RAMP * 255).round().astype(np.uint8)


def tiff(values: NDArray[np.generic], bits: int, sample_format: int, photometric: int = 1) -> bytes:
    """A bare little- or big-endian TIFF of one strip, as the numbers are."""
    big = values.dtype.byteorder == ">"
    order = ">" if big else "<"
    data = values.tobytes()
    tags = {
        256: values.shape[1],
        257: values.shape[0],
        258: bits,
        259: 1,
        262: photometric,
        273: 8,
        277: 1,
        278: values.shape[0],
        279: len(data),
        339: sample_format,
    }
    directory = struct.pack(order + "H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack(order + "HHII", tag, 4, 1, value)
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", 8 + len(data))
    return head + data + directory + bytes(4)


def scaled(top: float, dtype: str) -> NDArray[np.generic]:
    values = RAMP * top
    return (values if dtype.endswith(("f4", "f8")) else values.round()).astype(dtype)


RIGHT: dict[str, bytes | Callable[[Path], None]] = {
    "16 bits": tiff(scaled(65535, "<u2"), 16, 1),
    "16 bits, big-endian": tiff(scaled(65535, ">u2"), 16, 1),
    "12 bits in 16": tiff(scaled(4095, "<u2"), 16, 1),
    "10 bits in 16": tiff(scaled(1023, ">u2"), 16, 1),
    "8 bits in 16": tiff(scaled(255, "<u2"), 16, 1),
    "16 bits, signed": tiff(scaled(16383, "<i2"), 16, 2),
    "32 bits": tiff(scaled(65535, "<i4"), 32, 2),
    "float to 1": tiff(scaled(1, "<f4"), 32, 3),
    "float to 1, big-endian": tiff(scaled(1, ">f4"), 32, 3),
    "float to 255": tiff(scaled(255, "<f4"), 32, 3),
    "float to 4095": tiff(scaled(4095, "<f4"), 32, 3),
    "white is zero": tiff(scaled(65535, "<u2")[:, ::-1].copy(), 16, 1, 0),
    "PNG of 16 bits": lambda path: Image.fromarray(scaled(65535, "u2")).save(path, "PNG"),
    "PNG of 12 bits": lambda path: Image.fromarray(scaled(4095, "u2")).save(path, "PNG"),
    "PGM of 12 bits": lambda path: (
        path.write_bytes(b"P5 64 64 4095\n" + scaled(4095, ">u2").tobytes()) and None
    ),  # type: ignore[func-returns-value]
    "8 bits": lambda path: Image.fromarray(GREY).save(path, "PNG"),
    "grey and alpha": lambda path: Image.fromarray(GREY).convert("LA").save(path, "PNG"),
    "palette": lambda path: Image.fromarray(GREY).convert("P").save(path, "PNG"),
    "CMYK": lambda path: Image.fromarray(GREY).convert("RGB").convert("CMYK").save(path, "TIFF"),
    "YCbCr": lambda path: Image.fromarray(GREY).convert("RGB").convert("YCbCr").save(path, "TIFF"),
    "animated": lambda path: Image.fromarray(GREY).save(
        path, "GIF", save_all=True, append_images=[Image.new("L", (SIDE, SIDE), 255)]
    ),
    "several pages": lambda path: Image.fromarray(GREY).save(
        path, "TIFF", save_all=True, append_images=[Image.new("L", (SIDE, SIDE), 255)]
    ),
}


def decoded(folder: Path, *contents: bytes | Callable[[Path], None]) -> DecodedImages:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.img" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
    return decode_images(paths, SIDE, folder / "cache")


@pytest.mark.parametrize("content", RIGHT.values(), ids=RIGHT)
def test_black_is_black_and_white_is_white(
    tmp_path: Path, content: bytes | Callable[[Path], None]
) -> None:
    found = decoded(tmp_path, content)
    assert found.unreadable == {}
    pixels = found.pixels[np.array([0])][0].astype(int)
    assert np.abs(pixels - GREY[..., None]).max() <= 3
    # Once more, from the cache and decoded at every use.
    again = decode_images([tmp_path / "0.img"], SIDE, tmp_path / "cache", keep_pixels=False)
    assert (again.pixels[np.array([0])][0] == pixels).all()
    assert again.white == found.white


REFUSED = {
    "signed 8 bits": (tiff(scaled(100, "i1"), 8, 2), "signed 8-bit"),
    "negative numbers": (tiff((RAMP * 100 - 50).astype("<i2"), 16, 2), "from -50 to 50"),
    "more than 16 bits": (tiff(scaled(1e6, "<i4"), 32, 2), "from 0 to 1e"),
    "negative floats": (tiff((RAMP - 0.5).astype("<f4"), 32, 3), "from -0.5 to 0.5"),
    "no number": (tiff(np.full((SIDE, SIDE), np.nan, "<f4"), 32, 3), "not finite"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_nobody_can_know_is_refused_by_name(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    assert reason in decoded(tmp_path, content).unreadable[0]


def test_one_white_for_a_data_set(tmp_path: Path) -> None:
    half = tiff(scaled(2000, "<u2"), 16, 1)
    found = decoded(tmp_path, half, RIGHT["12 bits in 16"], RIGHT["8 bits"], RIGHT["float to 1"])
    assert found.white == {"integer": 4095.0, "float": 1.0}
    brightest = [int(found.pixels[np.array([row])].max()) for row in range(4)]
    assert brightest == [125, 255, 255, 255]
    assert found.hashes is not None
    assert (found.hashes["thumbnail"].max(axis=(1, 2)) > 100).all()


def test_several_frames_and_flat_pictures_are_noticed(tmp_path: Path) -> None:
    decoded(tmp_path, RIGHT["animated"], RIGHT["several pages"], RIGHT["8 bits"])
    Image.new("RGB", (90, 80), (7, 8, 9)).save(tmp_path / "3.img", "PNG")
    paths = [tmp_path / f"{number}.img" for number in range(4)]
    facts = examine_all(paths, file_states(paths, tmp_path), tmp_path).facts
    assert facts["has_frames"].tolist() == [True, True, False, False]
    assert (facts["contrast"] < 1).tolist() == [False, False, False, True]


def test_nothing_is_opened_where_size_and_times_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vehicle_lightning.data.cache.UNSURE", 0)
    first = decoded(tmp_path, RIGHT["8 bits"], RIGHT["float to 1"])
    opened: list[str] = []

    def opening(path: Path, *_: object, **__: object) -> Iterator[bytes]:
        opened.append(path.name)
        raise AssertionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", opening)
        patch.setattr("vehicle_lightning.data.facts._examine", opening)
        paths = [tmp_path / "0.img", tmp_path / "1.img"]
        again = decode_images(paths, SIDE, tmp_path / "cache")
    assert opened == []
    rows = np.array([0, 1])
    assert (again.pixels[rows] == first.pixels[rows]).all()
    assert (again.digests == first.digests).all()
