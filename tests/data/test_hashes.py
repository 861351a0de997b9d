"""Hashed pictures in a file: what is read is what was appended, and nothing is left behind."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.data import hashes
from vehicle_lightning.data.hashes import PICTURE, THUMBNAIL, HashStore, hash_pictures
from vehicle_lightning.errors import DataError

RNG = np.random.default_rng(0)
EVERY = hash_pictures(RNG.integers(0, 256, (60, THUMBNAIL, THUMBNAIL), dtype=np.uint8))


@given(
    parts=st.lists(st.integers(0, 12), max_size=5),
    in_memory=st.sampled_from([0, 100, 1 << 20]),
    data=st.data(),
)
def test_pictures_come_back_as_they_were_appended(
    parts: list[int], in_memory: int, data: st.DataObject
) -> None:
    count = sum(parts)
    numbers = st.sets(st.integers(0, count - 1)) if count else st.just(set())
    wanted = np.array(sorted(data.draw(numbers)), dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(hashes, "IN_MEMORY", in_memory)
        store = HashStore(Path(folder))
        for rows in np.split(np.arange(count), np.cumsum(parts)[:-1]) if parts else []:
            store.append(2 * rows, EVERY[rows])
        assert store.looked_up["row"].tolist() == list(range(0, 2 * count, 2))
        assert (store.looked_up["words"] == EVERY["hashes"][:count, :, 0]).all()
        assert store[wanted].tobytes() == EVERY[wanted].tobytes()
        assert not list(Path(folder).iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = HashStore(tmp_path / "file" / "cache")
    with pytest.raises(DataError, match=r"Cannot write to .*; choose another --cache-dir"):
        store.append(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=PICTURE))
