"""Files that are there whole or not at all."""

import csv
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS = b"file,prediction,p_"  # how the output of `predict` begins
HALF_WRITTEN = "-partial"  # in the name of a file that is not whole yet


def holds_predictions(path: Path) -> bool:
    """Whether a file is one that `predict` wrote."""
    try:
        with path.open("rb") as stream:
            return stream.read(2 * len(PREDICTIONS)).replace(b'"', b"").startswith(PREDICTIONS)
    except OSError:
        return False


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` when all went well.

    A reader sees the old file or the new one, never half of it.

    Raises:
        OSError: writing failed; its file name is that of `path`.
    """
    # Not by the number of the process: on several machines several may have the same.
    token = secrets.token_hex(4)
    temporary = path.with_name(f".{path.stem}.{token}{HALF_WRITTEN}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):  # it is not there, or on a disk that nothing can be written to
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole.

    Raises:
        OSError: writing failed.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table whole, without its index; of a name that is no text the bytes are escaped.

    Raises:
        OSError: writing failed.
    """
    text = table.select_dtypes(exclude="number").astype(str)
    # The csv module leaves a lone carriage return bare, which readers take for the end of a row.
    has_returns = any(text[column].str.contains("\r").any() for column in text)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, quoting=quoting, errors="backslashreplace")


def remove_half_written(folder: Path, stem: str = "") -> None:
    """Remove what killed processes left behind in a folder.

    Only to be called where no other process writes there.

    Args:
        folder: where to look.
        stem: how the names of the files begin.
    """
    for path in folder.glob(f".{stem}*{HALF_WRITTEN}*"):
        path.unlink(missing_ok=True)
