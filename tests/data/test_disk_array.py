"""Rows in a file: what is read is what was appended, however many, and nothing is left behind."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.data import disk_array
from vehicle_lightning.data.disk_array import DiskArray
from vehicle_lightning.errors import DataError


@given(
    parts=st.lists(st.integers(0, 40), max_size=6),
    in_memory=st.sampled_from([0, 100, 1 << 20]),
    data=st.data(),
)
def test_rows_come_back_as_they_were_appended(
    parts: list[int], in_memory: int, data: st.DataObject
) -> None:
    every = np.arange(sum(parts) * 6, dtype=np.uint64).reshape(-1, 3, 2)
    numbers = st.sets(st.integers(0, max(len(every) - 1, 0))) if len(every) else st.just(set())
    wanted = np.array(sorted(data.draw(numbers)), dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(disk_array, "IN_MEMORY", in_memory)
        rows = DiskArray((3, 2), np.uint64, Path(folder))
        for part in np.split(every, np.cumsum(parts)[:-1]) if parts else []:
            rows.append(part)
        assert len(rows) == len(every)
        assert (rows[wanted] == every[wanted]).all()
        assert rows[wanted].shape == (len(wanted), 3, 2)
        assert not list(Path(folder).iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    rows = DiskArray((1,), np.uint64, tmp_path / "file" / "cache")
    with pytest.raises(DataError, match=r"Cannot write to .*; choose another --cache-dir"):
        rows.append(np.zeros((1, 1), dtype=np.uint64))
