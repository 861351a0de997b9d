import lightning as L
import pytest
import torch
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from vehicle_lightning.config import Settings
from vehicle_lightning.data.batches import Batch
from vehicle_lightning.model.augment import size_in_epoch
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.focal import FocalLoss
from vehicle_lightning.model.optimizer import share_of_rate

SIZE = 16


class Batches(Dataset[Batch]):
    """Ready-made batches of random images with a learnable label."""

    def __init__(self, count: int, size: int = 8, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._batches = []
        for _ in range(count):
            images = torch.randint(
                0, 256, (size, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator
            )
            labels = (images[:, 0].float().mean((1, 2)) > 127.5).long()
            self._batches.append(Batch(images, labels, torch.arange(size)))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        return self._batches[index]


def build(**settings: object) -> VehicleClassifier:
    torch.manual_seed(0)
    return VehicleClassifier(
        Settings(image_size=SIZE, **settings), ["car", "van"], [0.5] * 3, [0.3] * 3
    )


def trainer(**options: object) -> L.Trainer:
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return L.Trainer(**(quiet | options))


def loader(batches: Dataset[Batch]) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None)


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*no `val_dataloader`"),
]


def test_one_batch_is_learnt_by_heart() -> None:
    model = build(learning_rate=3e-3)
    batch = Batches(1)[0]
    same_again = loader(torch.utils.data.Subset(Batches(1), [0] * 100))
    trainer(max_epochs=1, limit_val_batches=0).fit(model, same_again)
    with torch.no_grad():
        assert float(F.cross_entropy(model.eval()(batch.images), batch.labels)) < 0.01


def test_figures_are_measured_in_eval_mode_and_are_those_of_sklearn() -> None:
    model = build(dropout=0.9, batchnorm=True, augment=True)
    sides = [Batches(3, seed=1), Batches(2, seed=2)]
    run = trainer()
    run.validate(model, [loader(side) for side in sides], verbose=False)
    figures = {name: float(value) for name, value in run.callback_metrics.items()}

    model.eval()
    for side, batches in zip(("val", "train"), sides, strict=True):
        images, labels, _ = (torch.cat(part) for part in zip(*batches, strict=True))
        with torch.no_grad():
            logits = model(images)
        predicted, probability = logits.argmax(1), logits.softmax(1)[:, 1]
        assert figures[f"{side}/loss"] == pytest.approx(
            float(F.cross_entropy(logits, labels)), 1e-5
        )
        assert figures[f"{side}/accuracy"] == pytest.approx(
            float((predicted == labels).float().mean())
        )
        if side == "val":
            assert figures["val/f1"] == pytest.approx(
                f1_score(labels, predicted, average="macro"), 1e-5
            )
            assert figures["val/auroc"] == pytest.approx(roc_auc_score(labels, probability), 1e-5)
            for code, name in enumerate(model.class_names):
                options = {"pos_label": code, "zero_division": 0}
                assert figures[f"val/precision/{name}"] == pytest.approx(
                    precision_score(labels, predicted, **options), 1e-5
                )
                assert figures[f"val/recall/{name}"] == pytest.approx(
                    recall_score(labels, predicted, **options), 1e-5
                )
    assert figures["step"] == 1


