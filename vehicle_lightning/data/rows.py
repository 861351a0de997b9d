"""The rows of a CSV: each is accounted for, and what is wrong with it is found or refused.

Text of a file comes first, then what its rows say: blanks, repetitions, contradictions, odd labels.
"""

import bz2
import csv
import gzip
import io
import lzma
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from vehicle_lightning.data.findings import Finding, Severity
from vehicle_lightning.data.paths import leads_outside
from vehicle_lightning.errors import DataError, join_first, one_line

SEPARATORS = (",", ";", "\t")  # as spreadsheet programs write them in one country or another
UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}
OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"(\xb5/\xfd": "packed by zstd",
    b"%PDF": "a PDF",
}
IMBALANCE = 3.0  # times as many images of the largest class as of the smallest: a note
STRONG_IMBALANCE = 10.0  # a warning
FEWEST_IMAGES = 20  # of a class; fewer tell too little
PLACEHOLDERS = (
    *("-", "?", "unknown", "undefined", "missing", "none", "null", "nil", "nan", "na", "n/a"),
    *("#n/a", "tbd", "todo"),
)
# What is wrong with rows of a kind, and what to do.
ROW_KINDS: dict[str, tuple[Severity, str, str]] = {
    "blank-name": ("serious", "without an image name", "Delete the rows."),
    "blank-label": ("serious", "without a label", "Label them or delete them."),
    "unknown-label": (
        "warning",
        "with a label that says it is not known, taken for a class of its own",
        "Label them or delete them.",
    ),
    "outside": (
        "serious",
        "with a name that leads out of the image folder",
        "Use names relative to the image folder.",
    ),
    "repeated-row": ("note", "say the same as an earlier one", "Delete them."),
}
LISTS = re.compile(r"\s*[,;|/+&]\s*|\s+and\s+")  # what may stand between several labels in a cell


@dataclass(frozen=True)
class CsvFile:
    """All cells of a CSV file, as text without white space around it.

    Attributes:
        path: the file.
        columns: the cells of each column, N each; blank where a row is too short.
        rows: N numbers of the rows, the header being row 1; blank rows count and are left out.
        lines: number of lines of the file.
        broken_cells: number of cells that hold line breaks.
        doubled: names that several columns have.
    """

    path: Path
    columns: dict[str, list[str]]
    rows: list[int]
    lines: int
    broken_cells: int
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
        if not self.rows:
            raise DataError(
                f"{self.path} has no rows below its header; add one row for each image."
            )
        if name not in self.columns:
            raise DataError(
                f"{self.path} has no column {name} (it has {join_first(self.columns)}); name "
                f"another with {flag}."
            )
        return self.columns[name]


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
    first = io.StringIO(text, newline="").readline()
    told = re.fullmatch('"?sep=(.)"?', first.strip())  # Excel's word for the separator
    separator = told[1] if told else _separator(first, wanted)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    records: list[tuple[int, int, list[str]]] = []  # number, first line and cells of each row
    line = 0
    try:
        for number, row in enumerate(reader, start=1):
            records.append((number, line + 1, [cell.strip() for cell in row]))
            line = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{path} is not a CSV file: the quotes of the row that begins in line {line + 1} do "
            f"not match ({error}, line {reader.line_num}); a cell that begins with a quote ends "
            f"with one, and quotes inside it are doubled."
        ) from error
    records = records[told is not None :]
    header = records[0][2] if records else []
    if not any(header):
        raise DataError(f"{path} is empty; its first line must name the columns.")
    records = [record for record in records[1:] if any(record[2])]
    too_long = [str(number) for number, _, row in records if any(row[len(header) :])]
    if too_long:
        raise DataError(
            f"{path} has rows with more cells than its header (row {join_first(too_long)}); quote "
            f"cells that contain commas."
        )
    cells = [
        [row[column] if column < len(row) else "" for *_, row in records]
        for column in range(len(header))
    ]
    broken = [
        (begin, cell) for _, begin, row in records for cell in row if "\n" in cell or "\r" in cell
    ]
    if broken:
        _refuse_swallowed_rows(path, cells, broken, separator)
    doubled = frozenset(name for name in header if header.count(name) > 1 and name)
    numbers = [number for number, *_ in records]
    columns = dict(zip(header, cells, strict=True))
    return CsvFile(path, columns, numbers, line, len(broken), doubled)


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
    path: Path, cells: Sequence[Sequence[str]], broken: Sequence[tuple[int, str]], separator: str
) -> None:
    """Refuse cells with line breaks that hold what looks like rows: a quote is not closed."""
    known = [set(column) for column in cells]
    suffixes = [{PurePath(cell).suffix for cell in column} - {""} for column in cells]

    def is_row(line: str) -> bool:
        found = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        return len(found) == len(cells) and any(
            bool(cell) and (cell in there or PurePath(cell).suffix in endings)
            for cell, there, endings in zip(map(str.strip, found), known, suffixes, strict=True)
        )

    for begin, cell in broken:
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


