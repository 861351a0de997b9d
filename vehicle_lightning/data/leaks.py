"""Leaks: whether anything about a file but its picture gives the label away.

A shallow decision tree tries to tell the label from one property of the files alone, or naive Bayes
from the letters of their names, and is measured by cross-validation. The test asks how well it
would do by luck, on shuffled labels.

Sources:
    Ojala and Garriga (2010), Permutation tests for studying classifier performance.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.base import ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import BernoulliNB
from sklearn.tree import DecisionTreeClassifier

from vehicle_lightning.data.facts import Facts
from vehicle_lightning.data.findings import Finding

MOST_IMAGES = 4000  # a sample of so many tells a leak
PERMUTATIONS = 99
FEW_PERMUTATIONS = 19  # are enough where luck does as well twice, or is so far away:
FAR = 5.0  # standard deviations
MOST_LETTERS = 4  # of the parts of names that are compared
MOST_PARTS = 2000
SIGNIFICANCE = 0.05
LEAST_AUC = 0.60  # below, a leak may be real but matters little
SERIOUS_AUC = 0.75
SERIOUS_SIGNIFICANCE = 0.005  # so that chance seldom accuses sound data
FEWEST_IMAGES = 20  # of a class; fewer tell too little
FOLDS = 5


def check_leaks(
    names: Sequence[str],
    labels: Sequence[str],
    facts: Facts,
    groups: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[Finding]:
    """Find properties of the files that tell the label.

    Args:
        names: N file names, in the order of the CSV.
        labels: the label of each.
        facts: records of type `FACTS` of shape (N,), what is known of each file.
        groups: int64 of shape (N,); pictures of one group show the same. Only the first is taken,
            so that none tells the label of another.
        seed: of the sample, the folds and the permutations.
    """
    rng = np.random.default_rng(seed)
    rows = sample_of(groups, seed)
    codes = np.unique([labels[row] for row in rows.tolist()], return_inverse=True)[1]
    frequent = np.bincount(codes) >= FEWEST_IMAGES
    if frequent.sum() < 2:
        return []
    rows, codes = rows[frequent[codes]], np.unique(codes[frequent[codes]], return_inverse=True)[1]
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    folds = list(splitter.split(rows, codes))
    findings = []
    rest = without_class_folders(
        [names[row] for row in rows.tolist()], [labels[row] for row in rows.tolist()]
    )
    properties = _properties(rest, rows, facts[rows])
    for title, values in properties.items():
        auc, p_value = _predictability(values, codes, folds, rng)
        p_value = min(1.0, p_value * len(properties))
        if auc >= LEAST_AUC and p_value < SIGNIFICANCE:
            findings.append(
                Finding(
                    kind="leak",
                    severity="serious"
                    if auc >= SERIOUS_AUC and p_value < SERIOUS_SIGNIFICANCE
                    else "warning",
                    what=f"From the {title} alone the label is told with an AUC of {auc:.2f}, 0.5 "
                    f"being chance (p {_in_words(p_value)}, corrected for {len(properties)} "
                    f"tries).",
                    advice=f"Never feed it to a model, and find out whether the pictures differ in "
                    f"some way that follows the {title}.",
                    count=1,
                    details=(title,),
                )
            )
    return findings


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


def sample_of(groups: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Return the rows that are tested: of each group the first, and of many groups a sample."""
    distinct = np.unique(groups, return_index=True)[1]
    return np.sort(np.random.default_rng(seed).permutation(distinct)[:MOST_IMAGES])


Values = Any  # float64 of shape (N, 1), or a sparse matrix of shape (N, parts of names)


def _properties(names: Sequence[str], order: NDArray[np.int64], facts: Facts) -> dict[str, Values]:
    """Return what each property says of N files."""
    width, height, size = (facts[column] for column in ("width", "height", "bytes"))
    numbers = [_numbers(name) for name in names]
    columns = {
        "number in the file name": [every[-1] for every in numbers],
        "first number in the file name": [every[0] for every in numbers],
        "oddness of the number in the file name": [every[-1] % 2 for every in numbers],
        "length of the file name": [len(name) for name in names],
        "order of the rows": order,
        "file size": size,
        "width of the image": width,
        "height of the image": height,
        "shape of the image": width / np.maximum(height, 1),
        "file date": facts["modified"],
        "compression of the file": facts["quantization"],
        "bytes a pixel": size / np.maximum(width * height, 1),
    }
    properties: dict[str, Values] = {}
    for title, values in columns.items():
        column = np.array(values, dtype=np.float64).reshape(-1, 1)
        is_new = not any(np.array_equal(column, other) for other in properties.values())
        if is_new and len(np.unique(column)) > 1:
            properties[title] = column
    return properties | {"letters of the file name": _letters(names)}


def _numbers(name: str) -> list[float]:
    return [float(number[:15]) for number in re.findall(r"\d+", name)] or [-1.0]


def _letters(names: Sequence[str]) -> Values:
    """Which parts of up to four letters are in each name; its beginning and end are parts too."""
    parts = CountVectorizer(
        analyzer="char",
        ngram_range=(1, MOST_LETTERS),
        lowercase=False,
        binary=True,
        max_features=MOST_PARTS,
    )
    return parts.fit_transform([f"\n{name}\n" for name in names])


Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


def _predictability(
    values: Values, codes: NDArray[np.int64], folds: Folds, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the cross-validated AUC and its p-value."""
    auc = _auc(values, codes, folds)
    if auc < LEAST_AUC:
        return auc, 1.0
    by_luck: list[float] = []
    for enough in (FEW_PERMUTATIONS, PERMUTATIONS):
        while len(by_luck) < enough:
            by_luck.append(_auc(values, rng.permutation(codes), folds))
        z = (auc - float(np.mean(by_luck))) / max(float(np.std(by_luck)), 1e-9)
        as_good = sum(luck >= auc for luck in by_luck)
        if z > FAR or as_good > 1:
            break
    # Where no permutation comes near, the p-value is that of the normal curve through them.
    return auc, float(ndtr(-z)) if as_good == 0 else (1 + as_good) / (1 + len(by_luck))


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


def _in_words(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"
