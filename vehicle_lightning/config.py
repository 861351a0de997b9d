"""Every setting once: typed, ranged, with a one-line help; YAML in and out.

The settings stand in groups, one per step of the pipeline. `Settings` joins the groups into one
flat set of names, which are the command-line flags and the keys of a YAML file alike. A step takes
only its own group, so that it can be replaced without touching the others.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vehicle_lightning.errors import SettingsError, one_line

# The one in C, where PyYAML was built with it, reads hundreds of runs in no time.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

LARGEST_SEED = 2**31 - 1
SMALLEST_FOR_BACKBONE = 32  # pixels; what a network for ImageNet halves to one
# Beside the package in a checkout, inside it where it is installed.
EXPERIMENTS = (Path(__file__).parents[1] / "experiments", Path(__file__).parent / "experiments")
LONGEST_NAME = 120  # characters of a run's name that is made of its settings

Width = Annotated[int, Field(ge=1, le=4096)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Batches = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]


class SettingsGroup(BaseModel):
    """Base of all groups: immutable, finite numbers only, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _home(cls, value: Any) -> Any:
        """Let ~ mean the home folder, in every path."""
        if isinstance(value, tuple):
            return tuple(map(_at_home, value))
        return _at_home(value)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_first_mistake(error)) from error


class SourceSettings(SettingsGroup):
    """Which pictures."""

    data_dir: Path | None = Field(
        None,
        description="Folder with the CSV and the images; without it, synthetic vehicles are used.",
    )
    csv: Path = Field(Path("train.csv"), description="CSV file, relative to the data dir.")
    image_dir: Path = Field(Path("images"), description="Image folder, relative to the data dir.")
    image_column: str = Field("image_names", description="CSV column with the image file names.")
    label_column: str = Field("emergency_or_not", description="CSV column with the labels.")
    group_column: str | None = Field(
        None,
        description="CSV column of what belongs together, such as camera, patient or day: never in "
        "two splits.",
    )
    split_column: str | None = Field(
        None, description="CSV column that says train, val or test of each image."
    )
    duplicates: Literal["exact", "near", "off"] = Field(
        "near",
        description="Which duplicates stay in one split: equal files, pictures that look the same "
        "too, or none.",
    )
    cache_dir: Path | None = Field(
        None,
        description="Folder of caches and synthetic vehicles; by default the user's cache folder.",
    )


class DataSettings(SourceSettings):
    """Which pictures, how they are split, and how they are read."""

    skip_unreadable: bool = Field(
        False, description="Go on without the images that are missing or cannot be read."
    )
    image_size: int = Field(
        224, ge=8, le=2048, description="Height and width of the network's input, in pixels."
    )
    val_fraction: float = Field(
        0.1, gt=0, lt=1, description="Fraction of the images held out for validation."
    )
    test_fraction: float = Field(
        0.0, ge=0, lt=1, description="Fraction of the images kept for a test at the end."
    )
    train_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of the training images to train on; a smaller one is a part of a "
        "larger one.",
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="Cross-validate: train once for each of so many folds, which validates.",
    )
    fold: int | None = Field(
        None, ge=0, description="Train only for this one of the --folds, counted from 0."
    )
    split_seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of the split; kept apart from --seed."
    )
    batch_size: int = Field(128, ge=1, description="Images per training step and device.")
    cache: Literal["disk", "none"] = Field(
        "disk", description="Decode each image once into a memory-mapped file, or at every use."
    )
    num_workers: int = Field(
        0, ge=0, le=256, description="Processes that load batches; 0 loads in the main process."
    )

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"--val-fraction {self.val_fraction:g} and --test-fraction {self.test_fraction:g} "
                f"leave nothing to train on"
            )
        return self

    @model_validator(mode="after")
    def _fold_within_folds(self) -> Self:
        if self.fold is not None and self.folds is None:
            raise ValueError(f"--fold {self.fold} needs --folds, the number of folds")
        if self.fold is not None and self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"--fold {self.fold} is none of the folds 0 to {self.folds - 1}")
        return self


