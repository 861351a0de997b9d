"""What every training should know of its data: contradictions, blank pictures, leaks.

A leak is anything about a file but its picture that gives the label away. A shallow decision tree
tries to tell the label from one property of the files alone, or naive Bayes from the letters of
their names, and is measured by cross-validation. The test asks how well it would do by luck, on
shuffled labels.

Sources:
    Ojala and Garriga (2010), Permutation tests for studying classifier performance.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr
from sklearn.base import ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import BernoulliNB
from sklearn.tree import DecisionTreeClassifier

from vehicle_lightning.data.duplicates import Duplicates
from vehicle_lightning.data.facts import FLAT, Facts, no_facts
from vehicle_lightning.data.findings import Finding, Report, Severity, in_order
from vehicle_lightning.data.rows import FEWEST_IMAGES
from vehicle_lightning.data.table import Table

GroupedPictures = Iterable[tuple[Any, pd.DataFrame]]

MANY_BLANK = 0.02  # of all images; from there on blank ones are serious
MOST_IMAGES = 4000  # a sample of so many tells a leak
PERMUTATIONS = 19
MOST_LETTERS = 4  # of the parts of names that are compared
MOST_PARTS = 2000
SIGNIFICANCE = 0.05
LEAST_AUC = 0.60  # below, a leak may be real but matters little
SERIOUS_AUC = 0.75
SERIOUS_SIGNIFICANCE = 0.005  # so that chance seldom accuses sound data
FOLDS = 5
BEGIN_ALIKE = 0.1  # of the numbers that all classes reach, by which they may begin apart
DAY = 86400  # seconds


def serious_findings(table: Table, duplicates: Duplicates, contrast: NDArray[np.float64]) -> Report:
    """Find contradicting duplicates, blank pictures, odd labels, and what tells the label.

    Of the files only names, order, size and date are looked at; `check` looks at all else.

    Args:
        table: N images that can be read.
        duplicates: which of them show the same.
        contrast: float64 of shape (N,), standard deviation of each picture in grey levels.
    """
    groups = duplicates.of_image
    labels = [table.class_names[code] for code in table.labels.tolist()]
    rows = sample_of(groups)
    facts = no_facts(len(rows))
    for position, row in enumerate(rows.tolist()):
        with suppress(OSError):  # it is gone since it was read, as will be said when it is missed
            status = table.paths[row].stat()
            facts[position]["bytes"], facts[position]["modified"] = status.st_size, status.st_mtime
    some = [table.names[row] for row in rows.tolist()], [labels[row] for row in rows.tolist()]
    findings = [
        check_contradictions(
            pd.DataFrame({"name": table.names, "label": labels, "group": duplicates.certain})
        ),
        check_blank(table.names, contrast),
        *(finding for finding in table.findings if finding.kind == "similar-labels"),
        *check_leaks(*some, facts, groups[rows]),
    ]
    told = [f for f in findings if f.severity == "serious" or f.kind == "similar-labels"]
    return Report("", len(table), table.class_counts, in_order(told))


def in_one_line(report: Report) -> str:
    """Name the serious findings in one sentence, or in none where there are none."""
    named = []
    for finding in report.findings:
        if finding.kind == "contradicting-duplicates":
            plural = "s" * (finding.count != 1)
            named.append(f"duplicates of {finding.count} photograph{plural} have different labels")
        elif finding.kind in ("blank-image", "similar-labels"):
            named.append(finding.what[0].lower() + finding.what[1:].rstrip("."))
    leaks = [finding.details[0] for finding in report.findings if finding.kind == "leak"]
    if leaks:
        named.append(
            f"without a look at the pictures, the label can be told from the "
            f"{', the '.join(leaks)}, so that the classes may come from different sources"
        )
    return f"Serious: {'; '.join(named)}." if named else ""


def check_contradictions(pictures: pd.DataFrame) -> Finding:
    """Find duplicates with contradicting labels among pictures of `name`, `label` and `group`."""
    return finding_of_groups(
        "contradicting-duplicates",
        "serious",
        differing(pictures, "label"),
        "show one photograph with different labels",
        "Correct the labels; unless what they tell apart differs, some of each are wrong.",
    )


def differing(pictures: pd.DataFrame, column: str) -> GroupedPictures:
    """Return the groups of pictures within which a column differs, by their number."""
    differs = pictures.groupby("group")[column].transform("nunique") > 1
    return pictures[differs].groupby("group", sort=False)


def finding_of_groups(
    kind: str, severity: Severity, groups: GroupedPictures, what: str, advice: str
) -> Finding:
    """Return the finding about groups of pictures of `name` and `label`."""
    named = [(tuple(rows["name"]), " / ".join(rows["label"])) for _, rows in groups]
    files = sum(len(names) for names, _ in named)
    what = f"{len(named)} groups of images, {files} files, {what}."
    return Finding.of_groups(kind, severity, what, advice, named)


def check_blank(names: Sequence[str], contrast: NDArray[np.float64]) -> Finding:
    """Find pictures that show nothing but one flat grey.

    Args:
        names: N file names.
        contrast: float64 of shape (N,), standard deviation of each picture in grey levels; NaN
            where there is none.
    """
    blank = np.flatnonzero(contrast < FLAT).tolist()
    return Finding.of_files(
        "blank-image",
        "serious" if len(blank) >= MANY_BLANK * len(names) else "warning",
        f"{len(blank)} of {len(names)} pictures are blank.",
        "Nothing can be learnt from them: replace them, or delete their rows.",
        [(names[row], "") for row in blank],
    )


def check_leaks(
    names: Sequence[str],
    labels: Sequence[str],
    facts: Facts,
    groups: NDArray[np.int64],
) -> list[Finding]:
    """Find properties of the files that tell the label.

    Args:
        names: N file names, in the order of the CSV.
        labels: the label of each.
        facts: records of type `FACTS` of shape (N,), what is known of each file.
        groups: int64 of shape (N,); pictures of one group show the same. Only the first is taken,
            so that none tells the label of another.
    """
    rng = np.random.default_rng(0)
    rows = sample_of(groups)
    own = pd.DataFrame({"name": names, "label": labels}).iloc[rows].assign(row=rows)
    own["rest"] = without_class_folders(own["name"].tolist(), own["label"].tolist())
    in_folders = bool((own["rest"] != own["name"]).any())
    own = _frequent(own)
    if in_folders and len(own):
        own = _frequent(own[_shares_numbers(own)])
    codes = np.unique(own["label"], return_inverse=True)[1].astype(np.int64)
    if len(np.unique(codes)) < 2:
        return []
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    folds = list(splitter.split(codes, codes))
    rows = own["row"].to_numpy()
    properties = _properties(own["rest"].tolist(), rows, facts[rows], in_folders=in_folders)
    findings = []
    for title, values in properties.items():
        auc, p_value = _predictability(values, codes, folds, rng)
        p_value = min(1.0, p_value * len(properties))
        if auc < LEAST_AUC or p_value >= SIGNIFICANCE:
            continue
        is_serious = auc >= SERIOUS_AUC and p_value < SERIOUS_SIGNIFICANCE
        shown = "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"
        findings.append(
            Finding(
                "leak",
                "serious" if is_serious else "warning",
                f"From the {title} alone the label is told with an AUC of {auc:.2f}, 0.5 being "
                f"chance (p {shown}, corrected for {len(properties)} tries).",
                f"Never feed it to a model, and find out whether the pictures differ in some way "
                f"that follows the {title}.",
                1,
                details=(title,),
            )
        )
    return findings


def _frequent(own: pd.DataFrame) -> pd.DataFrame:
    return own[own.groupby("label")["name"].transform("size") >= FEWEST_IMAGES]


def _shares_numbers(own: pd.DataFrame) -> NDArray[np.bool_]:
    """Which images have a number that those of all classes reach, where all begin with the same.

    In a folder for each class the files are often counted anew: the larger class has the higher
    numbers, which says nothing about its pictures.
    """
    numbers = pd.Series([_numbers(name)[-1] for name in own["rest"]], index=own.index)
    of_class = numbers.groupby(own["label"])
    lowest, highest = of_class.min(), of_class.max()
    begin_alike = np.ptp(lowest) <= BEGIN_ALIKE * highest.min()
    return np.asarray(numbers <= highest.min()) | (not begin_alike)


def without_class_folders(names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the names without the folder that is called like the label, where all have one.

    It is the usual layout and never part of the picture; what is left of the name is tested.
    """
    parts = [PurePosixPath(name.replace("\\", "/")).parts for name in names]
    depth = min(map(len, parts), default=0) - 1
    for level in range(depth):
        if all(_like(p[level]) == _like(label) for p, label in zip(parts, labels, strict=True)):
            return ["/".join((*p[:level], *p[level + 1 :])) for p in parts]
    return list(names)


