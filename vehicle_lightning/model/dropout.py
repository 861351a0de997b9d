"""Dropout with the meaning of `torch.nn.Dropout` at a sixth to a third of its price.

There torch draws one number an element, on one thread, which takes as long as all other layers of a
small network together. Here one number of 64 random bits decides about eight elements.
"""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, faster on a CPU and unchanged on other devices.

    An element is dropped where its random byte is one of the lowest 256 p; where that is no whole
    number, where its random 16 bits are one of the lowest 65536 p, rounded. The rest is divided by
    the share that is kept, so that the expectation is the input. The bits are drawn by torch's
    global generator on one thread: the same seed gives the same mask with any number of threads.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return floats of the same shape, dtype and memory layout; in eval mode the input."""
        bits = torch.int8 if 256 * self.p % 1 == 0 else torch.int16
        values = 2 ** torch.iinfo(bits).bits
        dropped = round(values * self.p)
        is_usual = 0 < dropped < values and not self.inplace and features.device.type == "cpu"
        # A compiler makes a kernel of its own, which is fast.
        if not (self.training and is_usual) or torch.compiler.is_compiling():
            return super().forward(features)
        words = -(-features.numel() * bits.itemsize // 8)
        random = torch.empty(words, dtype=torch.int64).random_(-(2**63), None).view(bits)
        # Compared into its own type: into bools a CPU's vector units would not.
        kept = random.ge_(torch.iinfo(bits).min + dropped)
        mask = torch.empty_like(features)
        mask.copy_(kept.as_strided(mask.shape, mask.stride())).mul_(values / (values - dropped))
        return features * mask
