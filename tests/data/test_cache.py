import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vehicle_lightning.data import facts
from vehicle_lightning.data.cache import decode_images
from vehicle_lightning.data.images import read_image, to_rgb
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import HALF_WRITTEN


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(10):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
        made.append(path)
    return made


@pytest.mark.parametrize("keep_pixels", [True, False])
def test_pixels_and_statistics_are_those_of_the_images(
    tmp_path: Path, paths: list[Path], keep_pixels: bool
) -> None:
    decoded = decode_images(paths, 16, tmp_path / "cache", keep_pixels=keep_pixels)
    expected = np.stack([read_image(path, 16) for path in paths])
    rows = np.array([3, 0, 3, 9])
    assert (decoded.pixels[rows] == expected[rows]).all()
    values = expected.reshape(10, -1, 3) / 255
    np.testing.assert_allclose(decoded.channel_mean, values.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(decoded.channel_mean_square, (values**2).mean(axis=1), atol=1e-6)
    assert len(set(decoded.digests.tolist())) == 10
    assert list((tmp_path / "cache").glob("*.npy")) != [] or not keep_pixels


def test_the_second_time_nothing_is_decoded(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decode_images(paths, 16, tmp_path / "cache")
    monkeypatch.setattr(facts, "to_rgb", lambda *_: pytest.fail("decoded again"))
    again = decode_images(paths, 16, tmp_path / "cache")
    everything = np.arange(10)
    assert (first.pixels[everything] == again.pixels[everything]).all()
    np.testing.assert_array_equal(first.channel_mean, again.channel_mean)


def test_a_changed_image_and_another_size_are_decoded_anew(
    tmp_path: Path, paths: list[Path]
) -> None:
    decode_images(paths, 16, tmp_path / "cache")
    Image.new("RGB", (20, 20), "white").save(paths[4])
    assert (decode_images(paths, 16, tmp_path / "cache").pixels[np.array([4])] == 255).all()
    assert decode_images(paths, 8, tmp_path / "cache").pixels[np.array([0])].shape == (1, 8, 8, 3)


def test_equal_files_have_equal_digests(tmp_path: Path, paths: list[Path]) -> None:
    paths[7].write_bytes(paths[2].read_bytes())
    digests = decode_images(paths, 16, tmp_path / "cache").digests
    assert digests[7] == digests[2]
    assert len(set(digests.tolist())) == 9


@pytest.mark.parametrize("keep_pixels", [True, False])
def test_all_faults_are_found_at_once_and_remembered(
    tmp_path: Path, paths: list[Path], keep_pixels: bool
) -> None:
    paths[1].unlink()
    paths[4].write_bytes(b"text")
    paths[6].unlink()
    paths[6].mkdir()
    for _ in range(2):
        decoded = decode_images(paths, 16, tmp_path / "cache", keep_pixels=keep_pixels)
        assert list(decoded.unreadable) == [1, 4, 6]
        assert decoded.unreadable == {1: "missing", 4: "no image", 6: "a folder"}
        assert decoded.rows.tolist() == [0, 2, 3, 5, 7, 8, 9]
        expected = np.stack([read_image(paths[row], 16) for row in decoded.rows])
        assert (decoded.pixels[np.arange(7)] == expected).all()


def test_pixels_go_to_worker_processes_without_their_content(
    tmp_path: Path, paths: list[Path]
) -> None:
    pixels = decode_images(paths, 16, tmp_path / "cache").pixels
    packed = pickle.dumps(pixels)
    assert len(packed) < 1500
    rows = np.array([5, 1])
    assert (pickle.loads(packed)[rows] == pixels[rows]).all()


def test_several_at_once_share_one_cache_and_decode_once(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def reading(image: Image.Image, size: int, _: object) -> np.ndarray:
        read.append(image)
        return to_rgb(image, size)

    monkeypatch.setattr(facts, "to_rgb", reading)
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                decode_images(paths, 16, tmp_path / "cache").pixels[np.arange(10)]
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert len(read) == len(paths)
    assert all((result == results[0]).all() for result in results)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1


def test_an_interrupted_write_leaves_no_cache(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(facts, "to_rgb", interrupt)
        with pytest.raises(KeyboardInterrupt):
            decode_images(paths, 16, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.np*"))
    assert decode_images(paths, 16, tmp_path / "cache").unreadable == {}


def test_what_a_killed_write_left_is_removed_but_not_that_of_others(
    tmp_path: Path, paths: list[Path]
) -> None:
    decode_images(paths, 16, tmp_path / "cache")
    (pixel_file,) = (tmp_path / "cache").glob("*-pixels.npy")
    (listing,) = (tmp_path / "cache").glob("*-files.npz")
    left = [
        tmp_path / "cache" / f".{stem}-pixels.0123{HALF_WRITTEN}.npy"
        for stem in (listing.stem, "another")
    ]
    for path in left:
        path.write_bytes(b"half")
    pixel_file.unlink()
    decode_images(paths, 16, tmp_path / "cache")
    assert [path.exists() for path in left] == [False, True]


@pytest.mark.parametrize("suffix", ["pixels.npy", "index.npz", "files.npz"])
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "other"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, paths: list[Path], suffix: str, damage: str
) -> None:
    everything = np.arange(10)
    expected = decode_images(paths, 16, tmp_path / "cache").pixels[everything]
    (file,) = (tmp_path / "cache").glob(f"*{suffix}")
    content = file.read_bytes()
    if damage == "other":
        other = {"mean": np.zeros(3)}
        np.savez(file, **other) if suffix.endswith("npz") else np.save(file, np.zeros((3, 2)))
    else:
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b""}.get(damage, b"no"))
    decoded = decode_images(paths, 16, tmp_path / "cache")
    assert (decoded.pixels[everything] == expected).all()
    assert decoded.channel_mean.shape == (10, 3)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", fail)
    with pytest.raises(DataError, match=r"No space left.*--cache-dir"):
        decode_images(paths, 16, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.np*"))


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path, paths: list[Path]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="choose another --cache-dir"):
        decode_images(paths, 16, tmp_path / "file" / "cache")
