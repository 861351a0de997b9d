"""What is wrong with the rows of a table: blanks, repetitions, contradictions, odd labels."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.data.findings import Finding, Severity
from vehicle_lightning.data.paths import leads_outside
from vehicle_lightning.errors import join_first

IMBALANCE = 3.0  # times as many images of the largest class as of the smallest: a note
STRONG_IMBALANCE = 10.0  # a warning
FEWEST_IMAGES = 20  # of a class
PLACEHOLDERS = (
    *("-", "?", "unknown", "undefined", "missing", "none", "null", "nil", "nan", "na", "n/a"),
    *("#n/a", "tbd", "todo"),
)
LISTS = re.compile(r"\s*[,;|/+&]\s*|\s+and\s+")  # what may stand between several labels in a cell


@dataclass(frozen=True)
class SoundRows:
    """What can be used of the rows of a table.

    Attributes:
        kept: int64 of shape (K,), the first row of each image name that can be used.
        findings: what is wrong with the others, and with the labels.
    """

    kept: NDArray[np.int64]
    findings: tuple[Finding, ...]


def check_rows(names: Sequence[str], labels: Sequence[str], numbers: Sequence[int]) -> SoundRows:
    """Sort out the rows that can be used.

    Args:
        names: N image names.
        labels: the label of each.
        numbers: the number of each row in its file.
    """
    found: dict[str, list[int]] = defaultdict(list)
    first: dict[str, int] = {}
    others: dict[str, dict[str, None]] = {}  # all labels of a name that has several, in order
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
        if not name:
            found["blank-name"].append(row)
        elif leads_outside(name):
            found["outside"].append(row)
        elif not label:
            found["blank-label"].append(row)
        elif name not in first:
            first[name] = row
        elif label == labels[first[name]] or label in others.get(name, ()):
            found["repeated-row"].append(row)
        else:
            others.setdefault(name, {labels[first[name]]: None})[label] = None
    kept = np.array(list(first.values()), dtype=np.int64)
    classes = Counter(labels[row] for row in kept.tolist())
    unknown = {label for label in classes if label.casefold() in PLACEHOLDERS}
    found["unknown-label"] = [row for row in kept.tolist() if labels[row] in unknown]

    def rows(kind: str, severity: Severity, what: str, advice: str) -> list[Finding]:
        return Finding.of_files(
            kind,
            severity,
            f"{len(found[kind])} row{'s' * (len(found[kind]) != 1)} of the CSV {what}.",
            advice,
            [(names[row], f"row {numbers[row]}") for row in found[kind]],
        )

    return SoundRows(
        kept,
        (
            *rows("blank-name", "serious", "without an image name", "Delete the rows."),
            *rows("blank-label", "serious", "without a label", "Label them or delete them."),
            *rows(
                "unknown-label",
                "warning",
                "with a label that says it is not known, taken for a class of its own",
                "Label them or delete them.",
            ),
            *rows(
                "outside",
                "serious",
                "with a name that leads out of the image folder",
                "Use names relative to the image folder.",
            ),
            *_contradicting(others, names, labels, numbers),
            *rows("repeated-row", "note", "say the same as an earlier one", "Delete them."),
            *_several_labels(list(classes)),
            *_similar_labels(classes),
        ),
    )


def _contradicting(
    others: dict[str, dict[str, None]],
    names: Sequence[str],
    labels: Sequence[str],
    numbers: Sequence[int],
) -> list[Finding]:
    where: dict[str, list[str]] = defaultdict(list)
    if others:
        for name, label, number in zip(names, labels, numbers, strict=True):
            if name in others and label:
                where[name].append(str(number))
    return Finding.of_files(
        "contradicting-rows",
        "serious",
        f"{len(others)} image names have several labels.",
        "Keep the row with the right label.",
        [
            (name, f"row {', '.join(where[name])}: {', '.join(every)}")
            for name, every in others.items()
        ],
    )


def _several_labels(classes: Sequence[str]) -> list[Finding]:
    """Find labels that list others, as where an image may have several."""
    known = set(classes)
    lists = [
        label
        for label in classes
        if len(parts := LISTS.split(label)) > 1 and len(known.intersection(parts)) > 1
    ]
    if not lists:
        return []
    return [
        Finding(
            kind="several-labels",
            severity="serious",
            what=f"{len(lists)} of {len(classes)} labels list several others, such as {lists[0]}.",
            advice="An image has one label here: choose one, or make a class of each combination "
            "under a name of its own.",
            count=len(lists),
            details=tuple(lists),
        )
    ]


def _similar_labels(classes: Counter[str]) -> list[Finding]:
    """Find labels that differ in nothing that matters: case, spaces, Unicode form, 1 and 1.0."""
    by_sense: dict[str, list[str]] = defaultdict(list)
    for label in classes:
        by_sense[_sense(label)].append(label)
    same = [spellings for spellings in by_sense.values() if len(spellings) > 1]
    if not same:
        return []
    details = tuple(
        " / ".join(f"{told_apart(one, every)} ({classes[one]})" for one in every) for every in same
    )
    return [
        Finding(
            kind="similar-labels",
            severity="warning",
            what=f"{len(same)} classes are spelt in several ways, each of which is a class of its "
            f"own: {join_first(details)}.",
            advice="Write them alike if they mean the same.",
            count=len(same),
            details=details,
        )
    ]


def _sense(label: str) -> str:
    """What a label means to a person."""
    try:
        return f"number {float(label):.17g}"
    except ValueError:
        letters = unicodedata.normalize("NFKC", label).casefold()
        shown = (" " if c in "_-" else c for c in letters if unicodedata.category(c) != "Cf")
        return " ".join("".join(shown).split())


def told_apart(label: str, others: Sequence[str]) -> str:
    """Return a label as it is printed, spelt out where another one would look the same."""

    def look(text: str) -> str:
        letters = unicodedata.normalize("NFKC", text)
        return " ".join("".join(c for c in letters if unicodedata.category(c) != "Cf").split())

    looks_same = any(other != label and look(other) == look(label) for other in others)
    return ascii(label) if looks_same else label


def check_classes(classes: dict[str, int]) -> list[Finding]:
    """Find classes that are too few, too rare or out of balance.

    Args:
        classes: number of images of each, the largest first.
    """
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
                f"images: " + join_first(f"{label} ({n})" for label, n in rare.items()) + ".",
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