class AugmentSettings(SettingsGroup):
    """Random changes to the training images, drawn anew for each image and step."""

    augment: bool = Field(False, description="Change the training images at random, as below.")
    flip: Fraction = Field(0.5, description="Probability of mirroring left and right.")
    rotation: float = Field(10.0, ge=0, le=180, description="Largest rotation, in degrees.")
    shear: float = Field(8.0, ge=0, le=60, description="Largest horizontal shear, in degrees.")
    scale: float = Field(0.15, ge=0, lt=1, description="Largest relative change of size.")
    shift: float = Field(
        0.1, ge=0, le=1, description="Largest shift per axis, as a fraction of the image's side."
    )
    brightness: Fraction = Field(0.2, description="Largest relative change of brightness.")
    contrast: Fraction = Field(0.2, description="Largest relative change of contrast.")
    saturation: Fraction = Field(0.2, description="Largest relative change of colour saturation.")
    erasing: Fraction = Field(0.25, description="Probability of erasing a random rectangle.")
    flip_averaging: bool = Field(
        False, description="Measure on the mean of the logits of an image and its mirror image."
    )


class NetworkSettings(SettingsGroup):
    """The layers of the network; the defaults are the case study's."""

    channels: tuple[Width, ...] = Field(
        (16, 32),
        min_length=1,
        description="Channels of each convolutional block; one more number adds a block.",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout probability after each pooling and dense layer."
    )
    batchnorm: bool = Field(False, description="Batch normalisation after each hidden ReLU.")
    residual: bool = Field(
        False, description="Two more convolutions after each block, bridged by a skip connection."
    )
    pooling: Literal["none", "average", "max"] = Field(
        "none", description="Global pooling before the dense layers; none flattens."
    )
    pretrained: Path | None = Field(
        None, description="Run folder or checkpoint of the same network to take the weights from."
    )
    backbone: str | None = Field(
        None,
        min_length=1,
        description="Network trained on ImageNet that takes the place of the convolutional blocks: "
        "torchvision's, such as resnet18, or timm's where it is installed.",
    )
    weights: Path | None = Field(
        None, description="File of the backbone's weights; by default they are downloaded, once."
    )
    hidden: tuple[Width, ...] = Field(
        (), description="Units of each hidden dense layer; one more number adds a layer."
    )


class OptimizerSettings(SettingsGroup):
    """How the weights are learnt."""

    epochs: int = Field(10, ge=1, description="Passes over the training images.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="Optimizer; sgd has Nesterov momentum 0.9."
    )
    learning_rate: float = Field(
        1e-4, gt=0, le=100, description="Learning rate; with a schedule, the highest."
    )
    weight_decay: float = Field(0.0, ge=0, le=10, description="Weight decay of the optimizer.")
    schedule: Literal["constant", "cosine", "onecycle"] = Field(
        "constant", description="Course of the learning rate over the training."
    )
    frozen_epochs: int = Field(
        0, ge=0, description="First epochs in which the backbone is held and only the head learns."
    )
    backbone_rate: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Learning rate of the backbone's first layer relative to that of the head; it "
        "rises geometrically from layer to layer.",
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a lower validation loss."
    )
    initial_size: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="Image size of the first epoch; it grows to --image-size in three quarters of "
        "the epochs. Needs a --pooling.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the label that is spread over all classes."
    )
    mixup: float = Field(
        0.0, ge=0, le=10, description="Alpha of mixup, which blends pairs of images; 0 is off."
    )
    class_weights: bool = Field(
        False, description="Weight the loss by inverse class frequency in the training images."
    )
    train_eval_fraction: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Fraction of the training images measured like validation after each epoch.",
    )
    seed: int = Field(
        0, ge=0, le=LARGEST_SEED, description="Seed of weights, order, dropout and augmentation."
    )
    seeds: int = Field(
        1, ge=1, le=1000, description="Repeat with so many seeds: --seed, --seed + 1, and so on."
    )


