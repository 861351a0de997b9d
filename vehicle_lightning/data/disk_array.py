"""Rows of numbers in a file that is gone with the process, so that memory stays flat."""

import weakref
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.errors import DataError

IN_MEMORY = 1 << 20  # bytes; fewer need no file
SPARSE = 8  # rows read for each one wanted, above which the wanted ones are read one by one


Number = TypeVar("Number", bound=np.generic)


class DiskArray(Generic[Number]):
    """An array of N rows that grows at its end, and of which a part is in memory at a time.

    Several threads may read.

    Args:
        shape: of a row.
        dtype: of its numbers.
        folder: where the file is, without a name in it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[Number], folder: Path) -> None:
        self._shape, self._dtype, self._folder = shape, np.dtype(dtype), folder
        self._row_bytes = self._dtype.itemsize * int(np.prod(shape))
        self._file = SpooledTemporaryFile(IN_MEMORY, dir=str(folder))  # noqa: SIM115  # as this object
        weakref.finalize(self, self._file.close)
        self._count = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def append(self, rows: NDArray[Number]) -> None:
        """Add rows of shape (B, ...) at the end.

        Raises:
            DataError: the folder cannot be written to, or the disk is full.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file.seek(self._count * self._row_bytes)
            self._file.write(rows.tobytes())
            self._file.flush()  # a full disk is found out here
        except OSError as error:
            raise DataError(
                f"Cannot write to {self._folder} ({error.strerror}); choose another --cache-dir."
            ) from error
        self._count += len(rows)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Number]:
        """Read the rows of these numbers, in ascending order: shape (B, ...)."""
        if not len(rows):
            return self._read(0, 0)
        first, last = int(rows[0]), int(rows[-1])
        if last - first < SPARSE * len(rows):
            return self._read(first, last + 1)[rows - first]
        return np.concatenate([self._read(row, row + 1) for row in rows.tolist()])

    def _read(self, first: int, last: int) -> NDArray[Number]:
        with self._lock:
            self._file.seek(first * self._row_bytes)
            content = self._file.read((last - first) * self._row_bytes)
        return np.frombuffer(content, dtype=self._dtype).reshape(-1, *self._shape)
