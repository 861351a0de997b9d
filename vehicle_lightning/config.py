"""Every setting once: typed, ranged, with a one-line help.

The settings stand in groups, one per step of the pipeline. `Settings` joins the groups into one
flat set of names, which are the command-line flags and the keys of a YAML file alike. A step takes
only its own group, so that it can be replaced without touching the others.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vehicle_lightning.conflicts import LARGEST_SEED, conflicts
from vehicle_lightning.errors import SettingsError

RETIRED = {"compile"}  # settings that older runs have, and that are read without effect
LONGEST_NAME = 120  # characters of a run's name that is made of its settings

Width = Annotated[int, Field(ge=1, le=4096)]
Pixels = Annotated[int, Field(ge=8, le=2048)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Batches = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]


def limited(batches: int, limit: float) -> int:
    """Return how many batches are left by a number, or as a float a fraction, of them."""
    return int(limit * batches) if isinstance(limit, float) else min(limit, batches)


Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]


def nearest_setting(name: str, names: Iterable[str]) -> str:
    """Return a hint at the setting that an unknown name resembles, or nothing."""
    near = difflib.get_close_matches(name, names, n=1)
    return f" Perhaps you meant {near[0]}." if near else ""


class SettingsGroup(BaseModel):
    """Base of all groups: immutable, finite numbers only, unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*")
    @classmethod
    def _home(cls, value: Any) -> Any:
        """Let ~ mean the home folder, in every path."""
        return tuple(map(_at_home, value)) if isinstance(value, tuple) else _at_home(value)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            mistake = error.errors()[0]
            message = mistake["msg"].removeprefix("Value error, ")
            where = ".".join(str(part) for part in mistake["loc"])
            if mistake["type"] == "extra_forbidden":
                hint = nearest_setting(where, type(self).model_fields)
                raise SettingsError(f"There is no setting {where}.{hint}") from error
            sentence = f"{where}: {message} (got {mistake['input']!r})." if where else f"{message}."
            raise SettingsError(sentence) from error

    def is_default(self, name: str) -> bool:
        """Whether a setting has its default."""
        return bool(getattr(self, name) == type(self).model_fields[name].default)


class SourceSettings(SettingsGroup):
    """Which pictures."""

    data_dir: Path | None = None
    """Folder of a CSV and images, or of class folders; without it, synthetic vehicles are used."""
    csv: Path = Path("train.csv")
    """CSV file, relative to the data dir."""
    image_dir: Path = Path("images")
    """Image folder, relative to the data dir."""
    image_column: str = "image_names"
    """CSV column with the image file names."""
    label_column: str = "emergency_or_not"
    """CSV column with the labels."""
    group_column: str | None = None
    """CSV column of what belongs together, as a camera or a patient: never in two splits."""
    split_column: str | None = None
    """CSV column that says train, val or test of each image."""
    duplicates: Literal["exact", "near", "off"] = "near"
    """Which duplicates stay in one split: equal files, pictures that look the same too, or none."""
    cache_dir: Path | None = None
    """Folder of caches and synthetic vehicles; by default the user's cache folder."""


class DataSettings(SourceSettings):
    """Which pictures, how they are split, and how they are read."""

    skip_unreadable: bool = False
    """Go on without the images that are missing or cannot be read."""
    image_size: Pixels = 96
    """Height and width of the network's input, in pixels."""
    val_fraction: float = Field(0.1, gt=0, lt=1)
    """Fraction of the images held out for validation."""
    test_fraction: float = Field(0.0, ge=0, lt=1)
    """Fraction of the images kept for a test at the end."""
    train_fraction: float = Field(1.0, gt=0, le=1)
    """Fraction of the training images to train on; a smaller one is a part of a larger one."""
    test_csv: Path | None = None
    """CSV of the test images, relative to the data dir, with the columns and folder of --csv."""
    folds: int | None = Field(None, ge=2)
    """Cross-validate: split into so many folds, and train once for each, which validates."""
    fold: int | None = Field(None, ge=0)
    """Train only for this one of the --folds, counted from 0."""
    split_seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the split; kept apart from --seed."""
    batch_size: int = Field(128, ge=1)
    """Images per training step and device."""
    cache: Literal["disk", "none"] = "disk"
    """Decode each image once into a memory-mapped file, or at every use."""
    num_workers: int = Field(0, ge=0, le=256)
    """Processes that load batches; 0 loads in the main process."""


class AugmentSettings(SettingsGroup):
    """Random changes to the training images, drawn anew for each image and step."""

    augment: bool = False
    """Change the training images at random, as below."""
    trivial_augment: bool = False
    """TrivialAugment in the place of --augment: one random change of random strength an image."""
    flip: Fraction = 0.5
    """Probability of mirroring left and right."""
    rotation: float = Field(10.0, ge=0, le=180)
    """Largest rotation, in degrees."""
    shear: float = Field(8.0, ge=0, le=60)
    """Largest horizontal shear, in degrees."""
    scale: float = Field(0.15, ge=0, lt=1)
    """Largest relative change of size."""
    shift: Fraction = 0.1
    """Largest shift per axis, as a fraction of the image's side."""
    brightness: Fraction = 0.2
    """Largest relative change of brightness."""
    contrast: Fraction = 0.2
    """Largest relative change of contrast."""
    saturation: Fraction = 0.2
    """Largest relative change of colour saturation."""
    erasing: Fraction = 0.25
    """Probability of erasing a random rectangle."""
    flip_averaging: bool = False
    """Measure on the mean of the logits of an image and its mirror image."""


