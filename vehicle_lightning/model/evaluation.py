"""Evaluation: a classifier over the images of a split, in eval mode, without Lightning."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from vehicle_lightning.config import Settings
from vehicle_lightning.model.network import ImageClassifier

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@torch.inference_mode()
def evaluate(
    classifier: ImageClassifier, batches: Iterable[Any], device: torch.device, precision: str
) -> tuple[Tensor, Tensor]:
    """Return logits, float64 of shape (N, C), and labels, int64 of shape (N,), on the CPU.

    Args:
        classifier: put on the device and into eval mode.
        batches: each (images, labels), with or without more behind. The images: uint8 or float
            (B, 3, H, W) in [0, 255], or features (B, F) for the head of the network.
        device: where to compute.
        precision: as Lightning's Trainer calls it.
    """
    classifier.to(device, torch.float64 if precision == "64-true" else None).eval()
    autocast = torch.autocast(device.type, AUTOCAST.get(precision), precision in AUTOCAST)
    # Left on the device until the end: to bring each batch to the host would wait for it.
    logits, labels = [], []
    own = next(classifier.parameters()).dtype
    for batch in batches:
        dtype = own if batch[0].is_floating_point() else None
        with autocast:
            logits.append(classifier(batch[0].to(device, dtype, non_blocking=True)))
        labels.append(batch[1])
    return torch.cat(logits).cpu().double(), torch.cat(labels).cpu()


@torch.inference_mode()
def compute_features(
    classifier: ImageClassifier, batches: Iterable[Any], device: torch.device
) -> Tensor:
    """Return the features of all images, float32 of shape (N, F) on the CPU.

    Args:
        classifier: whose network has `features`; put on the device, and into eval mode meanwhile.
        batches: as in `evaluate`.
        device: where to compute.
    """
    mode = classifier.to(device).training
    classifier.eval()
    features = [classifier.features(batch[0].to(device)).float().cpu() for batch in batches]
    classifier.train(mode)
    return torch.cat(features)


def features_suffice(settings: Settings) -> bool:
    """Whether a backbone sees the same in every epoch: it never learns, and no image changes."""
    s = settings
    changes = (s.augment, s.trivial_augment, s.mixup, s.cutmix, s.initial_size, s.flip_averaging)
    return s.frozen_epochs >= s.epochs and not any(changes)


def predictions_table(
    logits: Tensor, labels: Tensor, class_names: Sequence[str], files: Sequence[str]
) -> pd.DataFrame:
    """Return predictions as `predictions_val.csv` has them, worst first.

    Args:
        logits: float64 of shape (N, C).
        labels: int64 of shape (N,).
        class_names: C names.
        files: N names.

    Returns:
        One row an image: `file`, `label`, `prediction`, `p_<class>` for each class (float, summing
        to 1), `loss` (cross-entropy, unweighted), in descending order of `loss`; its index is the
        place of the image among the N.
    """
    names = np.array(class_names, dtype=object)
    probabilities = logits.softmax(dim=1).numpy()
    frame = pd.DataFrame(
        {
            "file": list(files),
            "label": names[labels.numpy()],
            "prediction": names[logits.argmax(dim=1).numpy()],
            **{f"p_{name}": probabilities[:, i] for i, name in enumerate(names)},
            "loss": F.cross_entropy(logits, labels, reduction="none").numpy(),
        }
    )
    return frame.sort_values("loss", ascending=False, kind="stable")
