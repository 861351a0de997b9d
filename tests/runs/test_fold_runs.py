"""Which trainings a run over folds and seeds consists of."""

from pathlib import Path

import pytest

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import RunError, SettingsError
from vehicle_lightning.runs.fold_runs import find_checkpoints, fold_runs


def test_every_fold_of_every_seed() -> None:
    found = fold_runs(Settings(folds=3, seeds=2, seed=7))
    assert list(found) == [
        "seed7-fold0",
        "seed7-fold1",
        "seed7-fold2",
        "seed8-fold0",
        "seed8-fold1",
        "seed8-fold2",
    ]
    for name, s in found.items():
        assert f"seed{s.seed}-fold{s.fold}" == name
        assert (s.folds, s.seeds) == (3, 1)
        assert not s.is_repeated
        assert s.split_seed == 0
        assert Settings(**s.model_dump()) == s


def test_a_folder_of_runs_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "default" / "0").mkdir(parents=True)
    with pytest.raises(RunError, match="default is no run folder"):
        find_checkpoints([tmp_path / "default"])


def test_seeds_alone_keep_the_validation_images() -> None:
    assert list(fold_runs(Settings(seeds=2))) == ["seed0", "seed1"]


def test_one_fold_with_seeds() -> None:
    names = fold_runs(Settings(folds=5, fold=2, seeds=2))
    assert list(names) == ["seed0-fold2", "seed1-fold2"]


@pytest.mark.parametrize(
    ("values", "is_repeated"),
    [
        ({}, False),
        ({"folds": 5}, True),
        ({"folds": 5, "fold": 0}, False),
        ({"seeds": 2}, True),
        ({"folds": 5, "fold": 0, "seeds": 2}, True),
    ],
)
def test_what_is_repeated(values: dict[str, int], is_repeated: bool) -> None:
    assert Settings(**values).is_repeated == is_repeated


def test_no_seeds_are_refused() -> None:
    with pytest.raises(SettingsError, match="seeds"):
        Settings(seeds=0)
