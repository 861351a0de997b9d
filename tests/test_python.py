"""The package from Python: train, load, parts of one's own, and anyone's own Trainer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchvision import models
from torchvision.models import VisionTransformer

from tests.conftest import SIZE
from vehicle_lightning import Settings, VehicleClassifier, VehicleDataModule, load, train
from vehicle_lightning.compare.ranking import compare
from vehicle_lightning.data.table import Table
from vehicle_lightning.errors import DataError, InputError, RunError, SettingsError
from vehicle_lightning.explain.__main__ import main as explain
from vehicle_lightning.export.__main__ import main as export
from vehicle_lightning.fit.__main__ import main as fit
from vehicle_lightning.model.evidence import evidence_maps
from vehicle_lightning.predict.__main__ import main as predict
from vehicle_lightning.runs.folder import RunFolder


class Plain(nn.Module):
    """A network as anyone writes it: no Sequential, nothing to index."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 5, stride=4)
        self.output = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.output(self.convolution(images).relu().mean(dim=(2, 3)))
        return logits


def plain(_: Settings, classes: int) -> nn.Module:
    return Plain(classes)


def transformer(settings: Settings, classes: int) -> nn.Module:
    return VisionTransformer(
        settings.image_size, 16, 1, 2, hidden_dim=16, mlp_dim=16, num_classes=classes
    )


def quick(drawn: Path, tmp_path: Path, **settings: object) -> Settings:
    common = {"image_size": SIZE, "batch_size": 16, "epochs": 1, "accelerator": "cpu"}
    return Settings(**common | {"data_dir": drawn, "log_dir": tmp_path / "logs"} | settings)


def images(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def test_train_and_load(drawn: Path, tmp_path: Path) -> None:
    result = train(quick(drawn, tmp_path, dropout=0.5, batchnorm=True))
    assert result.summary is not None
    assert 0 <= result.summary.val.accuracy <= 1
    assert result.run.summary.is_file()
    classifier = load(result.run.path)
    assert not classifier.training
    assert classifier.class_names == ("0", "1")
    assert classifier(images()).shape == (4, 2)
    again = train(quick(drawn, tmp_path, dropout=0.5, batchnorm=True))
    assert again.run.path.name == "1"
    torch.testing.assert_close(load(again.run.path)(images()), classifier(images()))


@pytest.mark.parametrize("network", [plain, transformer])
def test_a_network_of_ones_own(drawn: Path, tmp_path: Path, network: object) -> None:
    settings = quick(drawn, tmp_path)
    run = train(settings, network=network).run
    classifier = load(run.path, network=network)
    assert classifier(images()).shape == (4, 2)
    longer = settings.model_copy(update={"epochs": 2})
    assert train(longer, run, network=network).summary.epochs == 2  # type: ignore[union-attr]
    with pytest.raises(RunError, match=r"load\(run, network=...\)"):
        load(run.path)
    with pytest.raises(RunError, match="holds the weights of another network: lacking"):
        load(run.path, network=lambda *_: nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)))


def test_commands_refuse_a_network_that_came_from_python(drawn: Path, tmp_path: Path) -> None:
    run = str(train(quick(drawn, tmp_path), network=plain).run.path)
    image = str(next((drawn / "images").iterdir()))
    for main, arguments in (
        (predict, [run, image, "--output", str(tmp_path / "predictions.csv")]),
        (explain, [run, image]),
        (export, [run, "--output", str(tmp_path / "network.pt2")]),
    ):
        with pytest.raises(InputError, match="was given from Python; load it there by"):
            main(arguments)
    with pytest.raises(RunError, match="was given from Python"):
        train(quick(drawn, tmp_path, epochs=2), train(quick(drawn, tmp_path), network=plain).run)


