from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

from vehicle_lightning.model.dropout import Dropout

RATES = (0.5, 0.25, 1 / 256, 0.2, 0.9)  # the first three in bytes, the others in 16 bits


def dropped(p: float, elements: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return Dropout(p)(torch.ones(elements)) == 0


@pytest.mark.parametrize("p", RATES)
def test_an_element_is_dropped_with_probability_p_or_divided_by_what_is_kept(p: float) -> None:
    torch.manual_seed(0)
    features = torch.randn(2**18)
    out = Dropout(p)(features)
    is_dropped = out == 0
    assert abs(is_dropped.double().mean() - p) < 4 * np.sqrt(p * (1 - p) / len(features))
    assert torch.allclose(out[~is_dropped], features[~is_dropped] / (1 - p), rtol=1e-4)


@pytest.mark.parametrize("p", RATES)
def test_mean_and_variance_are_those_of_torch(p: float) -> None:
    torch.manual_seed(0)
    features = 1 + torch.rand(2**18)
    ours, reference = Dropout(p)(features).double(), nn.Dropout(p)(features).double()
    error = reference.std() * np.sqrt(2 / len(features))
    assert abs(ours.mean() - reference.mean()) < 4 * error
    assert ours.var().item() == pytest.approx(reference.var().item(), rel=0.05)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_neighbours_are_dropped_independently(p: float) -> None:
    patterns = dropped(p, 8 * 2**16).view(-1, 8).long() @ (2 ** torch.arange(8))
    ones = np.array([bin(pattern).count("1") for pattern in range(256)])
    expected = p**ones * (1 - p) ** (8 - ones) * len(patterns)
    assert chisquare(patterns.bincount(minlength=256).numpy(), expected).pvalue > 0.001


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_positions_and_steps_are_uncorrelated(p: float) -> None:
    torch.manual_seed(0)
    layer, ones = Dropout(p), torch.ones(2**17)
    steps = [layer(ones).numpy() for _ in range(4)]
    pairs = [*pairwise(steps), *((steps[0][lag:], steps[0][:-lag]) for lag in (1, 2, 4, 8, 16, 64))]
    for one, other in pairs:
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(len(one))


def test_same_seed_same_mask_with_any_number_of_threads() -> None:
    threads = torch.get_num_threads()
    once = dropped(0.5, 2**18)
    torch.set_num_threads(threads + 1)
    try:
        assert torch.equal(dropped(0.5, 2**18), once)
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(dropped(0.5, 2**18, seed=1), once)


def test_a_restored_generator_goes_on_with_the_same_masks() -> None:
    layer, ones = Dropout(0.5), torch.ones(1000)
    layer(ones)
    state = torch.get_rng_state()
    first = layer(ones)
    torch.set_rng_state(state)
    assert torch.equal(layer(ones), first)


@pytest.mark.parametrize("p", RATES)
def test_the_gradient_passes_through_the_same_mask(p: float) -> None:
    features = torch.rand(4, 3, 5, 7).add(1).requires_grad_()
    out = Dropout(p)(features)
    out.sum().backward()
    assert torch.allclose(features.grad * features, out)


@pytest.mark.parametrize("p", [0.5, 0.2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_memory_layout_is_kept(p: float, layout: torch.memory_format) -> None:
    out = Dropout(p)(torch.ones(4, 6, 5, 7).to(memory_format=layout))
    assert out.is_contiguous(memory_format=layout)
    assert 0 < (out == 0).sum() < out.numel()


def test_any_shape_and_stride() -> None:
    for features in (torch.ones(3), torch.ones(0, 2), torch.ones(5, 1).expand(5, 9)[:, ::2]):
        out = Dropout(0.5)(features)
        assert out.shape == features.shape
        assert set(out.unique().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    assert Dropout(0.5)(torch.ones(100, dtype=dtype)).dtype == dtype


def test_bf16_under_autocast() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Dropout(0.5), nn.Flatten(), nn.Linear(144, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert network[:2](torch.rand(2, 3, 8, 8)).dtype == torch.bfloat16
        network(torch.rand(2, 3, 8, 8)).sum().backward()
    assert all(weights.grad is not None for weights in network.parameters())


@pytest.mark.parametrize("p", [0.0, 1e-9, 1 - 1e-9, 1])
def test_rates_that_16_bits_do_not_reach_are_those_of_torch(p: float) -> None:
    features = torch.ones(100)
    assert torch.equal(Dropout(p)(features), nn.Dropout(p)(features))


def test_it_is_torchs_dropout_to_whoever_looks() -> None:
    layer, features = Dropout(0.3), torch.rand(4, 5)
    assert isinstance(layer, nn.Dropout)
    assert str(layer) == str(nn.Dropout(0.3))
    assert layer.eval()(features) is features
    with pytest.raises(ValueError, match="probability"):
        Dropout(1.5)