def check_rows(
    names: Sequence[str], labels: Sequence[str], numbers: Sequence[int]
) -> tuple[list[int], tuple[Finding, ...]]:
    """Sort out the rows that can be used.

    Args:
        names: N image names.
        labels: the label of each.
        numbers: the number of each row in its file.

    Returns:
        The first row of each image name that can be used, and what is wrong with the others and
        with the labels.
    """
    found: dict[str, list[int]] = {kind: [] for kind in ROW_KINDS}
    first: dict[str, int] = {}
    several: dict[str, set[str]] = {}  # all labels of a name that has more than one
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
        if not name:
            found["blank-name"].append(row)
        elif leads_outside(name):
            found["outside"].append(row)
        elif not label:
            found["blank-label"].append(row)
        elif name not in first:
            first[name] = row
        elif label == labels[first[name]] or label in several.get(name, ()):
            found["repeated-row"].append(row)
        else:
            several.setdefault(name, {labels[first[name]]}).add(label)
    kept = list(first.values())
    classes = Counter(labels[row] for row in kept)
    found["unknown-label"] = [row for row in kept if labels[row].casefold() in PLACEHOLDERS]
    rows_of: dict[str, list[int]] = {name: [] for name in several}
    for row, name in enumerate(names):
        if name in several and labels[row]:
            rows_of[name].append(row)
    contradictions = [
        (
            name,
            f"row {', '.join(str(numbers[row]) for row in rows)}: "
            f"{', '.join(dict.fromkeys(labels[row] for row in rows))}",
        )
        for name, rows in rows_of.items()
    ]
    findings = [
        Finding.of_files(
            kind,
            severity,
            f"{len(found[kind])} row{'s' * (len(found[kind]) != 1)} of the CSV {what}.",
            advice,
            [(names[row], f"row {numbers[row]}") for row in found[kind]],
        )
        for kind, (severity, what, advice) in ROW_KINDS.items()
    ]
    findings += [
        Finding.of_files(
            "contradicting-rows",
            "serious",
            f"{len(several)} image names have several labels.",
            "Keep the row with the right label.",
            contradictions,
        ),
        _several_labels(list(classes)),
        check_spelling(classes),
    ]
    return kept, tuple(finding for finding in findings if finding.count)


def _several_labels(classes: Sequence[str]) -> Finding:
    """Find labels that list others, as where an image may have several."""
    lists = [
        label for label in classes if sum(part in classes for part in set(LISTS.split(label))) > 1
    ]
    return Finding(
        "several-labels",
        "serious",
        f"{len(lists)} of {len(classes)} labels list several others, such as {join_first(lists)}.",
        "An image has one label here: choose one, or make a class of each combination under a "
        "name of its own.",
        len(lists),
        details=tuple(lists),
    )


def check_spelling(classes: Mapping[str, int]) -> Finding:
    """Find labels that differ in nothing that matters: case, spaces, Unicode form, 1 and 1.0."""
    by_sense: dict[str, list[str]] = defaultdict(list)
    for label in classes:
        by_sense[_sense(label)].append(label)
    details = tuple(
        " / ".join(f"{told_apart(one, every)} ({classes[one]})" for one in every)
        for every in by_sense.values()
        if len(every) > 1
    )
    return Finding(
        "similar-labels",
        "warning",
        f"{len(details)} {'class is' if len(details) == 1 else 'classes are'} spelt in several "
        f"ways, each of which is a class of its own: "
        f"{join_first(details)}.",
        "Write them alike if they mean the same.",
        len(details),
        details=details,
    )


def _sense(label: str) -> str:
    """What a label means to a person."""
    try:
        return f"number {float(label):.17g}"
    except ValueError:
        return " ".join(re.sub("[_-]", " ", _look(label).casefold()).split())


def _look(label: str) -> str:
    """What a label looks like: without invisible letters, further spaces and forms of letters."""
    letters = unicodedata.normalize("NFKC", label)
    return " ".join("".join(c for c in letters if unicodedata.category(c) != "Cf").split())


def told_apart(label: str, others: Sequence[str]) -> str:
    """Return a label as it is printed, spelt out where another one would look the same."""
    looks_same = any(other != label and _look(other) == _look(label) for other in others)
    return ascii(label) if looks_same else label


def check_classes(classes: dict[str, int]) -> list[Finding]:
    """Find classes that are too few, too rare or out of balance.

    Args:
        classes: number of images of each, the largest first.
    """
    if len(classes) < 2:
        what = f"All rows have the label {next(iter(classes), '')!r}."
        advice = "A classifier needs images of at least two classes."
        return [Finding("one-class", "serious", what, advice, 1)]
    rare = {label: count for label, count in classes.items() if count < FEWEST_IMAGES}
    (largest, most), *_, (smallest, fewest) = classes.items()
    return [
        Finding(
            "rare-class",
            "warning",
            f"{len(rare)} of {len(classes)} classes have fewer than {FEWEST_IMAGES} images: "
            f"{join_first(f'{label} ({count})' for label, count in rare.items())}.",
            "Add images of these classes, or join them with others.",
            len(rare),
        ),
        Finding(
            "imbalance",
            "warning" if most >= STRONG_IMBALANCE * fewest else "note",
            f"The class {largest} has {most} images, {smallest} has {fewest}.",
            "Look at the recall of each class, and try --class-weights.",
            int(most >= IMBALANCE * fewest),
        ),
    ]