class TrainerSettings(SettingsGroup):
    """Switches of Lightning's Trainer, under its names."""

    gradient_clip_val: float | None = Field(
        None, gt=0, description="Largest norm of all gradients together; larger ones are shrunk."
    )
    accumulate_grad_batches: int = Field(
        1, ge=1, description="Batches whose gradients are summed up for one step."
    )
    max_time: str | None = Field(
        None,
        pattern=r"^\d\d:\d\d:\d\d:\d\d$",
        description="Stop after the epoch in which this time is over: DD:HH:MM:SS.",
    )
    limit_train_batches: Batches | None = Field(
        None, description="Batches of an epoch: a number, or as 0.25 a fraction."
    )
    limit_val_batches: Batches | None = Field(
        None, description="Batches measured after an epoch; at the end all images are."
    )
    overfit_batches: Batches | None = Field(
        None, description="Train on the same few batches in every epoch, to see whether it learns."
    )
    fast_dev_run: bool = Field(
        False, description="Try one batch of training and one of validation, and keep nothing."
    )
    profiler: Literal["simple", "advanced", "pytorch"] | None = Field(
        None, description="Write what took how long into the run folder."
    )
    deterministic: bool = Field(
        False, description="Only algorithms that repeat to the bit, on a GPU too; slower."
    )


class DeviceSettings(SettingsGroup):
    """Where and how the training runs; but for `compile`, as Lightning's Trainer has them."""

    accelerator: Accelerator = Field("auto", description="Kind of device.")
    devices: str = Field(
        "auto",
        pattern=r"^(auto|-1|[1-9]\d*|\d+(,\d+)+,?|\d+,)$",
        description="Number of devices, or their indices as in 0,2; auto takes all.",
    )
    strategy: Literal["auto", "ddp"] = Field(
        "auto", description="How several devices share the work."
    )
    num_nodes: int = Field(1, ge=1, description="Number of machines.")
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = Field(
        "32-true", description="Floating-point precision."
    )
    compile: bool = Field(
        False, description="Compile the layers (torch.compile), for long trainings on a GPU."
    )


class RunSettings(SettingsGroup):
    """Where the results go."""

    name: str | None = Field(
        None, description="Name of the run; by default made of the settings that differ."
    )
    log_dir: Path = Field(Path("logs"), description="Folder of the run folders.")

    @field_validator("name")
    @classmethod
    def _one_folder_name(cls, name: str | None) -> str | None:
        if name is not None and (
            not name.strip(" .") or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name)
        ):
            raise ValueError("a run's name must be usable as one folder's name")
        return name