def test_a_loss_that_is_not_a_number_shows() -> None:
    """One bad image among many must not be left out of the mean."""
    model = build()
    side = Batches(3)
    loss, calls = model.model.network.forward, []

    def once_not_a_number(images: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        logits = loss(images)
        return logits * float("nan") if len(calls) == 1 else logits

    model.model.network.forward = once_not_a_number  # type: ignore[method-assign]
    run = trainer()
    run.validate(model, [loader(side), loader(side)], verbose=False)
    assert run.callback_metrics["val/loss"].isnan()
    assert run.callback_metrics["train/loss"].isfinite()


def test_augmentation_keeps_full_precision_under_bf16() -> None:
    batch = Batches(1)[0]
    seen = []
    for precision in ("32-true", "bf16-mixed"):
        model = build(augment=True)
        model.model.normalize.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].clone())
        )
        run = trainer(max_epochs=1, limit_val_batches=0, precision=precision)
        run.fit(model, loader([batch]))
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def test_class_weights_act_on_the_training_loss_alone() -> None:
    batch = Batches(1)[0]
    weighted = VehicleClassifier(
        Settings(image_size=SIZE), ["car", "van"], [0.5] * 3, [0.3] * 3, class_weights=[1.0, 9.0]
    )
    logits = weighted(batch.images).detach()
    expected = F.cross_entropy(logits, batch.labels, weight=torch.tensor([1.0, 9.0]))
    torch.testing.assert_close(weighted.training_loss(logits, batch.labels), expected)
    run = trainer()
    run.validate(weighted, [loader(Batches(1)), loader(Batches(1))], verbose=False)
    unweighted = float(F.cross_entropy(logits, batch.labels))
    assert float(run.callback_metrics["val/loss"]) == pytest.approx(unweighted, 1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_optimizer_and_schedule(optimizer: str, schedule: str) -> None:
    model = build(
        optimizer=optimizer, schedule=schedule, learning_rate=0.01, weight_decay=0.1, epochs=4
    )
    rates = []

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    run = trainer(max_epochs=4, limit_val_batches=0, callbacks=[Watch()])
    run.fit(model, loader(Batches(5)))
    used = run.optimizers[0]
    assert type(used).__name__.lower() == optimizer
    assert used.param_groups[0]["weight_decay"] == 0.1
    assert used.param_groups[0].get("nesterov", True)
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    if schedule == "constant":
        assert set(rates) == {0.01}
    else:
        assert rates[-1] < 0.0005
    assert (rates[0] < 0.001) == (schedule == "onecycle")


def test_the_rate_rises_in_the_epochs_of_warm_up() -> None:
    def rates(**settings: object) -> list[float]:
        return [share_of_rate(step, 20, Settings(epochs=10, **settings)) for step in range(20)]

    assert rates(warmup_epochs=2)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert set(rates(warmup_epochs=2)[4:]) == {1}
    cosine = rates(warmup_epochs=2, schedule="cosine")
    assert cosine[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert cosine[12] == pytest.approx(0.5)
    assert cosine[4:] == sorted(cosine[4:], reverse=True)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    own = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    expected = []
    for _ in range(20):
        expected.append(own.get_last_lr()[0])
        optimizer.step()
        own.step()
    assert rates(schedule="cosine") == pytest.approx(expected)


def test_the_focal_loss_weights_down_what_is_known() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    weight, shares = torch.tensor([1.0, 2.0, 5.0]), torch.softmax(torch.randn(6, 3), 1)
    for target in (labels, shares):
        options = {"weight": weight, "label_smoothing": 0.1}
        expected = F.cross_entropy(logits, target, **options)  # type: ignore[arg-type]
        torch.testing.assert_close(FocalLoss(0.0, weight, 0.1)(logits, target), expected)
    p = logits.softmax(1)[range(6), labels]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    torch.testing.assert_close(build(focal=2.0).training_loss(logits, labels), expected)


def test_the_focal_loss_has_a_slope_where_an_image_is_certain() -> None:
    logits = torch.tensor([[40.0, 0.0], [0.0, 40.0]], requires_grad=True)
    FocalLoss(0.5)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_dropout_depends_on_seed_and_epoch_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        model = build(dropout=0.5, seed=seed)
        torch.manual_seed(99 + seed * 0)  # whatever the generator's state was before
        trainer(max_epochs=1, limit_val_batches=0).fit(model, loader(Batches(3)))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_hyper_parameters_are_plain_and_rebuild_the_model() -> None:
    model = build(hidden=(5,), batchnorm=True, dropout=0.25)
    told = dict(model.hparams)
    assert told.pop("network_from_python") is False
    rebuilt = VehicleClassifier(**told)
    assert rebuilt.settings == model.settings
    rebuilt.load_state_dict(model.state_dict())
    images = Batches(1)[0].images
    torch.testing.assert_close(rebuilt.eval()(images), model.eval()(images))


def test_label_smoothing_acts_on_the_training_loss_alone() -> None:
    model, batch = build(label_smoothing=0.2), Batches(1)[0]
    logits = model(batch.images).detach()
    expected = F.cross_entropy(logits, batch.labels, label_smoothing=0.2)
    torch.testing.assert_close(model.training_loss(logits, batch.labels), expected)
    run = trainer()
    run.validate(model, [loader(Batches(1)), loader(Batches(1))], verbose=False)
    unsmoothed = float(F.cross_entropy(logits, batch.labels))
    assert float(run.callback_metrics["val/loss"]) == pytest.approx(unsmoothed, 1e-5)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_blends_images_and_labels_alike(mix: str) -> None:
    model = build(**{mix: 1.0})
    seen: dict[str, torch.Tensor] = {}
    model.model.normalize.register_forward_pre_hook(
        lambda _, inputs: seen.update(images=inputs[0].clone())
    )
    model.training_loss.register_forward_pre_hook(
        lambda _, inputs: seen.update(labels=inputs[1].clone())
    )
    images = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    images[1] = 255
    batch = Batch(images, torch.tensor([0, 1]), torch.arange(2))
    trainer(max_epochs=1, limit_val_batches=0).fit(model, loader([batch]))  # type: ignore[arg-type]
    torch.testing.assert_close(seen["labels"].sum(1), torch.ones(2))
    # White is class 1, so that the brightness of a blend is the share of class 1 in its label.
    torch.testing.assert_close(seen["images"].mean((1, 2, 3)) / 255, seen["labels"][:, 1])
    assert 0 < float(seen["labels"][0, 0]) < 1
    pasted = set(seen["images"].unique().tolist()) == {0, 255}
    assert pasted == (mix == "cutmix")


def test_flip_averaging_measures_an_image_and_its_mirror_alike() -> None:
    model = build(flip_averaging=True).eval()
    images = Batches(1)[0].images
    with torch.no_grad():
        logits = model(images)
        one, other = (model.train()(some) for some in (images, images.flip(3)))
        expected = (one + other) / 2
        torch.testing.assert_close(model.eval()(images.flip(3)), logits)
    torch.testing.assert_close(logits, expected)


def test_the_image_size_grows_over_the_epochs() -> None:
    settings = Settings(image_size=128, initial_size=64, pooling="average", epochs=9)
    sizes = [size_in_epoch(epoch, settings) for epoch in range(9)]
    assert sizes == [64, 80, 80, 96, 112, 112, 128, 128, 128]
    assert size_in_epoch(0, Settings(image_size=128)) == 128
    one = Settings(image_size=128, initial_size=64, pooling="average", epochs=1)
    assert size_in_epoch(0, one) == 64


def test_small_images_are_trained_on_and_large_ones_measured() -> None:
    model = VehicleClassifier(
        Settings(image_size=SIZE, initial_size=8, pooling="average", epochs=2),
        ["car", "van"],
        [0.5] * 3,
        [0.3] * 3,
    )
    sizes = []
    model.model.normalize.register_forward_pre_hook(
        lambda _, inputs: sizes.append(inputs[0].shape[2])
    )
    sides = [loader(Batches(1)), loader(Batches(1))]
    trainer(max_epochs=2).fit(model, loader(Batches(1)), sides)
    assert sizes == [8, SIZE, SIZE, SIZE, SIZE, SIZE]


def test_an_empty_batch_counts_for_nothing() -> None:
    """It comes where several devices share fewer images than they are."""
    figures = []
    for batches in (Batches(1), [Batches(1)[0], Batches(1, size=0)[0]]):
        run = trainer()
        model = build(batchnorm=True, flip_averaging=True)
        run.validate(model, loader(batches), verbose=False)  # type: ignore[arg-type]
        figures.append(run.callback_metrics)
    assert figures[0] == figures[1]
