"""Which settings do not go together, each in one sentence."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vehicle_lightning.config import Settings

LARGEST_SEED = 2**31 - 1
SMALLEST_FOR_BACKBONE = 32  # pixels; what a network for ImageNet halves to one


def conflicts(s: "Settings") -> Iterator[str]:
    """Say what is wrong with these settings together; nothing where they fit."""
    if s.val_fraction + s.test_fraction >= 1:
        yield (
            f"--val-fraction {s.val_fraction:g} and --test-fraction {s.test_fraction:g} leave "
            f"nothing to train on"
        )
    asked = (s.test_fraction > 0, s.test_csv is not None, s.split_column is not None)
    if asked[1] and sum(asked) > 1:
        yield "--test-csv gives the test images; leave out --test-fraction and --split-column"
    if s.fold is not None and s.folds is None:
        yield f"--fold {s.fold} needs --folds, the number of folds"
    if s.fold is not None and s.folds is not None and s.fold >= s.folds:
        yield f"--fold {s.fold} is none of the folds 0 to {s.folds - 1}"
    if s.seed + s.seeds > LARGEST_SEED + 1:
        yield f"--seed {s.seed} and --seeds {s.seeds} go beyond {LARGEST_SEED}"
    if s.name is not None and not is_folder_name(s.name):
        yield f"--name {s.name!r} must be usable as one folder's name"
    if s.batchnorm and s.batch_size == 1:
        yield "--batchnorm needs a --batch-size of at least 2"
    if s.augment and s.trivial_augment:
        yield "--augment and --trivial-augment are two ways to change images; leave one out"
    if s.balanced and s.class_weights:
        yield "--balanced and --class-weights both make up for rare classes; leave one out"
    if s.balanced and s.overfit_batches is not None:
        yield "--overfit-batches takes the same batches in every epoch; leave out --balanced"
    if s.warmup_epochs and s.schedule == "onecycle":
        yield "--schedule onecycle has a warm-up of its own; leave out --warmup-epochs"
    if s.pretrained is not None and s.weights is not None:
        yield "--pretrained brings its weights along; leave out --weights"
    if s.overfit_batches is not None and s.limit_train_batches is not None:
        yield "--overfit-batches limits the training batches too; leave out --limit-train-batches"
    if s.cuda_graphs and s.accumulate_grad_batches > 1:
        yield "--cuda-graphs cannot add up gradients; leave out --accumulate-grad-batches"
    if s.warmup_epochs >= s.epochs:
        yield f"--warmup-epochs {s.warmup_epochs} must be fewer than --epochs {s.epochs}"
    if s.backbone is None:
        yield from _of_own_blocks(s)
    else:
        yield from _of_backbone(s)


def is_folder_name(name: str) -> bool:
    """Whether a name can be that of one folder, on any system."""
    return bool(name.strip(" .")) and not any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name)


def _of_own_blocks(s: "Settings") -> Iterator[str]:
    if s.frozen_epochs or s.weights is not None:
        yield "--frozen-epochs and --weights need a --backbone"
    blocks = len(s.channels)
    smallest = s.first_stride * 2**blocks
    before = f"--first-stride {s.first_stride} divides it and " if s.first_stride > 1 else ""
    limit = f"{smallest}, as {before}each of the {blocks} blocks of --channels halves it"
    if s.image_size < smallest:
        yield f"--image-size {s.image_size} must be at least {limit}"
    if s.initial_size is not None:
        if s.pooling == "none":
            yield "--initial-size needs --pooling average or max, which take any size"
        if not smallest <= s.initial_size <= s.image_size:
            yield (
                f"--initial-size {s.initial_size} must be at least {limit}, and at most "
                f"--image-size {s.image_size}"
            )


def _of_backbone(s: "Settings") -> Iterator[str]:
    layers = ("channels", "first_stride", "residual", "pooling")
    given = [f"--{name.replace('_', '-')}" for name in layers if not s.is_default(name)]
    if given:
        yield f"--backbone takes the place of the layers of {' and '.join(given)}"
    if s.image_size < SMALLEST_FOR_BACKBONE:
        yield f"--backbone needs an --image-size of {SMALLEST_FOR_BACKBONE} or more"
    if s.initial_size is not None and not SMALLEST_FOR_BACKBONE <= s.initial_size <= s.image_size:
        yield (
            f"--initial-size {s.initial_size} must be at least {SMALLEST_FOR_BACKBONE} and at most "
            f"--image-size {s.image_size}"
        )
