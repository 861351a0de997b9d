"""The focal loss, which weights down what is known already."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FocalLoss(nn.Module):
    """Cross-entropy times (1 - p) ** gamma, p the probability of the class: Lin et al. 2017.

    Of logits (B, C), and labels int64 (B,) or shares (B, C). With gamma 0 it is the cross-entropy.
    """

    weight: Tensor | None

    def __init__(self, gamma: float, weight: Tensor | None = None, smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.smoothing = gamma, smoothing
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the batch, by class weight where labels are given, a scalar."""
        classes = logits.shape[1]
        weight = logits.new_ones(classes) if self.weight is None else self.weight
        total = weight[labels].sum() if labels.ndim == 1 else len(labels)
        shares = F.one_hot(labels, classes) if labels.ndim == 1 else labels
        shares = shares * (1 - self.smoothing) + self.smoothing / classes
        log_p = logits.log_softmax(dim=1)
        # Above zero, where a power below one has no slope.
        unknown = (1 - log_p.exp()).clamp(min=torch.finfo(log_p.dtype).eps)
        return -(weight * shares * unknown**self.gamma * log_p).sum() / total
