"""Room for hashed pictures: what is written is read, and nothing is left behind."""

from pathlib import Path

import numpy as np
import pytest

from vehicle_lightning.data.hashes import THUMBNAIL, hash_pictures, room_for_pictures
from vehicle_lightning.errors import DataError


@pytest.mark.parametrize("count", [0, 1, 60])
def test_pictures_come_back_as_they_were_written(tmp_path: Path, count: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (count, THUMBNAIL, THUMBNAIL), dtype=np.uint8)
    hashed = hash_pictures(noise)
    pictures = room_for_pictures(tmp_path / "cache", count)
    assert pictures.tobytes() == bytes(pictures.nbytes)
    pictures[:] = hashed
    assert pictures.tobytes() == hashed.tobytes()
    assert not list((tmp_path / "cache").iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"Cannot write to .*; choose another --cache-dir"):
        room_for_pictures(tmp_path / "file" / "cache", 1)
