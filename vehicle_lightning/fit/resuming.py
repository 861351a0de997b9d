"""What must be so that a run can be continued; checked before anything of it is touched."""

from vehicle_lightning.config import Settings, changed_settings
from vehicle_lightning.errors import RunError
from vehicle_lightning.model.load import load_classifier
from vehicle_lightning.runs.folder import RunFolder


def check_continuable(run: RunFolder, settings: Settings, fingerprint: str) -> int:
    """Return how many whole epochs a run has behind it.

    Args:
        run: the run to continue.
        settings: the settings to continue it with.
        fingerprint: that of the data to continue it with.

    Raises:
        RunError: the checkpoint is missing or damaged, or the run had other settings or other data.
    """
    if not run.last_checkpoint.is_file():
        # The figures of the first epoch are written before its checkpoint.
        if run.summary.exists() or _epochs_told(run) > 1:
            raise RunError(f"{run.last_checkpoint} is gone; start a new run instead.")
        return 0
    last = load_classifier(run.last_checkpoint)
    if changed := changed_settings(last.model.settings, settings):
        raise RunError(
            f"{run.last_checkpoint} was written with another {', '.join(changed)} than "
            f"{run.config} has; start a new run instead."
        )
    if last.fingerprint != fingerprint:
        raise RunError(
            f"The names, labels or images of the data have changed since {run.path} was started, "
            f"so its validation images may be training images now; start a new run instead."
        )
    if settings.epochs < last.epochs:
        raise RunError(
            f"{run.path} has trained {last.epochs} epochs; continue it with --epochs "
            f"{last.epochs} or more."
        )
    return last.epochs


def _epochs_told(run: RunFolder) -> int:
    """How many epochs have their row in the metrics."""
    return len(run.metrics.read_text().splitlines()) - 1 if run.metrics.exists() else 0
