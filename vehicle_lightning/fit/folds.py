"""A run over several folds or seeds: its fold runs trained one after the other, then pooled."""

import time
from collections.abc import Sequence

import pandas as pd
from sklearn.metrics import confusion_matrix

from vehicle_lightning.config import Settings, read_settings
from vehicle_lightning.console import notice
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.files import atomic_write, write_csv, write_text
from vehicle_lightning.fit.devices import started_together
from vehicle_lightning.fit.environment import read_data_facts, write_environment, write_findings
from vehicle_lightning.fit.pooling import (
    PooledSummary,
    Result,
    mean_curves,
    pool,
    pool_predictions,
    spread_of_curves,
)
from vehicle_lightning.fit.progress import EpochLines
from vehicle_lightning.fit.supervision import Supervision, Supervisor
from vehicle_lightning.fit.tensorboard import RunLogger
from vehicle_lightning.fit.train import (
    build_classifier,
    check_devices,
    read_data,
    silence,
    train,
)
from vehicle_lightning.model.load import load_start
from vehicle_lightning.runs.fold_runs import FoldRun, fold_runs
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import plot_confusion_matrix, plot_curves, save
from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.summary import Status, Summary


def train_repeatedly(
    settings: Settings,
    resume: RunFolder | None,
    *,
    new: RunFolder | None = None,
    supervisor: Supervisor | None = None,
) -> tuple[RunFolder, PooledSummary | None]:
    """Train every fold_run, each in a run folder inside that of the run, and pool what they say.

    A fold run that is finished is not trained again, so that an interrupted run goes on where it
    stopped, and a finished one can be given more seeds.

    Args:
        settings: all settings, with `folds`, `seeds` or both.
        resume: a run to continue; None starts a new one.
        new: where a new run goes; by default the next number under its name in the log dir.
        supervisor: who pauses or prunes the run, where it is one of many.

    Returns:
        The run folder, and the pooled summary unless no fold run was finished.

    Raises:
        InputError: something is wrong with the data, the settings, or the run to continue.
        OSError: the disk is full.
    """
    silence()
    settings = _on_one_device(settings)
    check_devices(settings)
    every = fold_runs(settings)
    data = read_data(every[0].settings)
    _check_every_fold(every, data)
    if resume:
        _check_same_data(resume, data.fingerprint)
    run = resume or new or RunFolder.create(settings.log_dir, settings.run_name)
    with run.lock():
        write_environment(run.environment, data)
        write_text(run.config, settings.to_yaml())  # the last: it makes the run one to resume
        if supervisor is None:
            notice(_first_line(run, data, every))
        if serious := write_findings(run.findings, settings, data):
            notice(serious)
        results, status = _train_all(run, every, data, supervisor)
        report = _write_report(run, settings, results, every, status) if results else None
    return run, report


def _on_one_device(settings: Settings) -> Settings:
    if started_together() == 1 and (one_device := settings.on_one_device()):
        return one_device
    raise SettingsError(
        "The trainings of --folds or --seeds follow one another in one process on one device; "
        "leave out --devices, --num-nodes and torchrun, or train each fold on its own by --fold."
    )


def _check_same_data(run: RunFolder, fingerprint: str) -> None:
    if read_data_facts(run.environment)["fingerprint"] != fingerprint:
        raise RunError(
            f"The names, labels or images of the data have changed since {run.path} was started, "
            f"so its folds would not be the same; start a new run instead."
        )


def _check_every_fold(every: Sequence[FoldRun], data: VehicleDataModule) -> None:
    """Find what would stop a later fold before the first one is trained."""
    for fold_run in {fold_run.fold: fold_run for fold_run in every}.values():
        own_data = data.split_anew(fold_run.settings)
        load_start(build_classifier(fold_run.settings, own_data), own_data.fingerprint)