class NetworkSettings(SettingsGroup):
    """The layers of the network; the defaults are the case study's."""

    channels: tuple[Width, ...] = Field((16, 32), min_length=1)
    """Channels of each convolutional block; one more number adds a block."""
    first_stride: int = Field(1, ge=1, le=8)
    """Stride of the first convolution, 2 x stride + 1 pixels wide; 2 costs far less time."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout probability after each pooling and dense layer."""
    batchnorm: bool = False
    """Batch normalisation after each hidden ReLU."""
    residual: bool = False
    """Two more convolutions after each block, bridged by a skip connection."""
    pooling: Literal["none", "average", "max"] = "none"
    """Global pooling before the dense layers; none flattens."""
    pretrained: Path | None = None
    """Run folder or checkpoint of the same network to take the weights from."""
    backbone: str | None = Field(None, min_length=1)
    """Network trained on ImageNet in the place of the blocks, as resnet18; list names them all."""
    weights: Path | None = None
    """File of the backbone's weights; by default they are downloaded, once."""
    hidden: tuple[Width, ...] = ()
    """Units of each hidden dense layer; one more number adds a layer."""


class OptimizerSettings(SettingsGroup):
    """How the weights are learnt."""

    epochs: int = Field(10, ge=1)
    """Passes over the training images."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Optimizer; sgd has Nesterov momentum 0.9."""
    learning_rate: float = Field(3e-4, gt=0, le=100)
    """Learning rate; with a schedule, the highest."""
    weight_decay: float = Field(0.0, ge=0, le=10)
    """Weight decay of the optimizer."""
    schedule: Literal["constant", "cosine", "onecycle"] = "constant"
    """Course of the learning rate over the training."""
    warmup_epochs: int = Field(0, ge=0)
    """First epochs in which the learning rate rises; onecycle has a rise of its own."""
    frozen_epochs: int = Field(0, ge=0)
    """First epochs in which the backbone is frozen and only the head learns."""
    backbone_rate: float = Field(0.1, gt=0, le=1)
    """Rate of the backbone's first layer relative to the head; rises from layer to layer."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many epochs without a lower validation loss."""
    initial_size: Pixels | None = None
    """Image size of the first epoch; grows to --image-size in three quarters of the epochs."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the label that is spread over all classes."""
    mixup: float = Field(0.0, ge=0, le=10)
    """Alpha of mixup, which blends pairs of images; 0 is off."""
    cutmix: float = Field(0.0, ge=0, le=10)
    """Alpha of CutMix, which pastes a rectangle of another image; 0 is off."""
    focal: float = Field(0.0, ge=0, le=10)
    """Gamma of the focal loss, which weights down what is known already; 0 is cross-entropy."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the weights' exponential moving average, which is measured and kept; 0 is off."""
    balanced: bool = False
    """Train on equally many images of each class an epoch, those of rare classes repeated."""
    class_weights: bool = False
    """Weight the loss by inverse class frequency in the training images."""
    train_eval_fraction: float = Field(0.1, gt=0, le=1)
    """Fraction of the training images measured like validation after each epoch."""
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """Seed of weights, order, dropout and augmentation."""
    seeds: int = Field(1, ge=1, le=1000)
    """Repeat with so many seeds: --seed, --seed + 1, and so on."""


class TrainerSettings(SettingsGroup):
    """Switches of Lightning's Trainer, under its names."""

    gradient_clip_val: float | None = Field(None, gt=0)
    """Largest norm of all gradients together; larger ones are shrunk."""
    accumulate_grad_batches: int = Field(1, ge=1)
    """Batches whose gradients are summed up for one step."""
    max_time: str | None = Field(None, pattern=r"^\d\d:\d\d:\d\d:\d\d$")
    """Stop after the epoch in which this time is over: DD:HH:MM:SS."""
    limit_train_batches: Batches | None = None
    """Batches of an epoch: a number, or as 0.25 a fraction."""
    limit_val_batches: Batches | None = None
    """Batches measured after an epoch; at the end all images are."""
    overfit_batches: Batches | None = None
    """Train on the same few batches in every epoch, to see whether it learns."""
    fast_dev_run: bool = False
    """Try one batch of training and one of validation, and keep nothing."""
    profiler: Literal["simple", "advanced", "pytorch"] | None = None
    """Write what took how long into the run folder."""
    deterministic: bool = False
    """Only algorithms that repeat to the bit, on a GPU too; slower."""


