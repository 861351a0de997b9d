"""Pretrained backbones: torchvision's networks, or timm's, with their ImageNet weights."""

import difflib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from vehicle_lightning.errors import UntrainableError, one_line

Weights = Mapping[str, Tensor]
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which files keep weights
NO_DENSE_LAYER = "squeezenet"  # they end in a convolution
# In training they give two outputs, and their weights expect colours scaled in another way.
NOT_AS_THE_OTHERS = {"googlenet", "inception_v3"}
_TORCHVISION = frozenset(models.list_models(module=models)) - NOT_AS_THE_OTHERS


class Backbone(nn.Module):
    """A network for ImageNet without its last layer: normalised images to features (B, F).

    Its own dropout is off, as `--dropout` is said of the head. Its batch normalisation keeps the
    statistics of ImageNet, which a few hundred images would only blur; scale and shift learn.

    Attributes:
        mean: of red, green and blue in [0, 1], that the weights expect to be taken away.
        std: that they expect to be divided by.
        width: F, numbers an image.
    """

    def __init__(self, name: str) -> None:
        """Build the network; its weights are random until `load_weights`.

        Raises:
            UntrainableError: neither torchvision nor timm, if installed, knows the name, or
                the network does not end in a dense layer.
        """
        super().__init__()
        self.name = name
        self.body, self.mean, self.std = _build(name)
        dense = [(k, m) for k, m in self.body.named_modules() if isinstance(m, nn.Linear)]
        if not dense:
            raise UntrainableError(
                f"--backbone {name} does not end in a dense layer; choose another."
            )
        key, last_layer = dense[-1]
        self.body.set_submodule(key, nn.Identity())
        self.width = last_layer.in_features
        self._learns = True
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, F) for normalised images (B, 3, H, W)."""
        features: Tensor = self.body(images)
        return features.flatten(1)

    def check_sizes(self, pixels: Set[int | None]) -> None:
        """Check that it takes images of these sizes; most take any, vision transformers one.

        Raises:
            UntrainableError: it takes those of one other size only.
        """
        only = getattr(self.body, "image_size", None)  # as torchvision calls it
        patches: Any = getattr(self.body, "patch_embed", None)  # and timm
        if getattr(patches, "strict_img_size", False):
            only = patches.img_size[0]
        if only and pixels - {None, only}:
            raise UntrainableError(
                f"--backbone {self.name} takes images of {only} pixels only; give --image-size "
                f"{only}, and no --initial-size."
            )
        mode, device = self.training, next(self.parameters()).device
        for size in sorted(size for size in pixels if size is not None):
            try:
                with torch.inference_mode():
                    self.eval()(torch.zeros(1, 3, size, size, device=device))
            except (RuntimeError, AssertionError) as error:
                raise UntrainableError(
                    f"--backbone {self.name} takes no images of {size} pixels "
                    f"({one_line(error).rstrip('.')}); give another --image-size."
                ) from error
            finally:
                self.train(mode)

    @property
    def last_convolution(self) -> str:
        """Name of the layer whose output is the last one with height and width."""
        names: list[str] = [name for name, m in self.named_modules() if isinstance(m, nn.Conv2d)]
        return names[-1]

    def train(self, mode: bool = True) -> "Backbone":
        """Switch to training, but for batch normalisation and while the weights are frozen."""
        super().train(mode and self._learns)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def freeze(self, frozen: bool) -> None:
        """Keep the weights as they are, or let them learn, from the next batch on."""
        self._learns = not frozen
        self.requires_grad_(not frozen)
        self.train(not frozen)

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the weights layer by layer, the first one first."""
        layers = (list(module.parameters(recurse=False)) for module in self.body.modules())
        return [layer for layer in layers if layer]

    def load_weights(self, file: Path | None) -> None:
        """Load weights from a file, or from the usual cache, where they are downloaded once.

        Only tensors and plain types are unpickled, so that a file from a stranger cannot run code.

        Raises:
            UntrainableError: they cannot be had, or are those of another network.
        """
        found = _download(self.name) if file is None else _read(file)
        source = "What was downloaded" if file is None else f"--weights {file}"
        self.body.load_state_dict(_matched(found, self, source), strict=False)