def _train_all(
    run: RunFolder,
    every: Sequence[FoldRun],
    data: VehicleDataModule,
    supervisor: Supervisor | None,
) -> tuple[list[Result], Status]:
    """Train the fold runs that are not finished; fewer come back where the training is stopped."""
    results: list[Result] = []
    started, trained = time.monotonic(), 0
    for number, fold_run in enumerate(every, start=1):
        folder = run.fold_run(fold_run.name)
        summary = _finished(folder, fold_run)
        if summary is None:
            run.summary.unlink(missing_ok=True)  # it will no longer be that of all fold runs
            title = f"Training {number} of {len(every)}, {fold_run.title}"
            lines = EpochLines(title if supervisor is None else f"{supervisor.title}, {title}")
            supervision = (
                None if supervisor is None else Supervision(supervisor, by_epoch=number == 1)
            )
            summary = _train_member(folder, fold_run, data, lines, supervision)
            trained += 1
        if summary is None or summary.status == "interrupted":
            return results, "interrupted"
        results.append(_result(folder, fold_run, summary))
        if summary.status == "pruned":
            return results, "pruned"
        if supervisor is not None:
            measured = [result.summary.val for result in results]
            if number < len(every) and supervisor.prunes_after_trainings(measured):
                return results, "pruned"
            continue
        left = (len(every) - number) * (time.monotonic() - started) / max(trained, 1)
        notice(
            f"[{number}/{len(every)}] {fold_run.title}: train "
            f"{summary.train.accuracy:.1%}, "
            f"val {summary.val.accuracy:.1%}, {summary.verdict.kind}"
            + (f"; about {_in_words(left)} left" if trained and number < len(every) else "")
        )
    return results, "finished"


def _finished(folder: RunFolder, fold_run: FoldRun) -> Summary | None:
    """Return the summary of a fold run that has nothing left to train."""
    if not (folder.summary.is_file() and folder.config.is_file()):
        return None
    summary, before = Summary.read(folder.summary), read_settings(folder.config)
    same = (before.epochs, before.patience) == (
        fold_run.settings.epochs,
        fold_run.settings.patience,
    )
    return summary if summary.status == "finished" and same else None


def _train_member(
    folder: RunFolder,
    fold_run: FoldRun,
    data: VehicleDataModule,
    lines: EpochLines,
    supervision: Supervision | None,
) -> Summary | None:
    """Train one fold run; None where it is stopped before it could be measured."""
    own_data = data.split_anew(fold_run.settings)
    folder.path.mkdir(exist_ok=True)
    resume = folder if folder.config.is_file() else None
    try:
        return train(
            fold_run.settings,
            resume,
            data=own_data,
            new=folder,
            lines=lines,
            supervision=supervision,
        )[1]
    except KeyboardInterrupt:
        return None


def _result(folder: RunFolder, fold_run: FoldRun, summary: Summary) -> Result:
    predictions = read_predictions(folder.predictions)
    return Result(fold_run, summary, pd.read_csv(folder.metrics), predictions)


def _write_report(
    run: RunFolder,
    settings: Settings,
    results: Sequence[Result],
    every: Sequence[FoldRun],
    status: Status,
) -> PooledSummary:
    """Write the pooled predictions, curves, figures and pictures, also into TensorBoard."""
    summary = pool(results, every, status)
    predictions, history = pool_predictions(results), mean_curves(results)
    write_csv(run.predictions, predictions)
    with atomic_write(run.metrics) as temporary:
        history.to_csv(temporary, index=False, float_format="%.7g")
    names = read_data_facts(run.environment)["class_names"]
    matrix = confusion_matrix(predictions["label"], predictions["prediction"], labels=names)
    save(
        plot_curves(
            history,
            best_epoch=summary.best_epoch,
            title=f"{run.label}: mean of {len(results)} trainings",
        ),
        run.picture("curves"),
    )
    save(
        plot_confusion_matrix(matrix, names, title=f"{run.label}: validation images"),
        run.picture("confusion_matrix"),
    )
    _write_events(run, settings, history.join(spread_of_curves(results)), summary)
    summary.write(run.summary)
    return summary


def _write_events(
    run: RunFolder, settings: Settings, curves: pd.DataFrame, summary: PooledSummary
) -> None:
    logger = RunLogger(run, settings)
    logger.start()
    for row in curves.to_dict("records"):
        epoch = int(row.pop("epoch"))
        logger.log_metrics({str(name): value for name, value in row.items()}, epoch)
    pictures = {name: run.picture(name) for name in ("curves", "confusion_matrix")}
    logger.finish(summary.figures(), str(summary), pictures)


def _first_line(run: RunFolder, data: VehicleDataModule, every: Sequence[FoldRun]) -> str:
    folds, seeds = (len({getattr(m, what) for m in every}) for what in ("fold", "seed"))
    over = [f"{folds} folds"] * (folds > 1) + [f"{seeds} seeds"] * (seeds > 1)
    return (
        f"Run {run.path}: {len(every)} trainings over {' and '.join(over)} of "
        f"{len(data.table)} images, classes {', '.join(data.table.class_names)}."
    )


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