def _like(text: str) -> str:
    """A class as folders spell it."""
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


def sample_of(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that are tested: of each group the first, and of many groups a sample."""
    distinct = np.unique(groups, return_index=True)[1]
    return np.sort(np.random.default_rng(0).permutation(distinct)[:MOST_IMAGES])


Values = Any  # float64 of shape (N, 1), or a sparse matrix of shape (N, parts of names)


def _properties(
    names: Sequence[str], order: NDArray[np.int64], facts: Facts, *, in_folders: bool
) -> dict[str, Values]:
    """Return what each property says of N files, which may lie in a folder for each class.

    Such folders are listed, and copied, one after the other: order and date say only that.
    """
    width, height, size, modified = (facts[c] for c in ("width", "height", "bytes", "modified"))
    numbers = [_numbers(name) for name in names]
    columns = {
        "number in the file name": [every[-1] for every in numbers],
        "first number in the file name": [every[0] for every in numbers],
        "odd or even number in the file name": [every[-1] % 2 for every in numbers],
        "length of the file name": [len(name) for name in names],
        "order of the rows": [0] if in_folders else order,
        "file size": size,
        "width of the image": width,
        "height of the image": height,
        "shape of the image": width / np.maximum(height, 1),
        "file date": [0] if in_folders and np.ptp(modified) < DAY else modified,
        "compression of the file": facts["quantization"],
        "bytes a pixel": size / np.maximum(width * height, 1),
    }
    properties: dict[str, Values] = {}
    for title, values in columns.items():
        column = np.resize(values, (len(names), 1)).astype(np.float64)
        is_new = not any(np.array_equal(column, other) for other in properties.values())
        if is_new and len(np.unique(column)) > 1:
            properties[title] = column
    parts = CountVectorizer(
        analyzer="char",
        ngram_range=(1, MOST_LETTERS),  # a name's beginning and end are parts too
        lowercase=False,
        binary=True,
        max_features=MOST_PARTS,
    )
    letters = parts.fit_transform([f"\n{name}\n" for name in names])
    return properties | {"characters of the file name": letters}


def _numbers(name: str) -> list[float]:
    return [float(number[:15]) for number in re.findall(r"\d+", name)] or [-1.0]


Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


def _predictability(
    values: Values, codes: NDArray[np.int64], folds: Folds, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the cross-validated AUC and its p-value."""
    auc = _auc(values, codes, folds)
    if auc < LEAST_AUC:
        return auc, 1.0
    by_luck = [_auc(values, rng.permutation(codes), folds) for _ in range(PERMUTATIONS)]
    spread = max(float(np.std(by_luck, ddof=1)), 1e-9) * (1 + 1 / PERMUTATIONS) ** 0.5
    # How likely one more draw by luck is as good; so few tell a small p-value by their spread.
    return auc, float(stdtr(PERMUTATIONS - 1, -(auc - np.mean(by_luck)) / spread))


def _auc(values: Values, codes: NDArray[np.int64], folds: Folds) -> float:
    classifier: ClassifierMixin = BernoulliNB()
    if isinstance(values, np.ndarray):
        smallest_leaf = max(5, len(codes) // 100)
        classifier = DecisionTreeClassifier(
            max_leaf_nodes=8, min_samples_leaf=smallest_leaf, random_state=0
        )
    shares = np.empty((len(codes), codes.max() + 1))
    for known, unseen in folds:  # cross_val_predict takes as long again for its own checks
        shares[unseen] = classifier.fit(values[known], codes[known]).predict_proba(values[unseen])
    if shares.shape[1] == 2:
        return float(roc_auc_score(codes, shares[:, 1]))
    return float(roc_auc_score(codes, shares, multi_class="ovr"))
