"""Pooling: what the fold runs of a run over several folds or seeds come to together."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import numpy as np
import pandas as pd

from vehicle_lightning.config import Settings
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.predictions import measure, read_predictions
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Status, Summary
from vehicle_lightning.runs.verdict import agreed

# Of these curves a run over several folds or seeds shows the spread.
SPREAD_CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


@dataclass(frozen=True)
class Result:
    """A finished fold run: its figures, its curves, and its predictions of "val" and "test"."""

    settings: Settings
    summary: Summary
    history: pd.DataFrame
    predictions: Mapping[str, pd.DataFrame]

    @classmethod
    def read(cls, folder: RunFolder, settings: Settings, summary: Summary) -> "Result":
        """Read what lies in the folder of a fold run."""
        predictions = {"val": read_predictions(folder.predictions)}
        if summary.test is not None:
            predictions["test"] = read_predictions(folder.test_predictions)
        return cls(settings, summary, pd.read_csv(folder.metrics), predictions)


@dataclass(frozen=True)
class PooledSummary(Summary):
    """The figures of all fold runs together; `summary.json` has the keys of a single run and more.

    `val` counts every image once: its accuracy is the mean over the fold runs that validated it.
    So does `test`, over all fold runs: each network is measured on the same test images. `train` is
    the mean over the fold runs, its interval that of as many images as there are. Best epoch and
    epochs are medians, seconds the sum, and the verdict the most frequent one.

    Attributes:
        fold_runs: number of trainings asked for.
        finished: number of those that have been measured.
        trained_epochs: epochs of all of them together.
        seed_accuracies: seed -> its validation accuracy, of the seeds that finished all folds.
        fold_accuracies: fold -> its validation accuracy, as the mean over the seeds; empty where
            the same images validated in all fold runs.
    """

    fold_runs: int
    finished: int
    trained_epochs: int
    seed_accuracies: dict[int, float]
    fold_accuracies: dict[int, float]

    @property
    def seconds_per_epoch(self) -> float:
        """How long an epoch took, on average over all trainings."""
        return self.seconds / self.trained_epochs

    @property
    def speed(self) -> str:
        """Time and size in words."""
        return f"{self.seconds / 60:.1f} min in all, {super().speed}"

    @property
    def spread(self) -> str:
        """How much the seeds differ."""
        if len(self.seed_accuracies) > 1:
            return _spread(self.seed_accuracies)
        return "one seed; how far another would be off is shown by --seeds 3"

    def __str__(self) -> str:
        lines = [f"pooled  {self.finished} of {self.fold_runs} trainings"]
        if len(self.fold_accuracies) > 1:
            lines.append(f"folds   {_spread(self.fold_accuracies)}")
        return "\n".join([*lines, super().__str__()])


def pool(results: Sequence[Result], every: Collection[Settings], status: Status) -> PooledSummary:
    """Sum up the finished fold runs.

    Args:
        results: at least one.
        every: the settings of all fold runs that are asked for.
        status: whether all of them went to their end, and if not, why.
    """
    summaries = [result.summary for result in results]
    predictions = pool_predictions(results, "val")
    right = predictions["label"] == predictions["prediction"]
    by_seed, by_fold = (right.groupby(predictions[key]).mean() for key in ("seed", "fold"))
    asked, done = (Counter(m.seed for m in of) for of in (every, [r.settings for r in results]))
    # The fold runs of one seed train on overlapping images: as many as there are, and no more.
    trained = [summary.train for summary in summaries]
    n, independent = max(one.n for one in trained), max(one.independent for one in trained)
    accuracy, loss = fmean(one.accuracy for one in trained), fmean(one.loss for one in trained)
    test = None
    if all("test" in result.predictions for result in results):
        test = measure(pool_predictions(results, "test"))
    labels = predictions.drop_duplicates("file")["label"]
    return PooledSummary(
        train=Measurement.of(accuracy, n, loss, independent=independent),
        val=measure(predictions),
        test=test,
        most_frequent_class=float(labels.value_counts(normalize=True).max()),
        best_epoch=round(median(summary.best_epoch for summary in summaries)),
        epochs=round(median(summary.epochs for summary in summaries)),
        seconds=sum(summary.seconds for summary in summaries),
        parameters=summaries[0].parameters,
        verdict=agreed([summary.verdict for summary in summaries]),
        status=status,
        fold_runs=len(every),
        finished=len(results),
        trained_epochs=sum(summary.epochs for summary in summaries),
        seed_accuracies={s: float(by_seed[s]) for s in done if done[s] == asked[s]},
        fold_accuracies={fold: float(by_fold[fold]) for fold in by_fold.index.tolist()},
    )


def pool_predictions(results: Sequence[Result], split: str) -> pd.DataFrame:
    """Return the predictions of "val" or "test" of all fold runs, worst first, with `seed`, `fold`.

    Over all folds of a seed every image that is not in the test is validated once, by a network
    that was not trained on it; a test image is predicted by all networks.
    """
    frames = [
        result.predictions[split].assign(seed=result.settings.seed, fold=result.settings.fold)
        for result in results
    ]
    pooled = pd.concat(frames).astype({"fold": "Int64"})
    pooled = pooled[["seed", "fold", *pooled.columns.drop(["seed", "fold"])]]
    return pooled.sort_values("loss", ascending=False, kind="stable", ignore_index=True)


def pool_curves(results: Sequence[Result]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean of the fold runs' curves, and the range of their losses and accuracies.

    One row an epoch: all columns of a single run, and `<split>/spread/<curve>_lowest` and
    `_highest`. One that patience ended earlier goes on with its last figures, so that every epoch
    is told of all of them. A figure that is not a number in one fold run is none in the mean.
    """
    columns = results[0].history.columns
    histories = [result.history[columns].to_numpy(dtype=np.float64) for result in results]
    epochs = np.arange(max(map(len, histories)))
    values = np.stack([history[np.minimum(epochs, len(history) - 1)] for history in histories])
    mean = pd.DataFrame(values.mean(axis=0), columns=columns).assign(epoch=epochs + 1)
    spread = {}
    for name in SPREAD_CURVES:
        split, _, curve = name.partition("/")
        of_curve = values[:, :, columns.get_loc(name)]
        spread[f"{split}/spread/{curve}_lowest"] = of_curve.min(axis=0)
        spread[f"{split}/spread/{curve}_highest"] = of_curve.max(axis=0)
    return mean, pd.DataFrame(spread)


def _spread(accuracies: dict[int, float]) -> str:
    shares = [100 * share for share in accuracies.values()]
    return (
        f"{min(shares):.1f} to {max(shares):.1f} %, mean {fmean(shares):.1f}, "
        f"standard deviation {stdev(shares):.1f} (n={len(shares)})"
    )
