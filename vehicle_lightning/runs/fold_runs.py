"""The fold runs of a run over several folds or seeds: one training each."""

from collections.abc import Iterable
from pathlib import Path

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.folder import RunFolder, find_checkpoint
from vehicle_lightning.settings_file import read_settings


def fold_runs(settings: Settings) -> dict[str, Settings]:
    """Return the settings of every training that a run consists of, seed by seed, by its name.

    The name is that of its folder inside that of the run: `seed0-fold2`, or `seed0` where the same
    images validate in all. All seeds share one partition into folds, that of `split_seed`, so that
    they can be compared on the same images.
    """
    all_folds = settings.folds is not None and settings.fold is None
    folds = list(range(settings.folds or 0)) if all_folds else [settings.fold]
    return {
        f"seed{seed}" + ("" if fold is None else f"-fold{fold}"): settings.model_copy(
            update={"seed": seed, "seeds": 1, "fold": fold}
        )
        for seed in range(settings.seed, settings.seed + settings.seeds)
        for fold in folds
    }


def first_fold_run(settings: Settings) -> Settings:
    """Return the settings of the first training that a run consists of, or of the only one."""
    return next(iter(fold_runs(settings).values()))


def find_checkpoints(models: Iterable[Path]) -> list[Path]:
    """Return the checkpoint files of models, each once; of a run over folds or seeds, all of them.

    Raises:
        RunError: a run has none, or not yet all of them.
        SettingsError: the settings of a run cannot be read.
    """
    files: list[Path] = []
    for model in models:
        if not model.is_dir():
            files.append(model)
            continue
        run = RunFolder.open(model)
        settings = read_settings(run.config)
        if not settings.is_repeated:
            files.append(find_checkpoint(model))
            continue
        parts = [run.fold_run(name).best_checkpoint for name in fold_runs(settings)]
        if missing := sum(not file.is_file() for file in parts):
            raise RunError(
                f"{missing} of the {len(parts)} trainings of {model} are missing; finish it with "
                f"python -m vehicle_lightning.fit --resume {model}, or give single trainings of it."
            )
        files += parts
    return list({file.resolve(): file for file in files}.values())
