"""The rows of the CSV: blanks, repetitions, contradictions, classes out of balance."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.findings import Finding, Severity
from vehicle_lightning.data.safe_path import leads_outside
from vehicle_lightning.data.table import read_columns, shortened

IMBALANCE = 3.0  # times as many images of the largest class as of the smallest: a note
STRONG_IMBALANCE = 10.0  # a warning
FEWEST_IMAGES = 20  # of a class
PLACEHOLDERS = (
    *("-", "?", "unknown", "undefined", "missing", "none", "null", "nil", "nan", "na", "n/a"),
    *("#n/a", "tbd", "todo"),
)


@dataclass(frozen=True)
class Rows:
    """What can be used of a CSV.

    Attributes:
        names: each image name once, in the order of the rows.
        labels: the label of each; of contradicting ones the first.
        left_out: the image names of rows without a label.
        findings: what is wrong with the rows.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def classes(self) -> dict[str, int]:
        """Number of images of each class, the largest class first."""
        counts = pd.Series(self.labels, dtype=object).value_counts()
        return {str(label): int(count) for label, count in counts.items()}


def check_rows(csv: Path, settings: SourceSettings) -> Rows:
    """Read a CSV and find what is wrong with its rows; they are counted with the header as row 1.

    Raises:
        DataError: the CSV or one of its columns cannot be read, or it has no rows.
    """
    names, labels = read_columns(csv, settings)
    table = pd.DataFrame({"name": names, "label": labels, "row": names.index + 2})
    blank_name, blank_label = table["name"] == "", table["label"] == ""
    outside = leads_outside(table["name"])
    usable = table[~(blank_name | blank_label | outside)]
    distinct = usable.drop_duplicates(["name", "label"])
    contradicting = distinct[distinct.duplicated("name", keep=False)]
    repeated = usable[usable.duplicated(["name", "label"])]
    kept = distinct.drop_duplicates("name")
    left_out = tuple(table["name"][blank_label & ~blank_name & ~outside])
    rows = Rows(tuple(kept["name"]), tuple(kept["label"]), left_out, ())
    findings = [
        *_rows("blank-name", "serious", table[blank_name], "name no image", "delete the rows"),
        *_rows("blank-label", "serious", table[blank_label], "have no label", "label them"),
        *_rows(
            "unknown-label",
            "warning",
            usable[usable["label"].str.lower().isin(PLACEHOLDERS)],
            "have a label that says it is not known, and is taken for a class of its own",
            "label them or delete them",
        ),
        *_rows(
            "outside",
            "serious",
            table[outside],
            "name a file outside of the image folder",
            "use names relative to the image folder",
        ),
        *_contradictions(contradicting),
        *_rows("repeated-row", "note", repeated, "say the same as an earlier one", "delete them"),
        *_classes(rows.classes),
    ]
    return replace(rows, findings=tuple(findings))


def _rows(
    kind: str, severity: Severity, rows: pd.DataFrame, what: str, advice: str
) -> list[Finding]:
    return Finding.of_files(
        kind,
        severity,
        f"{len(rows)} row{'s' * (len(rows) != 1)} of the CSV {what}.",
        f"{advice.capitalize()}.",
        [(name, f"row {row}") for name, row in zip(rows["name"], rows["row"], strict=True)],
    )


def _contradictions(rows: pd.DataFrame) -> list[Finding]:
    by_name = rows.groupby("name", sort=False)["label"].agg(", ".join)
    return Finding.of_files(
        "contradicting-rows",
        "serious",
        f"{len(by_name)} image names have several labels.",
        "Keep the row with the right label.",
        [(str(name), labels) for name, labels in by_name.items()],
    )


def _classes(classes: dict[str, int]) -> list[Finding]:
    if len(classes) < 2:
        return [
            Finding(
                kind="one-class",
                severity="serious",
                what=f"All rows have the label {next(iter(classes), '')!r}.",
                advice="A classifier needs images of at least two classes.",
                count=len(classes),
            )
        ]
    findings = []
    rare = {label: count for label, count in classes.items() if count < FEWEST_IMAGES}
    if rare:
        findings.append(
            Finding(
                kind="rare-class",
                severity="warning",
                what=f"{len(rare)} of {len(classes)} classes have fewer than {FEWEST_IMAGES} "
                f"images: " + shortened(f"{label} ({n})" for label, n in rare.items()) + ".",
                advice="Add images of these classes, or join them with others.",
                count=len(rare),
            )
        )
    (largest, most), *_, (smallest, fewest) = classes.items()
    if most >= IMBALANCE * fewest:
        findings.append(
            Finding(
                kind="imbalance",
                severity="warning" if most >= STRONG_IMBALANCE * fewest else "note",
                what=f"The class {largest} has {most} images, {smallest} has {fewest}.",
                advice="Look at the recall of each class, and try --class-weights.",
                count=1,
            )
        )
    return findings
