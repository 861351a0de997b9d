"""Findings: what the check has to say, each with its severity, its files and what to do."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import TypeAdapter

Severity = Literal["serious", "warning", "note"]
Groups = Sequence[tuple[tuple[str, ...], str]]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")
# What each means stands in docs/data.md; a kind keeps its name, later versions may add some.
KINDS = (
    *("blank-name", "blank-label", "unknown-label", "similar-labels", "several-labels", "outside"),
    *("contradicting-rows", "repeated-row", "one-class", "rare-class", "imbalance"),
    *("unusable-file", "blank-image", "tiny-image", "huge-image", "odd-shape", "grey-image"),
    *("deep-image", "transparent-image", "rotated-image", "many-frames", "unlisted-file"),
    *("contradicting-duplicates", "exact-duplicates", "near-duplicates", "mirrored-duplicates"),
    *("straddling-duplicates", "cut-group", "scene", "label-error", "leak"),
)


@dataclass(frozen=True)
class Finding:
    """One kind of fault and all files that have it.

    Attributes:
        kind: one of `KINDS`, such as `near-duplicates`.
        severity: "serious" where figures or the training itself would be wrong, "warning" where
            they might be, "note" where it is good to know.
        what: one sentence, with the numbers.
        advice: one sentence, what to do.
        count: number of files, rows or groups concerned; 0 where nothing was found.
        groups: the files by name; those that belong together in one group, single ones alone.
        details: one text for each group, or none.
    """

    kind: str
    severity: Severity
    what: str
    advice: str
    count: int
    groups: tuple[tuple[str, ...], ...] = ()
    details: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind} is missing in KINDS and in docs/data.md.")

    @classmethod
    def of_files(
        cls, kind: str, severity: Severity, what: str, advice: str, files: Sequence[tuple[str, str]]
    ) -> "Finding":
        """Return the finding about single files, a name and a detail each."""
        return cls.of_groups(kind, severity, what, advice, [((name,), d) for name, d in files])

    @classmethod
    def of_groups(
        cls, kind: str, severity: Severity, what: str, advice: str, groups: Groups
    ) -> "Finding":
        """Return the finding about groups of files, names and a detail each."""
        names = tuple(names for names, _ in groups)
        details = tuple(detail for _, detail in groups)
        return cls(kind, severity, what, advice, len(names), names, details * any(details))

    @property
    def files(self) -> list[str]:
        """All files by name."""
        return [name for group in self.groups for name in group]


@dataclass(frozen=True)
class Report:
    """All findings of one check, the most serious first.

    Attributes:
        csv: the CSV file that was checked.
        images: number of images that its rows name.
        classes: number of rows of each class.
        findings: what was found.
    """

    csv: str
    images: int
    classes: dict[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def is_serious(self) -> bool:
        """Whether any finding is serious."""
        return any(finding.severity == "serious" for finding in self.findings)

    def to_json(self) -> str:
        """Return the content of `findings.json`.

        docs/data.md has its keys. Bytes of a file name that are not UTF-8 are spelt out: as JSON's
        own escapes they would be lone surrogates, which many parsers refuse.
        """
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        return re.sub("[\ud800-\udfff]", lambda found: rf"\\u{ord(found[0]):x}", text)


def read_report(text: str) -> Report:
    """Return the report that `Report.to_json` wrote.

    Raises:
        ValueError: it is none.
    """
    return TypeAdapter(Report).validate_json(text)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings that concern anything, the most serious first."""
    found = [finding for finding in findings if finding.count]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
