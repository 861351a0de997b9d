import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vehicle_lightning.data.batches import (
    BatchDataset,
    EvaluationBatches,
    ResidentDataset,
    TrainingBatches,
    fits_on,
)


@given(rows=st.integers(2, 300), batch_size=st.integers(1, 64), world_size=st.integers(1, 4))
def test_training_batches_cover_the_rows_once_in_equal_shares(
    rows: int, batch_size: int, world_size: int
) -> None:
    rows = max(rows, world_size)
    everything = np.arange(100, 100 + rows)
    ranks = [TrainingBatches(everything, batch_size, 0, r, world_size) for r in range(world_size)]
    shares = [list(rank) for rank in ranks]
    used = np.concatenate([batch for share in shares for batch in share])
    assert len(set(used)) == len(used) == rows - rows % world_size
    assert set(used) <= set(everything)
    for share, rank in zip(shares, ranks, strict=True):
        assert len(share) == len(rank)
        assert [len(batch) for batch in share] == [len(batch) for batch in shares[0]]
    if batch_size > 1 and rows >= 2 * world_size:
        assert min(len(batch) for batch in shares[0]) > 1


@given(rows=st.integers(1, 300), batch_size=st.integers(1, 64), world_size=st.integers(1, 4))
def test_evaluation_batches_give_each_row_exactly_once(
    rows: int, batch_size: int, world_size: int
) -> None:
    shares = [
        list(EvaluationBatches(np.arange(rows), batch_size, rank, world_size))
        for rank in range(world_size)
    ]
    seen = np.concatenate([batch for share in shares for batch in share])
    assert sorted(seen) == list(range(rows))
    assert len({len(share) for share in shares}) == 1
    assert max(len(batch) for share in shares for batch in share) <= batch_size


def test_the_order_follows_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = TrainingBatches(np.arange(50), 16, seed)
        batches.set_epoch(epoch)
        return np.concatenate(list(batches)).tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


@pytest.mark.parametrize(("rows", "sizes"), [(33, [16, 17]), (34, [16, 16, 2]), (1, [1])])
def test_a_lone_last_image_joins_the_batch_before(rows: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in TrainingBatches(np.arange(rows), 16, 0)] == sizes


def test_a_batch_is_transposed_not_reshaped() -> None:
    pixels = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    pixels[:, :, :4] = (255, 0, 0)  # the left half is red
    batch = BatchDataset(pixels, np.array([7, 9]))[np.array([0, 1])]
    assert batch.images.shape == (2, 3, 8, 8)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert (batch.images[:, 0, :, :4] == 255).all()
    assert (batch.images[:, 0, :, 4:] == 0).all()
    assert (batch.images[:, 1:] == 0).all()
    assert batch.labels.tolist() == [7, 9]
    assert batch.rows.tolist() == [0, 1]


def test_pixels_on_the_device_give_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vehicle_lightning.data.batches.AT_ONCE", 4)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    mapped = BatchDataset(pixels, np.arange(10) % 3)
    resident = ResidentDataset(mapped, torch.device("cpu"))
    for rows in TrainingBatches(np.arange(10), 3, seed=0):
        for one, other in zip(mapped[rows], resident[rows], strict=True):
            assert torch.equal(one, other)
            assert one.dtype == other.dtype
            assert one.stride() == other.stride()


def test_pixels_may_take_half_of_what_a_gpu_has_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 4000))
    assert fits_on(torch.device("cuda", 0), 500)
    assert not fits_on(torch.device("cuda", 0), 501)
    assert not fits_on(torch.device("cpu"), 1)
