"""Explanations: the maps mean something, and the command draws them, whatever it is given."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import Tensor, nn

from tests.conftest import SIZE, Fit
from tests.test_fit import latest_events
from vehicle_lightning.config import Settings
from vehicle_lightning.errors import DataError, InputError, RunError, SettingsError
from vehicle_lightning.explain.__main__ import MOST, SHOWN, explain, main, worst_mistakes
from vehicle_lightning.model.evidence import change_by_masking, enlarge, evidence_maps
from vehicle_lightning.model.explanations import explain as explain_image
from vehicle_lightning.model.load import load
from vehicle_lightning.model.network import ImageClassifier
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import heat_over
from vehicle_lightning.settings_file import read_settings

SQUARE = 8  # pixels


def classifier(*, classes: int = 2, **settings: object) -> ImageClassifier:
    torch.manual_seed(0)
    names = [str(number) for number in range(classes)]
    built = ImageClassifier(Settings(image_size=SIZE, **settings), names, [0.5] * 3, [0.25] * 3)
    return built.eval()


def noise(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator).float()


@pytest.mark.parametrize("flip_averaging", [False, True])
def test_the_evidence_and_the_bias_add_up_to_the_log_odds(flip_averaging: bool) -> None:
    model = classifier(flip_averaging=flip_averaging)
    images, classes = noise(4), torch.tensor([0, 1, 1, 0])
    maps = evidence_maps(model, images, classes)
    assert maps.shape == (4, SIZE // 4, SIZE // 4)
    last = model.network.head[-1]
    assert isinstance(last, nn.Linear)
    logits, bias = model(images), last.bias
    odds = logits[range(4), classes] - logits[range(4), 1 - classes]
    expected = odds - (bias[classes] - bias[1 - classes])
    torch.testing.assert_close(maps.sum(dim=(1, 2)), expected, rtol=1e-4, atol=1e-4)


def test_behind_average_pooling_it_is_grad_cam() -> None:
    model = classifier(classes=3, pooling="average", residual=True, batchnorm=True)
    images, classes = noise(3), torch.tensor([2, 0, 1])

    def log_odds(batch: Tensor) -> Tensor:
        return torch.logit(model(batch).double().softmax(dim=1).gather(1, classes[:, None]))[:, 0]

    grad_cam = LayerGradCam(
        log_odds, model.network.get_submodule(model.network.feature_maps)
    ).attribute(images)
    maps = evidence_maps(model, images, classes)
    torch.testing.assert_close(maps, grad_cam.detach().squeeze(1).float(), rtol=1e-3, atol=1e-5)


def squares(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with a square at a random place, red or blue: images, classes, top left corners."""
    images = torch.randint(90, 166, (count, 3, SIZE, SIZE), generator=generator).float()
    classes = torch.randint(0, 2, (count,), generator=generator)
    corners = torch.randint(0, SIZE - SQUARE + 1, (count, 2), generator=generator)
    for image, label, (top, left) in zip(images, classes, corners, strict=True):
        colour = torch.tensor([230.0, 60, 60] if label else [60.0, 60, 230])
        image[:, top : top + SQUARE, left : left + SQUARE] = colour[:, None, None]
    return images, classes, corners


