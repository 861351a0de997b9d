"""Room for hashed pictures: what is written is read, and nothing is left behind."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vehicle_lightning.data import hashes
from vehicle_lightning.data.hashes import THUMBNAIL, hash_pictures, room_for_pictures
from vehicle_lightning.errors import DataError


@pytest.fixture(autouse=True, params=[0, 1 << 20])
def in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "IN_MEMORY", request.param)


@pytest.mark.parametrize("count", [0, 1, 60])
def test_pictures_come_back_as_they_were_written(tmp_path: Path, count: int) -> None:
    shape = (count, THUMBNAIL, THUMBNAIL, 3)
    hashed = hash_pictures(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    pictures = room_for_pictures(tmp_path, np.ones(count, dtype=bool))
    assert pictures.tobytes() == bytes(pictures.nbytes)
    pictures[:] = hashed
    assert pictures.tobytes() == hashed.tobytes()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("in_memory", [0], indirect=True)
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"Cannot write to .*; choose another --cache-dir"):
        room_for_pictures(tmp_path / "file" / "cache", np.ones(1, dtype=bool))


@pytest.mark.parametrize("in_memory", [0], indirect=True)
def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9000))
    assert len(room_for_pictures(tmp_path, np.array([True, False, False]))) == 3
    with pytest.raises(DataError, match="No space left"):
        room_for_pictures(tmp_path, np.array([True, True, False]))
