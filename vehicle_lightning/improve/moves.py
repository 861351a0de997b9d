"""The moves: what may be changed about a training, one idea at a time, and what each is for.

The list stands in the order in which the moves are tried where no verdict says otherwise: first
what the experiments on photographs gained most by (`experiments/README.md`), then what gained less,
then what was never shown to gain anything alone. A strength is moved by a fixed factor, so that a
move can be taken again from where it led to.

One move changes several settings at once, the usual remedies together, where the network is plain:
no backbone, batch normalisation, residual blocks or pooling, less than four narrow blocks. Some of
them need others: batch normalisation bears a higher rate, a mean over the image needs the depth, a
high rate a schedule that lowers it. What one brought is found by taking it back (`taken_back`).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vehicle_lightning.config import Settings
from vehicle_lightning.conflicts import SMALLEST_FOR_BACKBONE
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.runs.verdict import HIGH_LEARNING_RATE, Kind
from vehicle_lightning.settings_file import setting_in_words

Change = Mapping[str, Any]

SLOW: tuple[Kind, ...] = ("slow convergence", "stopped too early")
TOO_SMALL: tuple[Kind, ...] = ("underfitting", "sound")
RESTRAINT: tuple[Kind, ...] = ("overfitting", "too little data")
STRENGTHS = {  # of the augmentation, each with its largest sensible value
    **{"rotation": 45.0, "shear": 30.0, "scale": 0.5, "shift": 0.3, "erasing": 0.5},
    **{"brightness": 0.6, "contrast": 0.6, "saturation": 0.6},
}
MOST_BLOCKS, WIDEST, LARGEST_IMAGE, SMALLEST_BATCH = 5, 512, 224, 16
OWN_LAYERS = ("batchnorm", "residual")  # that a backbone has none or its own of
REMEDIES: Change = {
    **{"batchnorm": True, "channels": (16, 32, 64, 128), "pooling": "average"},
    **{"learning_rate": 3e-3, "schedule": "cosine", "batch_size": 32},
}
BACKBONE = "resnet18"
TOGETHER, TAKING_BACK = "the usual remedies together", "taking back "


@dataclass(frozen=True)
class Move:
    """One idea of what to change.

    Attributes:
        name: in words that fit into "... brought 2 points".
        aims: the verdicts it answers.
        change: from settings to what changes of them; None where it does not apply.
        cost: times the seconds of a training; what more epochs and larger images cost is added to
            that by themselves.
    """

    name: str
    aims: tuple[Kind, ...]
    change: Callable[[Settings], Change | None]
    cost: float = 1.0


@dataclass(frozen=True)
class Candidate:
    """A move from given settings.

    Attributes:
        move: its name.
        change: the settings that it changes, with their new values.
        settings: all settings after it.
        cost: times the seconds of a training with the settings before it, estimated.
        aims: the verdicts it answers.
    """

    move: str
    change: Change
    settings: Settings
    cost: float
    aims: tuple[Kind, ...]


def _switch(name: str, value: Any = True, **others: Any) -> Callable[[Settings], Change | None]:
    """Return what switches a setting on that is off, and changes others with it."""

    def change(s: Settings) -> Change | None:
        is_there = getattr(s, name) or (s.backbone and name in OWN_LAYERS)
        return None if is_there else {name: value, **others}

    return change


def _remedies(s: Settings) -> Change | None:
    channels, largest = REMEDIES["channels"], REMEDIES["batch_size"]
    is_small = len(s.channels) < len(channels) and max(s.channels) <= max(channels)
    is_plain = s.backbone is None and s.pooling == "none" and not (s.batchnorm or s.residual)
    if not is_small or not is_plain or s.optimizer == "sgd":  # which takes other rates
        return None
    change = {**REMEDIES, "batch_size": min(largest, s.batch_size)}
    return {name: value for name, value in change.items() if value != getattr(s, name)}


def _higher_rate(s: Settings) -> Change | None:
    rate = s.learning_rate * (10 if s.learning_rate < 2e-4 else 3)
    return {"learning_rate": float(f"{rate:.2g}")} if rate <= HIGH_LEARNING_RATE else None


def _lower_rate(s: Settings) -> Change | None:
    return (
        {"learning_rate": float(f"{s.learning_rate / 3:.2g}")} if s.learning_rate > 5e-5 else None
    )


def _cosine(s: Settings) -> Change | None:
    return {"schedule": "cosine"} if s.schedule == "constant" else None


def _deeper(s: Settings) -> Change | None:
    wider = min(2 * s.channels[-1], WIDEST)
    fits = s.backbone is None and len(s.channels) < MOST_BLOCKS
    return {"channels": (*s.channels, wider)} if fits else None


def _wider(s: Settings) -> Change | None:
    fits = s.backbone is None and 2 * max(s.channels) <= WIDEST
    return {"channels": tuple(2 * width for width in s.channels)} if fits else None


def _pooling(s: Settings) -> Change | None:
    # The mean over the image of fewer channels than those of three blocks tells too little.
    fits = s.backbone is None and s.pooling == "none" and len(s.channels) >= 3
    return {"pooling": "average"} if fits else None


def _augment(s: Settings) -> Change | None:
    # What never looks the same twice takes longer to learn: in as many epochs it was behind.
    is_on = s.augment or s.trivial_augment
    return None if is_on else {"augment": True, "epochs": 2 * s.epochs}


def _trivial_augment(s: Settings) -> Change | None:
    if s.trivial_augment:
        return None
    return {"trivial_augment": True} | (
        {"augment": False} if s.augment else {"epochs": 2 * s.epochs}
    )


def _strength(s: Settings, factor: float) -> Change | None:
    if not s.augment:
        return None
    values = {name: min(factor * getattr(s, name), top) for name, top in STRENGTHS.items()}
    changed = {name: round(v, 4) for name, v in values.items() if v != getattr(s, name)}
    return changed or None


def _mirror(s: Settings) -> Change | None:
    # Where training images are mirrored, a mirror image has the same label.
    fits = s.augment and s.flip > 0 and not s.flip_averaging
    return {"flip_averaging": True} if fits else None


def _dropout(s: Settings) -> Change | None:
    return {"dropout": 0.5 if s.dropout else 0.2} if s.dropout < 0.5 else None


def _less_dropout(s: Settings) -> Change | None:
    return {"dropout": round(s.dropout / 2, 2) if s.dropout > 0.1 else 0.0} if s.dropout else None


def _larger_images(s: Settings) -> Change | None:
    size = min(8 * round(1.5 * s.image_size / 8), LARGEST_IMAGE)
    return {"image_size": size} if size > s.image_size else None


def _smaller_batches(s: Settings) -> Change | None:
    size = max(s.batch_size // 4, SMALLEST_BATCH)
    return {"batch_size": size} if size < s.batch_size else None


def _backbone(s: Settings) -> Change | None:
    if s.backbone or s.image_size < SMALLEST_FOR_BACKBONE or not weights_are_at_hand(BACKBONE):
        return None
    names = ("channels", "first_stride", "residual")
    plain = {name: Settings.model_fields[name].default for name in names}
    return {"backbone": BACKBONE, "pooling": "none", "initial_size": None, **plain}


MOVES = (
    Move(TOGETHER, (), _remedies, cost=2.5),
    Move("a higher learning rate", (*SLOW, "underfitting", "too little data"), _higher_rate),
    Move("batch normalisation", (*SLOW, *TOO_SMALL), _switch("batchnorm"), cost=1.3),
    Move("a deeper network", (*TOO_SMALL, *RESTRAINT), _deeper, cost=1.2),
    Move("global average pooling", RESTRAINT, _pooling),
    Move("a cosine schedule", (*SLOW, "too little data"), _cosine),
    Move("larger images", (*TOO_SMALL, "too little data"), _larger_images),
    Move("augmentation", RESTRAINT, _augment, cost=1.25),
    Move("TrivialAugment", RESTRAINT, _trivial_augment, cost=1.25),
    Move("averaging over the mirror image", RESTRAINT, _mirror),
    Move("smaller batches", SLOW, _smaller_batches, cost=1.2),
    Move("more epochs", SLOW, lambda s: {"epochs": 2 * s.epochs}),
    Move("residual blocks", TOO_SMALL, _switch("residual"), cost=2.5),
    Move("a wider network", TOO_SMALL, _wider, cost=2.0),
    Move("a pretrained backbone", (*TOO_SMALL, "too little data"), _backbone, cost=10.0),
    Move("dropout", RESTRAINT, _dropout, cost=1.1),
    Move("stronger augmentation", RESTRAINT, lambda s: _strength(s, 2)),
    Move("gentler augmentation", (*SLOW, *TOO_SMALL), lambda s: _strength(s, 0.5)),
    Move("weight decay", RESTRAINT, _switch("weight_decay", 0.05, optimizer="adamw")),
    Move("label smoothing", RESTRAINT, _switch("label_smoothing", 0.1)),
    Move("mixup", RESTRAINT, _switch("mixup", 0.2)),
    Move("a dense layer", ("underfitting",), _switch("hidden", (128,))),
    Move("less dropout", TOO_SMALL, _less_dropout),
    Move("a lower learning rate", ("diverged",), _lower_rate),
)


def listed(settings: Settings) -> Iterator[Candidate]:
    """Yield what the moves of the list make of the settings, where they apply."""
    for move in MOVES:
        if (change := move.change(settings)) and (found := _moved(move, settings, change)):
            yield found


def proposed(flag: str, settings: Settings) -> Candidate | None:
    """Return the move that a flag of a verdict, such as `--dropout 0.5`, proposes.

    It goes by the name of the move of the list that changes the same in the same direction, if any,
    and is that move where the value is the same too, with what else it changes: augmentation brings
    more epochs. None where it does not go together with the settings.
    """
    name, *words = flag.removeprefix("--").split()
    key = name.replace("-", "_")
    values = [json.loads(word) for word in words]  # numbers
    is_list = isinstance(getattr(settings, key), tuple)
    change = {key: tuple(values) if is_list else values[0] if values else True}
    for move in MOVES:
        own = move.change(settings) or {}
        is_its_own = key == next(iter(own), None) and move.name != TOGETHER
        if is_its_own and _course(settings, key, own) == _course(settings, key, change):
            return _moved(move, settings, own if own[key] == change[key] else change)
    return _candidate(in_words(change), settings, change)


def taken_back(before: Settings, after: Settings, now: Settings) -> Iterator[Candidate]:
    """Yield the settings with one of the usual remedies taken back, for each of them.

    Args:
        before: without the remedies.
        after: with them.
        now: from where they are taken back; what has changed again since then is left alone.
    """
    for name in REMEDIES:
        old, value = getattr(before, name), getattr(after, name)
        if old != value == getattr(now, name):
            move = f"{TAKING_BACK}{in_words({name: value})}"
            if found := _candidate(move, now, {name: old}):
                yield found


def _course(settings: Settings, key: str, change: Change) -> object:
    """Return in what direction a setting changes: longer, shorter, more, less, or to what."""
    before, after = getattr(settings, key), change[key]
    if isinstance(before, tuple):
        return len(after) > len(before), len(after) < len(before)
    is_number = isinstance(before, int | float) and not isinstance(before, bool)
    return after > before if is_number else after


def _moved(move: Move, settings: Settings, change: Change) -> Candidate | None:
    return _candidate(move.name, settings, change, move.cost, move.aims)


def _candidate(
    move: str,
    settings: Settings,
    change: Change,
    cost: float = 1.0,
    aims: tuple[Kind, ...] = (),
) -> Candidate | None:
    try:
        after = settings.changed(change)
    except SettingsError:  # too many blocks for the image, say
        return None
    longer = after.epochs / settings.epochs
    larger = (after.image_size / settings.image_size) ** 2
    return Candidate(move, change, after, cost * longer * larger, aims)


def in_words(change: Change) -> str:
    """Return changed settings in words: `batchnorm, channels 16 32 64`."""
    return ", ".join(setting_in_words(name, value) for name, value in change.items())


def weights_are_at_hand(backbone: str) -> bool:
    """Whether the weights have been downloaded before; a walk downloads nothing."""
    from torch import hub  # seconds to import, and imported anyway where anything is trained
    from torchvision.models import get_model_weights

    url = str(get_model_weights(backbone)["DEFAULT"].url)
    return (Path(hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]).is_file()