class DeviceSettings(SettingsGroup):
    """Where and how the training runs; but for `cuda_graphs`, as Lightning's Trainer has them."""

    accelerator: Accelerator = "auto"
    """Kind of device."""
    devices: str = Field("auto", pattern=r"^(auto|-1|[1-9]\d*|\d+(,\d+)+,?|\d+,)$")
    """Number of devices, or their indices as in 0,2; auto takes all."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How several devices share the work."""
    num_nodes: int = Field(1, ge=1)
    """Number of machines."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    """Floating-point precision; auto is bf16-mixed where the device computes that faster."""
    cuda_graphs: bool = False
    """Launch the kernels of the network together, as CUDA graphs: faster on small images."""


class RunSettings(SettingsGroup):
    """Where the results go."""

    name: str | None = None
    """Name of the run; by default made of the settings that differ."""
    log_dir: Path = Path("logs")
    """Folder of the run folders."""
    logger: tuple[Literal["csv", "mlflow", "wandb"], ...] = ()
    """Where settings, curves and final figures go beside TensorBoard."""


PLACES = frozenset(
    {"data_dir", "csv", "image_dir", "image_column", "label_column", "cache", "cache_dir"}
    | {"num_workers", "weights", "fast_dev_run", "profiler", "deterministic"}
    | set(DeviceSettings.model_fields)
    | set(RunSettings.model_fields)
)


SPLIT_BY = frozenset(
    {"split_seed", "fold", "folds", "val_fraction", "test_fraction", "test_csv"}
    | {"duplicates", "group_column", "split_column"}
)


class Settings(
    RunSettings,
    DeviceSettings,
    TrainerSettings,
    OptimizerSettings,
    NetworkSettings,
    AugmentSettings,
    DataSettings,
):
    """All settings of one training run."""

    @model_validator(mode="before")
    @classmethod
    def _without_retired(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in RETIRED}

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for sentence in conflicts(self):
            raise ValueError(sentence)
        return self

    def changed(self, change: Mapping[str, Any]) -> Self:
        """Return these settings but for some, all checked anew.

        Raises:
            SettingsError: a value is out of range, or they do not go together.
        """
        return type(self)(**(self.model_dump() | dict(change)))

    @property
    def split(self) -> tuple[object, ...]:
        """What decides which of the same images train and which validate."""
        names = SPLIT_BY - {"folds" if self.folds is None else "val_fraction"}
        return tuple(self.model_dump(include=set(names)).values())

    @property
    def is_repeated(self) -> bool:
        """Whether these settings ask for several trainings: over folds, seeds, or both."""
        return self.seeds > 1 or (self.folds is not None and self.fold is None)

    def on_one_device(self) -> "Settings | None":
        """Return the settings with one device where the choice was left open.

        None where they ask for several, by number or by index.
        """
        if self.num_nodes == 1 and self.devices == "auto":
            return self.model_copy(update={"devices": "1"})
        return self if self.name_one_device else None

    @property
    def name_one_device(self) -> bool:
        """Whether these settings ask for one device, by number or by index."""
        return self.num_nodes == 1 and re.fullmatch(r"1|\d+,", self.devices) is not None

    @property
    def run_name(self) -> str:
        """The given name, or one made of the settings that differ: `dropout0.5-batchnorm`.

        Where data, caches and logs lie, and on what devices the run goes, is not part of it.
        """
        if self.name is not None:
            return self.name
        differing = self.model_dump(mode="json", exclude_defaults=True, exclude=set(PLACES))
        name = "-".join(_name_part(key, value) for key, value in differing.items())
        return name[:LONGEST_NAME] or "default"

    def to_yaml(self) -> str:
        """Return all settings as YAML that `read_settings` reads back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _at_home(value: Any) -> Any:
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError as error:  # ~ of a user that there is none of
        raise ValueError(str(error)) from error


def _name_part(key: str, value: Any) -> str:
    words = key.replace("_", "-")
    if isinstance(value, bool):
        return words if value else f"no-{words}"
    if isinstance(value, list):
        return words + "-".join(map(str, value))
    return "".join(c for c in f"{words}{value}" if c.isalnum() or c in ".-_")