def test_weights_of_another_network_are_no_start(drawn: Path, tmp_path: Path) -> None:
    first = train(quick(drawn, tmp_path)).run
    settings = quick(drawn, tmp_path, pretrained=first.path)
    with pytest.raises(RunError, match=r"lacking network\.convolution\.bias"):
        train(settings, network=plain)
    started = train(settings.model_copy(update={"learning_rate": 1e-30})).run
    torch.testing.assert_close(load(started.path)(images()), load(first.path)(images()))


def test_folds_with_parts_of_ones_own(drawn: Path, tmp_path: Path) -> None:
    class Count(L.Callback):
        epochs = 0

        def on_train_epoch_end(self, *_: object) -> None:
            type(self).epochs += 1

    settings = quick(drawn, tmp_path, folds=2, seeds=2)
    result = train(settings, network=plain, callbacks=[Count()])
    assert result.summary is not None
    assert Count.epochs == 4
    assert load(result.run.path / "seed1-fold0", network=plain)(images()).shape == (4, 2)


def test_callbacks_and_loggers(drawn: Path, tmp_path: Path) -> None:
    class Last(L.Callback):
        loss = float("nan")

        def on_train_epoch_end(self, trainer: L.Trainer, *_: object) -> None:
            self.loss = float(trainer.callback_metrics["val/loss"])

    last, logger = Last(), CSVLogger(tmp_path / "csv", name="", version="")
    result = train(quick(drawn, tmp_path), callbacks=[last], loggers=[logger])
    assert result.summary is not None
    assert last.loss == pytest.approx(result.summary.val.loss, rel=1e-5)
    written = (tmp_path / "csv" / "metrics.csv").read_text()
    assert "val/loss" in written
    assert "summary/val_accuracy" in written
    assert "dropout: 0.0" in (tmp_path / "csv" / "hparams.yaml").read_text()


def test_another_loss_and_metric(drawn: Path, tmp_path: Path) -> None:
    class Other(VehicleClassifier):
        def build_loss(self, class_weights: object) -> nn.Module:
            return nn.MultiMarginLoss()

    run = train(quick(drawn, tmp_path), classifier=Other).run
    usual = train(quick(drawn, tmp_path)).run
    assert load(run.path)(images()).shape == (4, 2)
    losses = [r.metrics.read_text().splitlines()[1].split(",")[5] for r in (run, usual)]
    assert losses[0] != losses[1]

    longer = quick(drawn, tmp_path, epochs=2)
    with pytest.raises(
        RunError, match=r"trained by Other, .* by train\(settings, run, classifier=O"
    ):
        train(longer, run.path)
    with pytest.raises(RunError, match="trained by Other, not VehicleClassifier"):
        fit(["--resume", str(run.path), "--epochs", "2"])
    assert train(longer, str(run.path), classifier=Other).summary.epochs == 2  # type: ignore[union-attr]


def test_code_of_a_network_that_has_changed_is_noticed(drawn: Path, tmp_path: Path) -> None:
    class Bent(Plain):
        def forward(self, images: Tensor) -> Tensor:
            features = nn.functional.softplus(self.convolution(images))
            logits: Tensor = self.output(features.mean(dim=(2, 3)))
            return logits

    run = train(quick(drawn, tmp_path), network=plain).run
    load(run.path, network=plain)
    with pytest.raises(RunError, match=r"code of the network has changed since .*best\.ckpt"):
        load(run.path, network=lambda _, classes: Bent(classes))


def test_the_layer_to_explain_can_be_named_later(drawn: Path, tmp_path: Path) -> None:
    run = train(quick(drawn, tmp_path), network=plain).run
    classifier = load(run.path, network=plain)
    classes = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(RunError, match="give it an attribute feature_maps, the name of the layer"):
        evidence_maps(classifier, images().float(), classes)
    classifier.network.feature_maps = "convolutoin"
    with pytest.raises(RunError, match="has no layer convolutoin"):
        evidence_maps(classifier, images().float(), classes)
    classifier.network.feature_maps = "convolution"
    assert evidence_maps(classifier, images().float(), classes).shape == (4, 7, 7)