@pytest.mark.parametrize(
    "network",
    [{}, {"pooling": "average", "flip_averaging": True}, {"hidden": (16,)}],
    ids=["flat", "pooled", "dense"],
)
def test_the_map_finds_the_square_that_the_class_depends_on(network: dict[str, object]) -> None:
    model, generator = classifier(**network), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        images, classes, _ = squares(64, generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()
    images, classes, corners = squares(50, generator)
    assert (model(images).argmax(dim=1) == classes).float().mean() >= 0.98

    maps = enlarge(evidence_maps(model, images, classes), SIZE)
    hottest = change_by_masking(model, images, classes, maps)
    coldest = change_by_masking(model, images, classes, -maps)
    assert hottest.mean() < -0.3
    assert coldest.mean() > -0.05
    places = maps.flatten(1).argmax(dim=1)
    places = torch.stack([places // SIZE, places % SIZE], dim=1) - corners
    assert ((places >= -2) & (places < SQUARE + 2)).all(dim=1).float().mean() >= 0.9


def test_masking_masks_a_quarter_with_the_mean_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = classifier(), noise(2)
    seen: list[Tensor] = []

    def logits(batch: Tensor) -> Tensor:
        seen.append(batch)
        return torch.zeros(len(batch), 2)

    monkeypatch.setattr(model, "forward", logits)
    maps = torch.zeros(2, SIZE, SIZE)
    maps[0, :, : SIZE // 4] = 1
    maps[1, SIZE // 2 :, SIZE // 2 :] = 1
    assert change_by_masking(model, images, torch.tensor([0, 1]), maps).tolist() == [0, 0]
    expected = torch.where(maps[:, None] > 0, torch.tensor(127.5), images)
    torch.testing.assert_close(seen, [images, expected])


def test_the_heat_lies_where_the_evidence_is() -> None:
    picture = np.full((8, 8, 3), 100, dtype=np.uint8)
    evidence = np.full((8, 8), -5, dtype=np.float32)
    assert np.ptp(heat_over(picture, evidence)) <= 4  # none, and not a division by zero
    evidence[2, 3] = 1e-6
    brightness = heat_over(picture, evidence).sum(axis=2)
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (2, 3)


def test_the_command_draws_the_worst_mistakes(
    fit_quickly: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit_quickly("--val-fraction", "0.4", "--flip-averaging")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    capsys.readouterr()
    for _ in range(2):
        assert main([str(run.path)]) == 0
    saved, check = capsys.readouterr().out.splitlines()[-2:]
    sheet = run.picture("explanations")
    assert saved == f"saved   {sheet}"
    frame = pd.read_csv(run.predictions)
    mistakes = frame[frame["label"] != frame["prediction"]]
    assert re.fullmatch(
        r"check   masking the hottest quarter of each picture moves the probability by "
        r"[+-]\d+\.\d points, the coldest by [+-]\d+\.\d "
        rf"\(mean, n={min(len(mistakes), SHOWN)}\)",
        check,
    )
    assert [s.name for s in worst_mistakes(run, 3)] == mistakes["file"].head(3).tolist()
    with Image.open(sheet) as picture:
        assert picture.width > 500
    shown = latest_events(run).Images("pictures/explanations")
    assert len(shown) == 1
    added = {path for path in run.path.rglob("*") if path.is_file()} - set(before)
    assert {path.suffix for path in added} == {".png", ".explanations"}
    assert {path: path.read_bytes() for path in before} == before


def test_what_it_explains_is_what_the_run_predicted(dropout_run: RunFolder, drawn: Path) -> None:
    run = dropout_run
    worst = pd.read_csv(run.predictions).iloc[0]
    model = load(run.best_checkpoint)
    image = np.asarray(Image.open(drawn / "images" / worst["file"]))
    explanation = explain_image([model], image)
    assert explanation.prediction == str(worst["prediction"])
    assert explanation.probability == pytest.approx(worst[f"p_{worst['prediction']}"], abs=1e-5)


def test_of_a_run_over_folds_and_seeds_each_network_explains_its_own(
    seeds_run: RunFolder, drawn: Path
) -> None:
    run = seeds_run
    subjects = worst_mistakes(run, 50)
    assert len({subject.name for subject in subjects}) == len(subjects)
    assert len({subject.checkpoints for subject in subjects}) > 1
    for subject in subjects:
        (checkpoint,) = subject.checkpoints
        part = RunFolder(checkpoint.parent.parent)
        frame = pd.read_csv(part.predictions, dtype=str)
        (row,) = frame[frame["file"] == subject.name].to_dict("records")
        assert row["label"] == subject.label != row["prediction"]
    assert main([str(run.path)]) == 0
    assert run.picture("explanations").is_file()
    assert latest_events(run).Images("pictures/explanations")

    part = RunFolder(run.path / "seed0-fold0")
    assert main([str(part.path)]) == 0
    assert not list(part.path.glob("events*"))
    file = drawn / "images" / subjects[0].name
    assert explain(run.path, [file]).images == 1
    models = [load(folder.best_checkpoint) for folder in run.fold_runs]
    image = np.asarray(Image.open(file))
    every = [explain_image([model], image, ("1", 0.5)) for model in models]
    mean = np.mean([one.evidence for one in every], axis=0)
    together = explain_image(models, image, ("1", 0.5))
    np.testing.assert_allclose(together.evidence, mean, atol=1e-5)
    assert explain_image(models, image).probability >= 0.5


def test_seeds_alone(dropout_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run" / "0")
    frames = []
    for seed in (0, 1):
        shutil.copytree(dropout_run.path, run.path / f"seed{seed}")
        frame = pd.read_csv(dropout_run.predictions, dtype=str).iloc[seed::2]
        wrong = ["10"[int(label)] for label in frame["label"]]
        frames.append(frame.assign(seed=seed, fold=None, prediction=wrong))
    pd.concat(frames).to_csv(run.predictions, index=False)
    settings = read_settings(dropout_run.config).model_copy(update={"seeds": 2})
    run.config.write_text(settings.to_yaml())
    parts = {one.checkpoints[0].parent.parent.name for one in worst_mistakes(run, 9)}
    assert parts == {"seed0", "seed1"}


@pytest.mark.parametrize(
    "name", ["$x^2$ & <b>.png", "line\nbreak\a.png", "名字 😀.png", "a" * 200 + ".png", "-x.png"]
)
def test_hostile_names(
    dropout_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = shutil.copytree(dropout_run.path, tmp_path / "run" / "0")
    monkeypatch.chdir(tmp_path)
    Image.new("RGBA", (40, 70), (200, 10, 10, 90)).save(name)
    result = explain(run, [Path(name)])
    assert (result.images, result.sheet.is_file()) == (1, True)


@pytest.mark.parametrize("size", [1, 5000])
def test_pictures_of_any_size(dropout_run: RunFolder, tmp_path: Path, size: int) -> None:
    run = shutil.copytree(dropout_run.path, tmp_path / "run" / "0")
    Image.new("L", (size, 3)).save(tmp_path / "grey.png")
    assert explain(run, [tmp_path / "grey.png"]).images == 1


def copied(made: RunFolder, drawn: Path, folder: Path) -> tuple[RunFolder, Path]:
    """Copies of a run and of its data, whose first validation image is a mistake."""
    data = Path(shutil.copytree(drawn, folder / "data"))
    run = RunFolder(shutil.copytree(made.path, folder / "run" / "0"))
    run.config.write_text(run.config.read_text().replace(str(drawn), str(data)))
    frame = pd.read_csv(run.predictions, dtype=str)
    frame.loc[0, "prediction"] = "10"[int(frame.loc[0, "label"])]
    frame.to_csv(run.predictions, index=False)
    return run, data


def test_images_that_are_gone(drawn: Path, dropout_run: RunFolder, tmp_path: Path) -> None:
    run, data = copied(dropout_run, drawn, tmp_path)
    worst = worst_mistakes(run, 1)[0]
    worst.path.unlink()
    with pytest.raises(RunError, match=f"1 of the .* no longer in .*: {worst.name}; put them"):
        explain(run.path)
    worst.path.write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=f"{worst.name} cannot be read: cannot identify"):
        explain(run.path)
    shutil.rmtree(data)
    with pytest.raises(RunError, match=r"There is no data directory.*; name the images to"):
        explain(run.path)
    assert not run.picture("explanations").exists()


@pytest.mark.parametrize("name", ["../../secret.png", "/secret.png", "link.png"])
def test_nothing_outside_of_the_image_folder_is_opened(
    drawn: Path, dropout_run: RunFolder, tmp_path: Path, name: str
) -> None:
    run, data = copied(dropout_run, drawn, tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (data / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    frame = pd.read_csv(run.predictions, dtype=str)
    frame.loc[0, ["file", "label", "prediction"]] = [name, "0", "1"]
    frame.to_csv(run.predictions, index=False)
    with pytest.raises(RunError, match="no longer in"):
        explain(run.path)


def test_a_run_without_mistakes(dropout_run: RunFolder, drawn: Path, tmp_path: Path) -> None:
    run, data = copied(dropout_run, drawn, tmp_path)
    frame = pd.read_csv(run.predictions, dtype=str)
    frame.assign(prediction=frame["label"]).to_csv(run.predictions, index=False)
    with pytest.raises(RunError, match="made no mistake among its 8 validation"):
        explain(run.path)
    assert explain(run.path, [next((data / "images").iterdir())]).images == 1


def test_a_network_that_keeps_no_places_apart() -> None:
    model = classifier(channels=(2, 2, 2, 2, 2))
    with pytest.raises(RunError, match="shrinks an image of 32 pixels a side to a single one"):
        explain_image([model], np.zeros((SIZE, SIZE, 3), dtype=np.uint8))


def test_mistakes_are_one_sentence(dropout_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no image file .*none\.png"):
        explain(dropout_run.path, [tmp_path / "none.png"])
    with pytest.raises(SettingsError, match=f"{MOST + 1} files are more than the {MOST}"):
        explain(dropout_run.path, [tmp_path / "none.png"] * (MOST + 1))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_bytes(dropout_run.config.read_bytes())
    with pytest.raises(InputError, match="missing or damaged; finish the run"):
        explain(run)
    (run / "predictions_val.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="missing or damaged; finish the run"):
        explain(run)
    (run / "predictions_val.csv").write_bytes(dropout_run.predictions.read_bytes())
    with pytest.raises(InputError, match=r"has no best\.ckpt"):
        explain(run)


def test_mistakes_are_told_before_torch_is_imported(dropout_run: RunFolder, tmp_path: Path) -> None:
    probe = (
        "import sys; from vehicle_lightning.explain.__main__ import main, run_command\n"
        "try: run_command(main)\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    no_file = [str(dropout_run.path), str(tmp_path / "none.png")]
    for arguments in (["nowhere"], no_file, ["--count", "3"]):
        command = [sys.executable, "-c", probe, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "2 False"
        assert "Traceback" not in done.stderr
