"""Files from strangers: whichever command is given one, no code in it runs."""

import contextlib
import pickle
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torchvision import models

from tests.conftest import QUICK
from tests.test_backbone import SMALL
from tests.test_resume import interrupt_in_epoch
from tests.test_sweep import Place as SearchPlace
from vehicle_lightning.calibrate.__main__ import main as calibrate
from vehicle_lightning.check.__main__ import main as check
from vehicle_lightning.cli import INTERRUPTED, parse_fit
from vehicle_lightning.compare.__main__ import main as compare
from vehicle_lightning.errors import InputError
from vehicle_lightning.explain.__main__ import main as explain
from vehicle_lightning.export.__main__ import main as export
from vehicle_lightning.fit.__main__ import main as fit
from vehicle_lightning.fit.train import read_data
from vehicle_lightning.predict.__main__ import main as predict
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.sweep.__main__ import main as sweep

Craft = Callable[[Path, Path], None]
Command = tuple[Callable[[Sequence[str]], int], list[object]]


class Malicious:
    """Makes a file, the proof that code ran, when it is unpickled without care."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._proof,))


def a_pickle(file: Path, proof: Path) -> None:
    file.write_bytes(pickle.dumps(Malicious(proof)))


def a_cut_pickle(file: Path, proof: Path) -> None:
    """One that ends behind the code, which therefore runs before the end is missed."""
    file.write_bytes(pickle.dumps([Malicious(proof)], protocol=2)[:-1])


def within_what_was_there(file: Path, proof: Path) -> None:
    content = torch.load(file, weights_only=True)
    torch.save(content | {"extra": Malicious(proof)}, file)


CRAFTS: list[Craft] = [a_cut_pickle, within_what_was_there]
CRAFTED = pytest.mark.parametrize("craft", CRAFTS, ids=lambda craft: craft.__name__)


@dataclass(frozen=True)
class Place:
    """Copies of finished runs, to be spoilt."""

    folder: Path
    data: Path
    run: RunFolder
    folds: RunFolder

    @property
    def fold_run(self) -> RunFolder:
        return self.folds.fold_run("seed0-fold1")

    @property
    def images(self) -> Path:
        return self.data / "images"

    def new_run(self, *flags: object) -> Command:
        places = ["--data-dir", self.data, "--log-dir", self.folder / "new"]
        return fit, [*QUICK, *places, *flags]


@pytest.fixture
def place(tmp_path: Path, drawn: Path, dropout_run: RunFolder, folds_run: RunFolder) -> Place:
    run, folds = (
        RunFolder(shutil.copytree(made.path, tmp_path / "logs" / name / "0"))
        for made, name in ((dropout_run, "run"), (folds_run, "folds"))
    )
    return Place(tmp_path, drawn, run, folds)


@CRAFTED
def test_loaded_without_care_its_code_runs(place: Place, craft: Craft) -> None:
    """Otherwise no test here could fail."""
    proof, file = place.folder / "code_ran", place.run.last_checkpoint
    craft(file, proof)
    assert not proof.exists()
    with contextlib.suppress(Exception):  # some are no checkpoints, which is found out afterwards
        torch.load(file, weights_only=False)
    assert proof.exists()


def resuming(place: Place) -> tuple[Path, Command]:
    return place.run.last_checkpoint, (fit, ["--resume", place.run.path])


def resuming_a_finished_run(place: Place) -> tuple[Path, Command]:
    return place.run.best_checkpoint, (fit, ["--resume", place.run.path])


def resuming_folds(place: Place) -> tuple[Path, Command]:
    return place.fold_run.last_checkpoint, (fit, ["--resume", place.folds.path, "--epochs", "2"])


def starting_from_a_run(place: Place) -> tuple[Path, Command]:
    return place.run.best_checkpoint, place.new_run("--pretrained", place.run.path)


def starting_from_a_checkpoint(place: Place) -> tuple[Path, Command]:
    file = place.run.last_checkpoint
    return file, place.new_run("--pretrained", file)


def starting_folds(place: Place) -> tuple[Path, Command]:
    file = place.run.last_checkpoint
    return file, place.new_run("--pretrained", file, "--folds", "2")


def backbone_weights(place: Place) -> tuple[Path, Command]:
    file = place.folder / "weights.pth"
    torch.save(models.get_model(SMALL, weights=None).state_dict(), file)
    return file, place.new_run("--backbone", SMALL, "--weights", file)


def predicting_by_a_checkpoint(place: Place) -> tuple[Path, Command]:
    file = place.run.last_checkpoint
    return file, (predict, [file, place.images, "--output", place.folder / "new.csv"])


def predicting_by_a_run(place: Place) -> tuple[Path, Command]:
    output = place.folder / "new.csv"
    return place.run.best_checkpoint, (predict, [place.run.path, place.images, "--output", output])


def predicting_by_folds(place: Place) -> tuple[Path, Command]:
    arguments = [place.folds.path, place.images, "--output", place.folder / "new.csv"]
    return place.fold_run.best_checkpoint, (predict, arguments)


def explaining_mistakes(place: Place) -> tuple[Path, Command]:
    return place.run.best_checkpoint, (explain, [place.run.path])


def explaining_files(place: Place) -> tuple[Path, Command]:
    file = next(place.images.iterdir())
    return place.fold_run.best_checkpoint, (explain, [place.folds.path, file])


def exporting_a_run(place: Place) -> tuple[Path, Command]:
    arguments = [place.run.path, "--output", place.folder / "new.onnx"]
    return place.run.best_checkpoint, (export, arguments)


def exporting_a_checkpoint(place: Place) -> tuple[Path, Command]:
    file = place.run.last_checkpoint
    return file, (export, [file, "--output", place.folder / "new.pt2"])


CHECKPOINT = "is no checkpoint of this package: "
REFUSED: dict[str, tuple[Callable[[Place], tuple[Path, Command]], str]] = {
    "fit --resume": (resuming, CHECKPOINT),
    "fit --resume, best.ckpt": (resuming_a_finished_run, CHECKPOINT),
    "fit --resume, folds": (resuming_folds, CHECKPOINT),
    "fit --pretrained, run": (starting_from_a_run, CHECKPOINT),
    "fit --pretrained, checkpoint": (starting_from_a_checkpoint, CHECKPOINT),
    "fit --pretrained --folds": (starting_folds, CHECKPOINT),
    "fit --weights": (backbone_weights, "cannot be read: "),
    "predict, checkpoint": (predicting_by_a_checkpoint, CHECKPOINT),
    "predict, run": (predicting_by_a_run, CHECKPOINT),
    "predict, folds": (predicting_by_folds, CHECKPOINT),
    "explain, run": (explaining_mistakes, CHECKPOINT),
    "explain, folds": (explaining_files, CHECKPOINT),
    "export, run": (exporting_a_run, CHECKPOINT),
    "export, checkpoint": (exporting_a_checkpoint, CHECKPOINT),
}


def assert_refused(command: Command, message: str) -> None:
    function, arguments = command
    with pytest.raises(InputError, match=message) as caught:
        function([str(argument) for argument in arguments])
    assert "\n" not in str(caught.value)


@CRAFTED
@pytest.mark.parametrize(("planting", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_one_sentence(
    place: Place,
    craft: Craft,
    planting: Callable[[Place], tuple[Path, Command]],
    message: str,
) -> None:
    file, command = planting(place)
    proof = place.folder / "code_ran"
    craft(file, proof)
    assert_refused(command, f"{re.escape(str(file))} {message}")
    assert not proof.exists()
    assert not list(place.folder.glob("new*"))


def comparing(place: Place) -> Command:
    return compare, [place.run.path]


def calibrating(place: Place) -> Command:
    return calibrate, [place.folds.path]


def checking(place: Place) -> Command:
    return check, ["--data-dir", place.data, "--run", place.folds.path]


@CRAFTED
@pytest.mark.parametrize("planting", [comparing, calibrating, checking], ids=lambda p: p.__name__)
def test_commands_that_need_no_weights_load_none(
    place: Place, craft: Craft, planting: Callable[[Place], Command]
) -> None:
    proof = place.folder / "code_ran"
    for file in (place.folder / "logs").rglob("*.ckpt"):
        craft(file, proof)
    command, arguments = planting(place)
    assert command([str(argument) for argument in arguments]) == 0
    assert not proof.exists()


def test_a_search_does_not_go_on_from_it(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, proof = SearchPlace(tmp_path, drawn), tmp_path / "code_ran"
    with monkeypatch.context() as patch:
        interrupt_in_epoch(2, patch)
        assert sweep(search.flags("--trials", "1")) == INTERRUPTED
    within_what_was_there(search.run(0).last_checkpoint, proof)
    assert_refused((sweep, [*search.flags("--trials", "1")]), rf"last\.ckpt {CHECKPOINT}")
    assert not proof.exists()


def an_array_of_objects(file: Path, proof: Path) -> None:
    """What NumPy itself writes of objects: a sound header, and a pickle behind it."""
    objects = np.array([Malicious(proof)], dtype=object)
    with file.open("wb") as stream:
        if file.suffix == ".npz":
            np.savez(stream, mean=objects, mean_square=objects, faults=objects)
        else:
            np.save(stream, objects)


CACHED = ["pixels.npy", "index.npz", "near.npz"]
CACHE_CRAFTS = pytest.mark.parametrize(
    "craft", [a_pickle, an_array_of_objects], ids=lambda craft: craft.__name__
)


@CACHE_CRAFTS
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_read_without_care_its_code_runs(tmp_path: Path, craft: Craft, suffix: str) -> None:
    file, proof = tmp_path / f"crafted{suffix}", tmp_path / "code_ran"
    craft(file, proof)
    assert not proof.exists()
    with contextlib.suppress(pickle.UnpicklingError):
        content = np.load(file, allow_pickle=True)
        if isinstance(content, np.lib.npyio.NpzFile):
            content["faults"]
    assert proof.exists()


@CACHE_CRAFTS
@pytest.mark.parametrize("suffix", CACHED)
def test_a_crafted_cache_is_made_anew(
    tmp_path: Path, drawn: Path, craft: Craft, suffix: str
) -> None:
    cache, proof = tmp_path / "cache", tmp_path / "code_ran"
    places = ["--data-dir", str(drawn), "--cache-dir", str(cache)]
    settings = parse_fit([*QUICK, *places]).settings
    read_data(settings)
    (file,) = cache.glob(f"*-{suffix}")
    whole = file.read_bytes()
    craft(file, proof)
    read_data(settings)  # as fit does
    assert file.read_bytes() == whole
    craft(file, proof)
    assert check([*places, "--strict"]) == 0
    assert not proof.exists()


def a_python_tag(file: Path, proof: Path) -> None:
    file.write_text(f"dropout: !!python/object/apply:os.mkdir ['{proof}']\n", encoding="utf-8")


def settings_to_use(place: Place) -> tuple[Path, Command]:
    file = place.folder / "settings.yaml"
    return file, place.new_run("--config", file)


def settings_of_a_run(place: Place) -> tuple[Path, Command]:
    return place.run.config, (fit, ["--resume", place.run.path])


def settings_of_folds(place: Place) -> tuple[Path, Command]:
    return place.folds.config, (predict, [place.folds.path, place.images])


def settings_to_compare(place: Place) -> tuple[Path, Command]:
    return place.run.config, (compare, [place.run.path])


def space_to_search(place: Place) -> tuple[Path, Command]:
    file = place.folder / "space.yaml"
    _, arguments = place.new_run("--space", file)
    return file, (sweep, arguments)


SETTINGS = [
    settings_to_use,
    settings_of_a_run,
    settings_of_folds,
    settings_to_compare,
    space_to_search,
]


@pytest.mark.parametrize("planting", SETTINGS, ids=lambda planting: planting.__name__)
def test_settings_run_no_code(
    place: Place, planting: Callable[[Place], tuple[Path, Command]]
) -> None:
    file, command = planting(place)
    proof = place.folder / "code_ran"
    a_python_tag(file, proof)
    assert_refused(command, r"python/object/apply:os\.mkdir")
    assert not proof.exists()
    yaml.unsafe_load(file.read_text(encoding="utf-8"))
    assert proof.exists()  # so the test could have failed
