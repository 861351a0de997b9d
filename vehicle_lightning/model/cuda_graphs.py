"""Training on a GPU without launching each kernel: CUDA graphs.

For small images the host takes longer to launch the kernels of a step than the GPU to run them.
"""

from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from vehicle_lightning.errors import SettingsError, UntrainableError, one_line


def check_recordable(trainer: L.Trainer) -> None:
    """Refuse a Trainer in which a network cannot train by CUDA graphs.

    Raises:
        SettingsError: it has no GPU or several, or adds up gradients over several steps.
    """
    if trainer.world_size > 1 or trainer.strategy.root_device.type != "cuda":
        raise SettingsError("--cuda-graphs needs one CUDA GPU; take it back by --no-cuda-graphs.")
    if trainer.accumulate_grad_batches > 1:
        raise SettingsError(
            "--cuda-graphs cannot add up gradients; leave out --accumulate-grad-batches."
        )


def record(network: nn.Module) -> None:
    """Let a network train by CUDA graphs from now on: one for each shape of a batch.

    Each is recorded in the first step that has the shape, or in which other weights are frozen, and
    replayed in those after it; outputs and gradients are what they were. In eval mode, without
    gradients, and in a second pass before the gradients of the first, the network runs as before.
    Gradients lie in the memory of the graph: the next step overwrites them, so that they cannot add
    up over several steps.

    Args:
        network: on a GPU; from images, float (B, 3, H, W), to logits (B, C). Hooks inside it see
            the recording alone, and it must not wait for values on the GPU.

    Raises:
        UntrainableError: in such a step, where the network does wait for the GPU.
    """
    graphs: dict[tuple[Any, ...], Callable[[Tensor], Tensor]] = {}
    waiting: list[bool] = []  # for the gradients of a pass, of which the graph holds one at a time
    pool = torch.cuda.graph_pool_handle()  # one for all, as one at a time is replayed
    forward: Callable[[Tensor], Tensor] = type(network).forward.__get__(network)

    def replay(images: Tensor) -> Tensor:
        if waiting or not (network.training and torch.is_grad_enabled()):
            return forward(images)
        kind = (images.shape, tuple(weight.requires_grad for weight in network.parameters()))
        if kind not in graphs:
            graphs[kind] = _recorded(network, forward, images.detach(), pool)
        logits = graphs[kind](images)
        waiting.append(True)
        logits.register_hook(lambda _: waiting.clear())  # type: ignore[no-untyped-call]
        return logits

    network.forward = replay


class _Part(nn.Module):
    """A network by its own forward method, whatever has taken its place."""

    def __init__(self, network: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._forward = forward

    def forward(self, images: Tensor) -> Tensor:
        return self._forward(images)


def _recorded(
    network: nn.Module, forward: Callable[[Tensor], Tensor], images: Tensor, pool: Any
) -> Callable[[Tensor], Tensor]:
    """Return the network as a graph; its running means and the random numbers stay as they are."""
    before = [buffer.clone() for buffer in network.buffers()]
    precision = torch.get_autocast_dtype("cuda")
    half = torch.autocast(
        "cuda", precision, enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False
    )
    with torch.random.fork_rng([images.device]), half:
        try:
            graph = torch.cuda.make_graphed_callables(
                _Part(network, forward), (images.clone(),), allow_unused_input=True, pool=pool
            )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UntrainableError(
                f"The network cannot be recorded ({one_line(error)}); leave out --cuda-graphs."
            ) from error
    with torch.no_grad():
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
    return cast(Callable[[Tensor], Tensor], graph)