PLACES = frozenset(
    {"data_dir", "csv", "image_dir", "image_column", "label_column", "cache", "cache_dir"}
    | {"num_workers", "weights", "fast_dev_run", "profiler", "deterministic"}
    | set(DeviceSettings.model_fields)
    | set(RunSettings.model_fields)
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

    @model_validator(mode="after")
    def _batchnorm_has_a_batch(self) -> Self:
        if self.batchnorm and self.batch_size == 1:
            raise ValueError("--batchnorm needs a --batch-size of at least 2")
        return self

    @model_validator(mode="after")
    def _backbone_stands_alone(self) -> Self:
        if self.backbone is None:
            if self.frozen_epochs or self.weights is not None:
                raise ValueError("--frozen-epochs and --weights need a --backbone")
            return self
        given = [
            f"--{name}"
            for name in ("channels", "residual", "pooling")
            if getattr(self, name) != NetworkSettings.model_fields[name].default
        ]
        if given:
            raise ValueError(f"--backbone takes the place of the layers of {' and '.join(given)}")
        if self.image_size < SMALLEST_FOR_BACKBONE:
            raise ValueError(f"--backbone needs an --image-size of {SMALLEST_FOR_BACKBONE} or more")
        return self

    @model_validator(mode="after")
    def _image_survives_the_poolings(self) -> Self:
        if self.backbone is None and self.image_size < 2 ** len(self.channels):
            raise ValueError(
                f"--image-size {self.image_size} is too small for {len(self.channels)} blocks of "
                f"--channels, each of which halves it"
            )
        return self

    @model_validator(mode="after")
    def _network_takes_any_size(self) -> Self:
        if self.initial_size is None:
            return self
        if self.backbone is not None:
            if not SMALLEST_FOR_BACKBONE <= self.initial_size <= self.image_size:
                raise ValueError(
                    f"--initial-size {self.initial_size} must be at least {SMALLEST_FOR_BACKBONE} "
                    f"and at most --image-size {self.image_size}"
                )
            return self
        if self.pooling == "none":
            raise ValueError("--initial-size needs --pooling average or max, which take any size")
        if not 2 ** len(self.channels) <= self.initial_size <= self.image_size:
            raise ValueError(
                f"--initial-size {self.initial_size} must be at least {2 ** len(self.channels)}, "
                f"which --channels halve to one pixel, and at most --image-size {self.image_size}"
            )
        return self

    @model_validator(mode="after")
    def _seeds_end_in_range(self) -> Self:
        if self.seed + self.seeds > LARGEST_SEED + 1:
            raise ValueError(
                f"--seed {self.seed} and --seeds {self.seeds} go beyond {LARGEST_SEED}"
            )
        return self

    @property
    def split(self) -> tuple[object, ...]:
        """What decides which of the same images train and which validate."""
        return (
            self.split_seed,
            self.val_fraction if self.folds is None else self.folds,
            self.fold,
            self.test_fraction,
            self.duplicates,
            self.group_column,
            self.split_column,
        )

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
        is_one = self.num_nodes == 1 and re.fullmatch(r"1|\d+,", self.devices)
        return self if is_one else None

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


# What may change when a run is continued; anything else would make it another run.
CHANGEABLE = frozenset(
    {"epochs", "patience", "seeds", "data_dir", "cache", "cache_dir", "num_workers", "weights"}
    | {"max_time", "profiler", "deterministic"}
    | set(DeviceSettings.model_fields)
    | set(RunSettings.model_fields)
)


def _at_home(value: Any) -> Any:
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError as error:  # ~ of a user that there is none of
        raise ValueError(str(error)) from error


def changed_settings(before: Settings, now: Settings) -> list[str]:
    """Return the names of settings that differ though a continued run must keep them."""
    changeable = CHANGEABLE
    if before.schedule != "constant" or before.initial_size is not None:  # laid out over the epochs
        changeable -= {"epochs", "devices", "num_nodes"}
    return [
        name for name, value in now if name not in changeable and value != getattr(before, name)
    ]


def _name_part(key: str, value: Any) -> str:
    words = key.replace("_", "-")
    if isinstance(value, bool):
        return words if value else f"no-{words}"
    if isinstance(value, list):
        return words + "-".join(map(str, value))
    return "".join(c for c in f"{words}{value}" if c.isalnum() or c in ".-_")


def read_settings(path: Path) -> Settings:
    """Read settings from a YAML file; what it leaves out keeps its default.

    A bare name such as `best`, where there is no such file, is that of an experiment that ships.

    Raises:
        SettingsError: the file is missing, is not YAML, or a key or value in it is wrong.
    """
    for folder in EXPERIMENTS:
        if not path.exists() and (shipped := folder / f"{path}.yaml").is_file():
            path = shipped
    content = read_mapping(path, "Settings file")
    try:
        return Settings(**content)
    except SettingsError as error:
        raise SettingsError(f"Settings file {path}: {error}") from error


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """Read a YAML file whose keys are settings; its values may be anything.

    Args:
        path: the file.
        kind: what it is called in messages.

    Raises:
        SettingsError: the file is missing, is not YAML, or a key in it is no setting.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)
    except OSError as error:
        raise SettingsError(f"{kind} {path}: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{kind} {path} is not YAML: {one_line(error)}.") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise SettingsError(f"{kind} {path} must hold lines of the form `key: value`.")
    for key in content:
        if key not in Settings.model_fields:
            raise SettingsError(f"{kind} {path} has the unknown key {key}.{nearest_setting(key)}")
    return content


def nearest_setting(key: Any) -> str:
    """Return a hint at the setting that an unknown key resembles, or nothing."""
    near = difflib.get_close_matches(str(key), Settings.model_fields, n=1)
    return f" Perhaps you meant {near[0]}." if near else ""


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors()[0]
    message = mistake["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in mistake["loc"])
    return f"{where}: {message} (got {mistake['input']!r})." if where else f"{message}."
