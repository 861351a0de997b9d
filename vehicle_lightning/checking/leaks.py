"""Leaks: whether anything about a file but its picture gives the label away.

A shallow decision tree tries to tell the label from one property of the files alone, and is
measured by cross-validation. The test asks how well it would do by luck, on shuffled labels.

Sources:
    Ojala and Garriga (2010), Permutation tests for studying classifier performance.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from vehicle_lightning.checking.facts import Facts
from vehicle_lightning.checking.findings import Finding

MOST_IMAGES = 4000  # a sample of so many tells a leak
PERMUTATIONS = 99
SIGNIFICANCE = 0.05
LEAST_AUC = 0.60  # below, a leak may be real but matters little
SERIOUS_AUC = 0.75
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
        seed: of the folds, the sample and the permutations.
    """
    rng = np.random.default_rng(seed)
    distinct = np.unique(groups, return_index=True)[1]
    rows = np.sort(rng.permutation(distinct)[:MOST_IMAGES])
    classes, codes = np.unique([labels[row] for row in rows.tolist()], return_inverse=True)
    if len(classes) < 2 or np.bincount(codes).min() < 2 * FOLDS:
        return []
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    folds = list(splitter.split(rows, codes))
    findings = []
    properties = _properties([names[row] for row in rows.tolist()], rows, facts[rows])
    for title, values in properties.items():
        if len(np.unique(values)) < 2:
            continue
        auc, p_value = _predictability(values.reshape(-1, 1), codes, folds, rng)
        p_value = min(1.0, p_value * len(properties))
        if auc >= LEAST_AUC and p_value < SIGNIFICANCE:
            findings.append(
                Finding(
                    kind="leak",
                    severity="serious" if auc >= SERIOUS_AUC else "warning",
                    what=f"The {title} alone tells the label with an AUC of {auc:.2f}, where 0.5 "
                    f"is chance (p {_in_words(p_value)}, corrected for {len(properties)} tries).",
                    advice=f"Never feed it to a model, and find out whether the pictures differ in "
                    f"some way that follows the {title}.",
                    count=1,
                    details=(title,),
                )
            )
    return findings


def _properties(
    names: Sequence[str], order: NDArray[np.int64], facts: Facts
) -> dict[str, NDArray[np.float64]]:
    width, height, size = (facts[column] for column in ("width", "height", "bytes"))
    columns = {
        "number in the file name": [_number(name) for name in names],
        "length of the file name": [len(name) for name in names],
        "kind of the file name": [_kind(name) for name in names],
        "order of the rows": order,
        "file size": size,
        "width of the image": width,
        "height of the image": height,
        "shape of the image": width / np.maximum(height, 1),
        "file date": facts["modified"],
        "compression of the file": facts["quantization"],
        "bytes a pixel": size / np.maximum(width * height, 1),
    }
    return {title: np.array(values, dtype=np.float64) for title, values in columns.items()}


def _number(name: str) -> float:
    numbers = re.findall(r"\d+", name)
    return float(numbers[-1][:15]) if numbers else -1.0


def _kind(name: str) -> float:
    """Number that is equal for names that differ in their digits alone."""
    shape = re.sub(r"\d+", "0", name)
    return float(int.from_bytes(shape.encode()[:6].ljust(6), "big"))


Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


def _predictability(
    values: NDArray[np.float64], codes: NDArray[np.int64], folds: Folds, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the cross-validated AUC and its p-value."""
    auc = _auc(values, codes, folds)
    if auc < LEAST_AUC:
        return auc, 1.0
    by_luck = [_auc(values, rng.permutation(codes), folds) for _ in range(PERMUTATIONS)]
    at_least = (1 + sum(luck >= auc for luck in by_luck)) / (1 + PERMUTATIONS)
    if at_least > 1 / (1 + PERMUTATIONS):
        return auc, at_least
    # Where no permutation comes near, the p-value is that of the normal curve through them.
    z = (auc - float(np.mean(by_luck))) / max(float(np.std(by_luck)), 1e-9)
    return auc, float(ndtr(-z))


def _auc(values: NDArray[np.float64], codes: NDArray[np.int64], folds: Folds) -> float:
    smallest_leaf = max(5, len(codes) // 100)
    tree = DecisionTreeClassifier(max_leaf_nodes=8, min_samples_leaf=smallest_leaf, random_state=0)
    shares = cross_val_predict(tree, values, codes, cv=folds, method="predict_proba")
    if shares.shape[1] == 2:
        return float(roc_auc_score(codes, shares[:, 1]))
    return float(roc_auc_score(codes, shares, multi_class="ovr"))


def _in_words(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"
