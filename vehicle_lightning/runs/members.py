"""The members of a run over several folds or seeds: one training each."""

from dataclasses import dataclass

from vehicle_lightning.config import Settings


@dataclass(frozen=True)
class Member:
    """One training of a run over several folds or seeds.

    Attributes:
        seed: seed of its weights, order, dropout and augmentation.
        fold: the fold that validates; None where the same images validate in all members.
        settings: those of the run, narrowed to this training.
    """

    seed: int
    fold: int | None
    settings: Settings

    @property
    def name(self) -> str:
        """Name of its folder inside that of the run: `seed0-fold2`."""
        return f"seed{self.seed}" if self.fold is None else f"seed{self.seed}-fold{self.fold}"

    @property
    def title(self) -> str:
        """The same in words."""
        return f"seed {self.seed}" if self.fold is None else f"seed {self.seed}, fold {self.fold}"


def members(settings: Settings) -> list[Member]:
    """Return every training that the settings ask for, seed by seed.

    All seeds share one partition into folds, that of `split_seed`, so that they can be compared on
    the same images.
    """
    all_folds = settings.folds is not None and settings.fold is None
    folds = list(range(settings.folds or 0)) if all_folds else [settings.fold]
    return [
        Member(seed, fold, settings.model_copy(update={"seed": seed, "seeds": 1, "fold": fold}))
        for seed in range(settings.seed, settings.seed + settings.seeds)
        for fold in folds
    ]
