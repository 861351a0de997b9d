"""Trainings that are made up: run folders as `train` writes them, without training anything."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vehicle_lightning.config import Settings
from vehicle_lightning.files import write_csv
from vehicle_lightning.fit.callbacks import PruningCallback
from vehicle_lightning.fit.train import TrainResult
from vehicle_lightning.runs.fold_runs import fold_runs
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.summary import Status, Summary
from vehicle_lightning.runs.verdict import Verdict

IMAGES = 40  # of a fold, and of the test


@dataclass
class MadeTraining:
    """Stands in for `train`; its clock stands still but for the trainings.

    Attributes:
        accuracy: of the settings, in [0, 1], the same in every fold.
        verdict: on the settings.
        seconds: that a training of one fold takes.
        trained: names of the run folders, in the order they were trained in.
        stopped_in: name of the run folder in which a person stops the walk, once.
        now: what its clock says.
        fingerprint: of the data.
    """

    accuracy: Callable[[Settings], float]
    verdict: Callable[[Settings], Verdict] = lambda _: Verdict("sound", "")
    seconds: Callable[[Settings], float] = lambda _: 1.0
    trained: list[str] = field(default_factory=list)
    stopped_in: str = ""
    now: float = 0.0
    fingerprint: str = "same"

    def monotonic(self) -> float:
        return self.now

    def __call__(
        self, settings: Settings, run: RunFolder, callbacks: Sequence[PruningCallback]
    ) -> TrainResult:
        (pruning,) = callbacks
        self.trained.append(run.path.name)
        run.environment.write_text(json.dumps({"data": {"fingerprint": self.fingerprint}}))
        frames, measured = [], []
        status: Status = "finished"
        for name, own in fold_runs(settings).items():
            if run.path.name == self.stopped_in:
                self.stopped_in = ""
                status = "interrupted"
                break
            self.now += self.seconds(settings)
            if pruning.must_pause():
                status = "interrupted"
                break
            frames.append(self._predictions(settings, own.fold).assign(seed=0, fold=own.fold))
            measured.append(_measure(frames[-1]))
            folder = run.fold_run(name)
            folder.path.mkdir(exist_ok=True)
            self._summary(settings, measured[-1], "finished").write(folder.summary)
            if len(measured) < (settings.folds or 0) and pruning.prunes_after_fold_runs(measured):
                status = "pruned"
                break
        if not frames:
            return TrainResult(run, None)
        pooled = pd.concat(frames)
        tests = [self._predictions(settings, None).assign(seed=0, fold=f) for f in (0, 1)]
        write_csv(run.predictions, pooled)
        write_csv(run.test_predictions, pd.concat(tests))
        summary = self._summary(settings, _measure(pooled), status)
        summary.write(run.summary)
        return TrainResult(run, summary)

    def _predictions(self, settings: Settings, fold: int | None) -> pd.DataFrame:
        right = np.arange(IMAGES) < round(self.accuracy(settings) * IMAGES)
        files = [f"{'test' if fold is None else fold}-{image}.png" for image in range(IMAGES)]
        prediction = np.where(right, "0", "1")
        return pd.DataFrame({"file": files, "label": "0", "prediction": prediction, "loss": 0.5})

    def _summary(self, settings: Settings, val: Measurement, status: Status) -> Summary:
        return Summary(
            train=val,
            val=val,
            test=_measure(self._predictions(settings, None)),
            most_frequent_class=0.5,
            best_epoch=1,
            epochs=settings.epochs,
            seconds=1.0,
            parameters=10,
            verdict=self.verdict(settings),
            status=status,
        )


def _measure(predictions: pd.DataFrame) -> Measurement:
    right = (predictions["label"] == predictions["prediction"]).to_numpy(dtype=bool)
    return Measurement.from_predictions(right, predictions["loss"].to_numpy(dtype=float))
