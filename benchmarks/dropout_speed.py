"""Dropout on a CPU, forward and backward: ours against torch's, for the case study's feature maps.

    python benchmarks/dropout_speed.py [--rounds 9] [--threads 2]

The rounds alternate between the two; printed are milliseconds and the ratio, each the median over
the rounds, by the clock and in processor time, which other work on the machine disturbs less.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vehicle_lightning.model.dropout import Dropout
from vehicle_lightning.parallel import keep_freed_memory

SHAPES = ((128, 16, 112, 112), (128, 32, 56, 56))
DTYPES = (torch.float32, torch.bfloat16)
RATES = (0.5, 0.2)


def main() -> None:
    """Print a row for each shape, dtype and rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    print(f"{'':45}{'ours ms':>10}{'torch ms':>10}{'ratio':>8}{'of CPU time':>13}")
    for shape in SHAPES:
        for dtype in DTYPES:
            for p in RATES:
                name = f"{shape} {dtype} p={p}"
                print(f"{name:45}{compare(shape, dtype, p, options.rounds)}", flush=True)


def compare(shape: tuple[int, ...], dtype: torch.dtype, p: float, rounds: int) -> str:
    """Return the cells of one row."""
    features, gradient = (
        torch.rand(shape, dtype=dtype).to(memory_format=torch.channels_last) for _ in range(2)
    )
    features.requires_grad_()
    layers = (Dropout(p), nn.Dropout(p))
    for layer in layers:
        timed(layer, features, gradient)
    pairs = [[timed(layer, features, gradient) for layer in layers] for _ in range(rounds)]
    ours, theirs = (statistics.median(pair[i][0] for pair in pairs) for i in range(2))
    by_clock, by_processor = (
        statistics.median(one[kind] / other[kind] for one, other in pairs) for kind in range(2)
    )
    return f"{1e3 * ours:10.1f}{1e3 * theirs:10.1f}{by_clock:8.2f}{by_processor:13.2f}"


def timed(
    layer: Callable[[Tensor], Tensor], features: Tensor, gradient: Tensor
) -> tuple[float, float]:
    """Return the seconds of a forward and a backward pass, by the clock and of the processor."""
    features.grad = None
    start = time.perf_counter(), time.process_time()
    layer(features).backward(gradient)
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