def test_a_metric_of_both_splits_is_one_chart(drawn: Path, tmp_path: Path) -> None:
    class Measures(VehicleClassifier):
        def build_metrics(self, split: str) -> MetricCollection:
            metrics = super().build_metrics(split)
            metrics.add_metrics({"mean_recall": MulticlassAccuracy(2, average="macro")})
            return metrics

    run = train(quick(drawn, tmp_path), classifier=Measures).run
    for split in ("train", "val"):
        events = EventAccumulator(str(run.path / split)).Reload()
        assert len(events.Scalars("metrics/mean_recall")) == 1


def test_images_from_python_are_not_taken_for_others(drawn: Path, tmp_path: Path) -> None:
    files = sorted((drawn / "images").iterdir())
    labels = [number % 2 for number in range(len(files))]
    table = Table([file.name for file in files], labels, ("even", "odd"), files)
    settings = quick(drawn, tmp_path)
    run = train(settings, data=VehicleDataModule(settings, table)).run
    with pytest.raises(RunError, match=r"labels that .* validated on are others in .*train\.csv"):
        explain([str(run.path)])


def test_networks_that_a_probe_tells_nothing_of(drawn: Path, tmp_path: Path) -> None:
    class Noisy(Plain):
        def __init__(self, classes: int) -> None:
            super().__init__(classes)
            self.same = self.convolution  # under two names

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + torch.rand(1)

    def noisy(_: Settings, classes: int) -> nn.Module:
        return Noisy(classes)

    assert load(train(quick(drawn, tmp_path), network=noisy).run.path, network=noisy)


def test_folds_go_on_with_the_class_they_began_with(drawn: Path, tmp_path: Path) -> None:
    class Other(VehicleClassifier):
        pass

    run = train(quick(drawn, tmp_path, folds=2), classifier=Other).run
    with pytest.raises(RunError, match="trained by Other, not VehicleClassifier"):
        fit(["--resume", str(run.path), "--seeds", "2"])