def find_backbone(network: nn.Module) -> Backbone | None:
    """Return the backbone that a network has as its `features`, if any."""
    features = getattr(network, "features", None)
    return features if isinstance(features, Backbone) else None


def list_backbones() -> Iterator[str]:
    """Yield what may be named: a line each with parameters and input size.

    timm does not say how many parameters its networks have before it builds them.
    """
    yield f"{'backbone':44} {'parameters':>12}  input, pixels"
    for name in sorted(_TORCHVISION):
        best = models.get_model_weights(name)["DEFAULT"]
        size = best.transforms().crop_size[0]
        if not name.startswith(NO_DENSE_LAYER):
            yield f"{name:44} {best.meta['num_params']:12,}  {size}"
    if importlib.util.find_spec("timm") is None:
        yield 'More with timm: pip install -e ".[backbones]".'
        return
    import timm

    for name in timm.list_models(pretrained=True):
        yield f"{name:44} {'':12}  {timm.get_pretrained_cfg(name).input_size[-1]}"


def _build(name: str) -> tuple[nn.Module, Sequence[float], Sequence[float]]:
    """Return the whole network, and the mean and the deviation of colours that it expects."""
    if name in _TORCHVISION:
        transforms = models.get_model_weights(name)["DEFAULT"].transforms()
        return models.get_model(name, weights=None), transforms.mean, transforms.std
    known, more = sorted(_TORCHVISION), "; timm's are known too where timm is installed"
    if importlib.util.find_spec("timm") is not None:
        import timm

        known, more = sorted({*known, *timm.list_models()}), ""
        if name in known:
            model = timm.create_model(name, pretrained=False)
            facts: Any = model.default_cfg
            return model, facts["mean"], facts["std"]
    near = " or ".join(difflib.get_close_matches(name, known, n=3)) or "resnet18"
    raise UntrainableError(f"There is no --backbone {name}; perhaps you meant {near}{more}.")


def _download(name: str) -> Weights:
    url = models.get_model_weights(name)["DEFAULT"].url if name in _TORCHVISION else None
    try:
        if url is not None:
            return dict(
                torch.hub.load_state_dict_from_url(
                    url, map_location="cpu", progress=False, check_hash=True, weights_only=True
                )
            )
        import timm

        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:  # every network and library fails in its own way
        folder = f"{torch.hub.get_dir()}/checkpoints"
        placing = f"put {url.rsplit('/', 1)[1]} into {folder} or " if url else ""
        raise UntrainableError(
            f"The weights of {name} cannot be downloaded ({one_line(error)}); without a "
            f"network, {placing}name their file by --weights."
        ) from error


def _read(file: Path) -> Weights:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
        for key in WRAPPERS:
            content = content.get(key, content)
        if not all(isinstance(value, Tensor) for value in content.values()):
            raise ValueError("it holds other things than weights")
        return {key.removeprefix("module."): value for key, value in content.items()}
    except Exception as error:  # a damaged or foreign file fails in many ways
        raise UntrainableError(f"--weights {file} cannot be read: {one_line(error)}.") from error


def _matched(found: Weights, backbone: Backbone, source: str) -> Weights:
    """Return the weights under the names of the network.

    Where other names stand in the file, layers are matched in their order: kind and shape of all
    must agree.
    """
    own = _without_counters(backbone.body.state_dict())
    found = _without_counters(found)
    if own.keys() <= found.keys():
        found = {key: found[key] for key in own}
    else:
        last_layer = ("weight", "bias") if len(found) > len(own) else ()
        found = dict(list(found.items())[: len(found) - len(last_layer)])
    mine, theirs = ([(k.rsplit(".")[-1], v.shape) for k, v in w.items()] for w in (own, found))
    if mine != theirs:
        raise UntrainableError(
            f"{source} holds no weights of {backbone.name}: its layers are others, or in another "
            f"order."
        )
    return dict(zip(own, found.values(), strict=True))


def _without_counters(weights: Weights) -> Weights:
    """Leave out how many batches batch normalisation has seen, which some files lack."""
    return {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
