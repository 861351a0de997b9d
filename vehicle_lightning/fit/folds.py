"""A run over several folds or seeds: its fold runs trained one after the other, then pooled."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sklearn.metrics import confusion_matrix

from vehicle_lightning.config import Settings
from vehicle_lightning.console import notice
from vehicle_lightning.data.datamodule import VehicleDataModule
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.files import atomic_write, write_csv
from vehicle_lightning.fit.callbacks import PruningCallback
from vehicle_lightning.fit.devices import started_together
from vehicle_lightning.fit.loggers import build_loggers, log_curves, log_summary
from vehicle_lightning.fit.pooling import (
    PooledSummary,
    Result,
    pool,
    pool_curves,
    pool_predictions,
)
from vehicle_lightning.fit.start import check_same_class, check_same_data, run_folder, write_start
from vehicle_lightning.fit.train import (
    Parts,
    TrainResult,
    build_classifier,
    read_data,
    train_once,
)
from vehicle_lightning.fit.trainer import build_trainer
from vehicle_lightning.model.load import load_start
from vehicle_lightning.runs.fold_runs import first_fold_run, fold_runs
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import plot_confusion_matrix, plot_curves, save
from vehicle_lightning.runs.summary import Status, Summary
from vehicle_lightning.settings_file import read_settings


def train_folds(settings: Settings, run: RunFolder | None, parts: Parts) -> TrainResult:
    """Train every fold run, each in a run folder inside that of the run, and pool what they say.

    A fold run that is finished is not trained again, so that an interrupted run goes on where it
    stopped, and a finished one can be given more seeds.

    Args:
        settings: all settings, with `folds`, `seeds` or both.
        run: the folder to train in, as `train` has it.
        parts: what was given from Python.

    Returns:
        The run folder, and the pooled summary unless no fold run was finished.

    Raises:
        InputError: something is wrong with the data, the settings, or the run to continue.
        OSError: the disk is full.
    """
    settings = _on_one_device(settings)
    every = fold_runs(settings)
    with run_folder(settings, run) as run:
        # Refuses devices before data are read, and is what the fold runs' loggers hang under.
        first = next(iter(every.values()))
        build_trainer(first, run, [], build_loggers(run, settings))
        check_same_class(run, parts.classifier)
        data = read_data(first, parts.data)
        if not isinstance(data, VehicleDataModule):
            raise SettingsError(
                "--folds and --seeds split the images anew, which only a VehicleDataModule can; "
                "give a subclass of it as data, or train each seed on its own."
            )
        # What would stop a later fold is found before the first one is trained.
        for own in {own.fold: own for own in every.values()}.values():
            own_data = data.split_anew(own)
            model = build_classifier(own_data, parts).model
            load_start(model, own_data.fingerprint, network=parts.network)
        settings = settings.model_copy(update=dict(data.table.found))
        if run.config.is_file():
            check_same_data(run, data.fingerprint)
        said = write_start(run, settings, data, [], parts.classifier, epochs=0)
        if parts.pruning is None:
            notice(_first_line(run, data, every))
            for sentence in said[1:]:
                notice(sentence)
        results, status = _train_all(run, every, data, parts)
        if not results:
            return TrainResult(run, None)
        return TrainResult(run, _write_report(run, settings, results, every, status))


def check_devices(settings: Settings, run: RunFolder) -> None:
    """Refuse devices that trainings one after another cannot use; nothing is written.

    Raises:
        SettingsError: they are several, or not to be had.
    """
    build_trainer(first_fold_run(_on_one_device(settings)), run, [], [])


def _on_one_device(settings: Settings) -> Settings:
    if started_together() == 1 and (one_device := settings.on_one_device()):
        return one_device
    raise SettingsError(
        "The trainings of --folds or --seeds follow one another in one process on one device; "
        "leave out --devices, --num-nodes and torchrun, or train each fold on its own by --fold."
    )


def _train_all(
    run: RunFolder,
    every: Mapping[str, Settings],
    data: VehicleDataModule,
    parts: Parts,
) -> tuple[list[Result], Status]:
    """Train what is not finished; fewer results come back where the training is stopped."""
    results: list[Result] = []
    pruning = parts.pruning
    started, trained = time.monotonic(), 0
    for number, (name, own) in enumerate(every.items(), start=1):
        folder = run.fold_run(name)
        words = name.replace("seed", "seed ").replace("-fold", ", fold ")
        summary = _finished(folder, own)
        if summary is None:
            title = f"Training {number} of {len(every)}, {words}"
            if pruning is not None:
                pruning.judges_epochs = number == 1  # those after it are judged as a whole
                title = f"{pruning.title}, {title}"
            summary = _train_fold_run(folder, own, data, parts, title)
            trained += 1
        if summary is None or summary.status == "interrupted":
            return results, "interrupted"
        results.append(Result.read(folder, own, summary))
        if summary.status == "pruned":
            return results, "pruned"
        if pruning is not None:
            measured = [result.summary.val for result in results]
            if number < len(every) and pruning.prunes_after_fold_runs(measured):
                return results, "pruned"
            continue
        left = (len(every) - number) * (time.monotonic() - started) / max(trained, 1)
        notice(
            f"[{number}/{len(every)}] {words}: train "
            f"{summary.train.accuracy:.1%}, val {summary.val.accuracy:.1%}, {summary.verdict.kind}"
            + (f"; about {_in_words(left)} left" if trained and number < len(every) else "")
        )
    return results, "finished"


def _finished(folder: RunFolder, settings: Settings) -> Summary | None:
    """Return the summary of a fold run that has nothing left to train."""
    if not (folder.summary.is_file() and folder.config.is_file()):
        return None
    summary, before = Summary.read(folder.summary), read_settings(folder.config)
    same = all(
        getattr(before, name) == getattr(settings, name)
        for name in ("epochs", "patience", "max_time")
    )
    return summary if summary.status == "finished" and same else None


def _train_fold_run(
    folder: RunFolder, settings: Settings, data: VehicleDataModule, parts: Parts, title: str
) -> Summary | None:
    """Train one; None where it is stopped before it could be measured."""
    folder.path.mkdir(exist_ok=True)
    callbacks = [c if isinstance(c, PruningCallback) else copy.deepcopy(c) for c in parts.callbacks]
    own = replace(parts, data=data.split_anew(settings), callbacks=callbacks)
    try:
        return train_once(settings, folder, own, title=title).summary
    except KeyboardInterrupt:
        return None


def _write_report(
    run: RunFolder,
    settings: Settings,
    results: Sequence[Result],
    every: Mapping[str, Settings],
    status: Status,
) -> PooledSummary:
    """Write the pooled predictions, curves, figures and pictures, also into TensorBoard."""
    summary = pool(results, every.values(), status)
    predictions = pool_predictions(results, "val")
    history, spread = pool_curves(results)
    write_csv(run.predictions, predictions)
    if summary.test is not None:
        write_csv(run.test_predictions, pool_predictions(results, "test"))
    with atomic_write(run.metrics) as temporary:
        history.to_csv(temporary, index=False, float_format="%.7g")
    names = run.data_facts()["class_names"]
    matrix = confusion_matrix(predictions["label"], predictions["prediction"], labels=names)
    curves = history.join(spread)
    title = f"{run.label}: mean and range of {len(results)} trainings"
    save(plot_curves(curves, best_epoch=summary.best_epoch, title=title), run.picture("curves"))
    title = f"{run.label}: validation images"
    save(plot_confusion_matrix(matrix, names, title=title), run.picture("confusion_matrix"))
    for logger in build_loggers(run, settings):
        logger.log_hyperparams(settings.model_dump(mode="json"))
        log_curves(logger, curves)
        log_summary(logger, summary)
    summary.write(run.summary)
    return summary


def _first_line(run: RunFolder, data: VehicleDataModule, every: Mapping[str, Settings]) -> str:
    folds, seeds = (len({getattr(m, what) for m in every.values()}) for what in ("fold", "seed"))
    over = [f"{folds} folds"] * (folds > 1) + [f"{seeds} seeds"] * (seeds > 1)
    return (
        f"Run {run.path}: {len(every)} trainings over {' and '.join(over)} of "
        f"{len(data.table)} images, classes {', '.join(data.table.class_names)}."
    )


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