class Tensors(L.LightningDataModule):
    """Anyone's data module: `(x, y)` loaders over tensors."""

    class_names = ("dark", "light")

    def setup(self, stage: str | None = None) -> None:
        x = torch.randint(0, 128, (60, 3, SIZE, SIZE), dtype=torch.uint8)
        y = torch.arange(60) % 2
        self.x, self.y = x + 127 * y.view(-1, 1, 1, 1).byte(), y

    def loader(self, part: slice, **options: bool) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(self.x[part], self.y[part]), batch_size=10, **options)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.loader(slice(40), shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.loader(slice(40, None))


def test_data_of_ones_own(drawn: Path, tmp_path: Path) -> None:
    settings = quick(drawn, tmp_path, epochs=6, learning_rate=0.01)
    result = train(settings, data=Tensors())
    assert result.summary is not None
    assert (result.summary.train.n, result.summary.val.n) == (40, 20)
    assert result.summary.val.accuracy == 1
    assert load(result.run.path).class_names == ("dark", "light")
    assert len(result.run.predictions.read_text().splitlines()) == 21
    assert result.run.picture("mistakes").is_file()
    with pytest.raises(SettingsError, match="only a VehicleDataModule can"):
        train(settings.model_copy(update={"folds": 2}), data=Tensors())

    class Nameless(Tensors):
        class_names = property()  # type: ignore[assignment]

    with pytest.raises(DataError, match="Nameless has no attribute class_names"):
        train(settings, data=Nameless())


def test_a_subclass_of_the_data_module_works_over_folds(drawn: Path, tmp_path: Path) -> None:
    class Half(VehicleDataModule):
        def setup(self, stage: str | None = None) -> None:
            super().setup(stage)
            if len(self.rows["train"]) == 40:  # a Trainer sets up once more
                self.rows["train"] = self.rows["train"][::2]

    settings = quick(drawn, tmp_path, folds=2)
    result = train(settings, data=Half(settings.model_copy(update={"fold": 0})))
    assert result.summary is not None
    assert result.summary.train.n == 20
    assert result.summary.val.n == 80


def test_a_data_module_serves_several_trainings(drawn: Path, tmp_path: Path) -> None:
    data = VehicleDataModule(quick(drawn, tmp_path))
    for dropout in (0.0, 0.5):
        run = train(quick(drawn, tmp_path, dropout=dropout, folds=2, fold=1), data=data).run
        settings = load(run.path).settings
        assert (settings.dropout, settings.fold) == (dropout, 1)
    with pytest.raises(SettingsError, match="was made with another image_size; make a new"):
        train(quick(drawn, tmp_path, image_size=2 * SIZE), data=data)


def test_a_data_module_is_not_taken_for_other_images(drawn: Path, tmp_path: Path) -> None:
    settings = quick(drawn, tmp_path)
    with pytest.raises(SettingsError, match="was made with another data_dir; make a new"):
        train(settings, data=VehicleDataModule(settings.changed({"data_dir": tmp_path})))


def test_a_data_module_with_arguments_of_its_own_is_split_anew(drawn: Path, tmp_path: Path) -> None:
    class Sub(VehicleDataModule):
        def __init__(self, settings: Settings, keep: float) -> None:
            super().__init__(settings)
            self.keep = keep

    data = Sub(quick(drawn, tmp_path), 0.25)
    train(quick(drawn, tmp_path, folds=2), data=data)
    assert data.take(quick(drawn, tmp_path, folds=2, fold=1)).keep == 0.25


def test_the_end_asked_for_within_an_epoch_comes_after_it(drawn: Path, tmp_path: Path) -> None:
    class Enough(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= 6  # the first step of the second epoch

    settings = quick(drawn, tmp_path, epochs=4)
    summary = train(settings, callbacks=[Enough()]).summary
    assert summary is not None
    run = train(quick(drawn, tmp_path, epochs=2)).run
    whole = json.loads(run.summary.read_text())
    assert (summary.epochs, summary.val.loss) == (2, whole["val"]["loss"])


@pytest.mark.parametrize(
    "changes",
    [
        {"augment": True},
        {"backbone": "shufflenet_v2_x0_5", "frozen_epochs": 2, "hidden": (4,)},
    ],
)
def test_double_precision(drawn: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    if "backbone" in changes:
        weights = tmp_path / "weights.pth"
        torch.save(models.get_model(changes["backbone"]).state_dict(), weights)
        changes = {**changes, "weights": weights}
    settings = quick(drawn, tmp_path, precision="64-true", **changes)
    assert train(settings).summary is not None


def test_data_without_a_length_are_refused(drawn: Path, tmp_path: Path) -> None:
    class Endless(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            yield torch.zeros(1)

    class Streamed(Tensors):
        def train_dataloader(self) -> Any:
            return DataLoader(Endless())

    with pytest.raises(DataError, match="loader of Streamed has no length"):
        train(quick(drawn, tmp_path), data=Streamed())


def test_other_labels_of_ones_own_data_are_other_data(drawn: Path, tmp_path: Path) -> None:
    class Others(Tensors):
        def setup(self, stage: str | None = None) -> None:
            super().setup(stage)
            self.y = self.y.flip(0)

    for name, data in (("a", Tensors()), ("b", Tensors()), ("c", Others())):
        train(quick(drawn, tmp_path, name=name), data=data)
    ranking = compare([tmp_path / "logs" / name for name in "abc"])
    assert {row.record.name for row in ranking.rows} == {"a/0", "b/0"}
    assert [(one.name, one.reason) for one in ranking.left_out] == [
        ("c/0", "it has other images or labels than a/0")
    ]


def trainer(tmp_path: Path, **options: object) -> L.Trainer:
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    common = {"logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
    return L.Trainer(**common | quiet | options)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*trainer.predict. was called")
def test_in_anyones_own_trainer(drawn: Path, tmp_path: Path) -> None:
    settings = quick(drawn, tmp_path)
    data = VehicleDataModule(settings)
    data.setup()
    model = VehicleClassifier(settings, data.class_names, data.mean, data.std)
    own = trainer(tmp_path, max_epochs=2, limit_train_batches=2)
    own.fit(model, datamodule=data)
    assert own.global_step == 4
    own.validate(model, data, verbose=False)
    assert {"val/loss", "train/loss"} <= set(own.callback_metrics)
    (test,) = own.test(model, data, verbose=False)
    assert test["test/accuracy"] == pytest.approx(float(own.callback_metrics["test/accuracy"]))
    logits = torch.cat(own.predict(model, data))  # type: ignore[arg-type]
    assert logits.shape == (80, 2)
    trainer(tmp_path, fast_dev_run=True).fit(VehicleClassifier(settings), datamodule=data)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_pixels_in_the_wrong_range_are_noticed(tmp_path: Path) -> None:
    settings = Settings(image_size=SIZE)
    for scale, is_wrong in ((1.0, True), (255.0, False)):
        x, y = torch.rand(8, 3, SIZE, SIZE) * scale, torch.arange(8) % 2
        loader = DataLoader(TensorDataset(x, y), batch_size=4)
        with pytest.warns() if is_wrong else np.errstate() as told:  # type: ignore[attr-defined]
            trainer(tmp_path, max_epochs=1).fit(VehicleClassifier(settings), loader, loader)
        if is_wrong:
            assert any("multiply them by 255" in str(one.message) for one in told)


class OtherForward(VehicleClassifier):
    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


class NoAccuracy(VehicleClassifier):
    def build_metrics(self, split: str) -> MetricCollection:
        return MetricCollection({"recall": MulticlassAccuracy(2)}, prefix=f"{split}/")


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"classifier": OtherForward}, "OtherForward overrides forward.*network=..."),
        ({}, {"classifier": NoAccuracy}, "gives no accuracy, which must stay"),
        ({"fast_dev_run": True}, {"run": "."}, "no run folder"),
        ({"fast_dev_run": True}, {"run": RunFolder(Path())}, "keeps nothing; leave out"),
        ({"group_column": "camera"}, {"table": True}, r"the Table has no groups.*groups=\.\.\."),
        ({"split_column": "part"}, {"table": True}, r"the Table has no splits.*splits=\.\.\."),
        ({"test_csv": Path("test.csv")}, {"table": True}, "no effect on a Table.*splits="),
        ({"max_epochs": 1}, {}, r"There is no setting max_epochs\. Perhaps you meant epochs"),
    ],
)
def test_what_would_be_ignored_is_refused(
    drawn: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    arguments: dict[str, Any],
    message: str,
) -> None:
    def attempt() -> None:
        settings = quick(drawn, tmp_path, **changes)
        if arguments.pop("table", False):
            listed = VehicleDataModule(quick(drawn, tmp_path))
            listed.setup()
            table = replace(listed.table, groups=None, splits=None)
            arguments["data"] = VehicleDataModule(settings, table)
        train(settings, **arguments)

    with pytest.raises(InputError, match=message):
        attempt()
    assert not (tmp_path / "logs").exists() or not list((tmp_path / "logs").glob("*/*"))


def test_a_frozen_backbone_that_ones_own_network_does_not_have(drawn: Path, tmp_path: Path) -> None:
    settings = quick(drawn, tmp_path, backbone="resnet18", frozen_epochs=1)
    assert train(settings, network=plain).summary is not None


def test_data_from_python_are_not_gone_on_with_by_the_command(drawn: Path, tmp_path: Path) -> None:
    run = train(quick(drawn, tmp_path), data=Tensors()).run
    with pytest.raises(RunError, match=r"given from Python; .*train\(settings, run, data=\.\.\.\)"):
        fit(["--resume", str(run.path), "--epochs", "2"])
