"""The optimizer and the schedule of its learning rate; to use others, replace `build_optimizer`."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from vehicle_lightning.config import Settings
from vehicle_lightning.model.backbone import find_backbone

MOMENTUM = 0.9  # of sgd, in the form of Nesterov


def build_optimizer(
    network: nn.Module, settings: Settings, steps: int
) -> tuple[Optimizer, LRScheduler | None]:
    """Build the optimizer and, unless the learning rate is constant, its schedule.

    Args:
        network: whose weights are to be learnt, on the device where they will be.
        settings: of the run.
        steps: in the whole training; the schedule takes one after each.
    """
    groups = parameter_groups(network, settings)
    # One kernel for all weights; elsewhere PyTorch chooses.
    options: dict[str, Any] = {
        "lr": settings.learning_rate,
        "fused": next(network.parameters()).is_cuda or None,
    }
    optimizer: Optimizer
    match settings.optimizer:
        case "adam":
            optimizer = torch.optim.Adam(groups, **options)
        case "adamw":
            optimizer = torch.optim.AdamW(groups, **options)
        case "sgd":
            optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, **options)
    if settings.schedule == "onecycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        return optimizer, OneCycleLR(optimizer, max_lr=rates, total_steps=steps)
    if settings.schedule == "constant" and not settings.warmup_epochs:
        return optimizer, None
    return optimizer, LambdaLR(optimizer, lambda step: share_of_rate(step, steps, settings))


def share_of_rate(step: int, steps: int, settings: Settings) -> float:
    """Return the learning rate of a step, counted from 0, as a share of the highest one.

    A linear rise over the epochs of warm-up (Goyal et al. 2017), then constant or half a cosine.
    """
    warmup = settings.warmup_epochs * steps // settings.epochs
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def parameter_groups(network: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """Group the weights by learning rate: the head, then the backbone from its first layer on.

    Early layers know edges and colours and need little change: discriminative fine-tuning, Howard
    and Ruder (2018). Weight decay spares biases and what batch normalisation scales and shifts
    by, which are too few to overfit (He et al. 2019, Bag of tricks, section 3.1).
    """
    backbone = find_backbone(network)
    layers = [] if backbone is None else backbone.layers()
    inside = {id(weight) for layer in layers for weight in layer}
    head = [weight for weight in network.parameters() if id(weight) not in inside]
    rates = np.geomspace(settings.backbone_rate, 1, len(layers)) * settings.learning_rate
    groups = []
    for rate, layer in zip([settings.learning_rate, *rates], [head, *layers], strict=True):
        for decays in (True, False):
            weights = [weight for weight in layer if (weight.ndim > 1) == decays]
            decay = settings.weight_decay if decays else 0.0
            if weights:
                groups.append({"params": weights, "lr": float(rate), "weight_decay": decay})
    return groups
