"""A CSV file as text: every row is accounted for, or a sentence says why not."""

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from vehicle_lightning.errors import DataError, join_first, one_line

SEPARATORS = (",", ";", "\t")  # as spreadsheet programs write them in one country or another
UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}
OTHER_FILES = {
    b"PK": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"(\xb5/\xfd": "packed by zstd",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True)
class CsvFile:
    """All cells of a CSV file, as text without white space around it.

    Attributes:
        path: the file.
        columns: the cells of each column, N each; blank where a row is too short.
        rows: N numbers of the rows, the header being row 1; blank rows count and are left out.
        lines: number of lines of the file.
        doubled: names that several columns have.
    """

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]
    lines: int
    doubled: frozenset[str]

    def column(self, name: str, flag: str) -> list[str]:
        """Return the cells of a column.

        Args:
            name: of the column.
            flag: the one that names it on the command line.

        Raises:
            DataError: there is no such column, there are two, or no rows.
        """
        if name in self.doubled:
            raise DataError(
                f"{self.path}: the column {name} stands there twice; rename or remove one of them."
            )
        if name not in self.columns:
            raise DataError(
                f"{self.path} has no column {name} (it has {join_first(self.columns)}); name "
                f"another with {flag}."
            )
        if not self.rows:
            raise DataError(
                f"{self.path} has no rows below its header; add one row for each image."
            )
        return self.columns[name]

    @property
    def broken_cells(self) -> int:
        """Number of cells that hold line breaks."""
        return sum("\n" in cell or "\r" in cell for c in self.columns.values() for cell in c)


def read_csv(path: Path, wanted: Sequence[str] = ()) -> CsvFile:
    """Read a CSV file of UTF-8 or UTF-16 text, which gzip, bzip2 or xz may have packed.

    The separator is the one by which the header has a wanted column, or else the most columns. A
    quote that swallows rows is an error: nothing is lost in silence.

    Args:
        path: the file.
        wanted: names of columns that it should have.

    Raises:
        DataError: the file is missing or is no such text, or a row does not fit its header.
    """
    text = _text(path)
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    separator = _separator(io.StringIO(text, newline="").readline(), wanted)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    header: list[str] = []
    cells: list[list[str]] = []
    rows: list[int] = []
    begins: list[int] = []  # line of each row
    too_long: list[str] = []
    line = 0
    try:
        for number, row in enumerate(reader, start=1):
            begin, line = line + 1, reader.line_num
            stripped = [cell.strip() for cell in row]
            if number == 1:
                header, cells = stripped, [[] for _ in row]
            elif any(stripped):
                if any(stripped[len(header) :]):
                    too_long.append(str(number))
                padded = stripped + [""] * (len(header) - len(stripped))
                for column, cell in zip(cells, padded, strict=False):
                    column.append(cell)
                rows.append(number)
                begins.append(begin)
    except csv.Error as error:
        raise DataError(
            f"{path} is not a CSV file: the quotes of the row that begins in line {line + 1} do "
            f"not match ({error}, line {reader.line_num}); a cell that begins with a quote ends "
            f"with one, and quotes inside it are doubled."
        ) from error
    if not any(header):
        raise DataError(f"{path} is empty; its first line must name the columns.")
    if too_long:
        raise DataError(
            f"{path} has rows with more cells than its header (row {join_first(too_long)}); quote "
            f"cells that contain commas."
        )
    _refuse_swallowed_rows(path, cells, begins, separator)
    doubled = frozenset(name for name in header if header.count(name) > 1 and name)
    return CsvFile(path, dict(zip(header, cells, strict=True)), rows, line, doubled)


def _text(path: Path) -> str:
    """Return the text of a file, whatever packed it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"There is no CSV file {path.absolute()}; name it with --csv.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    for magic, unpack in UNPACK.items():
        if content.startswith(magic):
            try:
                content = unpack(content)
            except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                raise DataError(f"{path} cannot be unpacked ({error}); pack it anew.") from error
    for magic, what in OTHER_FILES.items():
        if content.startswith(magic):
            raise DataError(f"{path} is {what}, no CSV file; save the table as CSV.")
    is_utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from error


def _separator(header: str, wanted: Sequence[str]) -> str:
    def rank(separator: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return len({name.strip() for name in names} & set(wanted)), len(names)

    return max(SEPARATORS, key=rank)  # of equals the first


def _refuse_swallowed_rows(
    path: Path, cells: Sequence[Sequence[str]], begins: Sequence[int], separator: str
) -> None:
    """Refuse cells with line breaks that hold what looks like rows: a quote is not closed."""
    swallowing = [
        (begins[row], cell)
        for row, of_row in enumerate(zip(*cells, strict=True))
        for cell in of_row
        if "\n" in cell or "\r" in cell
    ]
    if not swallowing:
        return
    known = [set(column) for column in cells]
    suffixes = [{PurePath(cell).suffix for cell in column} - {""} for column in cells]

    def is_row(line: str) -> bool:
        try:
            found = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            return False
        stripped = [cell.strip() for cell in found]
        return len(stripped) == len(cells) and any(
            bool(cell) and (cell in there or PurePath(cell).suffix in endings)
            for cell, there, endings in zip(stripped, known, suffixes, strict=True)
        )

    for begin, cell in swallowing:
        lines = cell.splitlines()
        # In a file of one column every line looks like a row; a name in two lines has no first one.
        inner = lines if len(cells) == 1 else lines[1:]
        hidden = sum(map(is_row, inner))
        if hidden and (len(cells) > 1 or hidden == len(inner)):
            raise DataError(
                f"{path}: a quote in line {begin} is closed only in line {begin + len(lines) - 1}, "
                f"so that {hidden} rows are taken for one cell ({one_line(cell)[:60]}...); close "
                f"the quote or remove it."
            )
