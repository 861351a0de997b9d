"""The search space: a settings file in which some settings have a range or a list of values.

    epochs: 20                                        # fixed, as in any settings file
    learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}
    dropout: {low: 0, high: 0.6}
    channels: {values: [[16, 32], [16, 32, 64]]}
    augment: {values: [false, true]}
    rotation: {low: 0, high: 30, when: {augment: true}}

Everything is checked against the settings here, without torch and without Optuna.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vehicle_lightning.config import PLACES, SPLIT_BY, Settings, nearest_setting
from vehicle_lightning.errors import SettingsError
from vehicle_lightning.settings_file import read_mapping

SHIPPED = Path(__file__).parent / "spaces"
# Trials with other validation images, or other numbers of fold runs, could not be compared.
UNSEARCHABLE = PLACES | SPLIT_BY | {"skip_unreadable", "seed", "seeds"}
SAMPLED = 300  # points at which a space is tried out

Value = Any  # of a setting: a number, a word, a switch, a tuple of numbers, or None


def _valid(value: Any, name: str) -> Value:
    field = Settings.model_fields[name]
    adapter = TypeAdapter[Any](field.rebuild_annotation(), config={"allow_inf_nan": False})
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{value!r} cannot be a value of {name}: {_first(error)}") from error


def _number(value: Any, info: ValidationInfo) -> float:
    name = str(info.context)
    kind = Settings.model_fields[name].annotation
    if not {int, float} & {kind, *(get_args(kind) if get_origin(kind) is UnionType else ())}:
        raise ValueError(f"{name} is no number, and needs `values`")
    if isinstance(value, bool):
        raise ValueError(f"{value} is no number")
    number: float = _valid(value, name)
    return number


# The setting whose values they are is the context of the validation.
SettingValue = Annotated[Any, AfterValidator(lambda value, info: _valid(value, info.context))]
Number = Annotated[Any, AfterValidator(_number)]


class Domain(BaseModel):
    """What a setting may be.

    Attributes:
        when: other settings, each with the value or the list of values without which this one is
            not searched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: dict[str, tuple[Value, ...]] = {}

    @field_validator("when", mode="before")
    @classmethod
    def _values_of_settings(cls, when: Any) -> dict[str, tuple[Value, ...]]:
        if not isinstance(when, dict):
            raise ValueError("needs the form {setting: value}")
        for name in when:
            if name not in Settings.model_fields:
                raise ValueError(
                    f"{name} is no setting.{nearest_setting(name, Settings.model_fields)}"
                )
        listed = {name: v if isinstance(v, list) else [v] for name, v in when.items()}
        return {name: tuple(_valid(v, name) for v in values) for name, values in listed.items()}


class Range(Domain):
    """Numbers from `low` to `high`, both included; whole ones where the setting is whole.

    Attributes:
        log: whether equal ratios, not equal differences, are equally likely.
    """

    low: Number
    high: Number
    log: StrictBool = False

    @model_validator(mode="after")
    def _spans(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` {self.low:g} must be below `high` {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"with `log`, `low` must be above 0, got {self.low:g}")
        return self

    def value(self, label: Value) -> Value:
        """Return the number, which the database has as it is."""
        return label

    def draw(self, rng: random.Random) -> Value:
        """Return one of the numbers, the ends more often than by chance."""
        between = rng.randint if isinstance(self.low, int) else rng.uniform
        return rng.choice([self.low, self.high, between(self.low, self.high)])


class Choice(Domain):
    """Some values, of which none is nearer to one than to another."""

    values: list[SettingValue] = Field(min_length=2)

    @field_validator("values")
    @classmethod
    def _each_once(cls, values: list[Value]) -> list[Value]:
        for number, value in enumerate(values):
            if value in values[:number]:
                raise ValueError(f"{value} stands there twice")
        return values

    @property
    def labels(self) -> list[str | int | float | bool | None]:
        """The values as the database has them: a tuple stands as text."""
        return [json.dumps(value) if isinstance(value, tuple) else value for value in self.values]

    def value(self, label: str | int | float | bool | None) -> Value:
        """Return the value that a label stands for."""
        return self.values[self.labels.index(label)]

    def draw(self, rng: random.Random) -> Value:
        """Return one of the values."""
        return rng.choice(self.values)


@dataclass(frozen=True)
class Space:
    """What is searched, and where that was written down.

    Attributes:
        file: the file.
        domains: setting -> what it may be, those that others depend on first.
        fixed: setting -> value of the other settings that the file names.
    """

    file: Path
    domains: Mapping[str, Range | Choice]
    fixed: Mapping[str, Value]

    def choose(self, pick: Callable[[str, Range | Choice], Value]) -> dict[str, Value]:
        """Return one point: a picked value of every setting whose conditions hold."""
        chosen: dict[str, Value] = {}
        for name, domain in self.domains.items():
            if all(k in chosen and chosen[k] in values for k, values in domain.when.items()):
                chosen[name] = pick(name, domain)
        return chosen

    def point(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return the point that the database has as these parameters of a trial."""
        return {name: self.domains[name].value(label) for name, label in params.items()}

    def check(self, base: Settings) -> None:
        """Try the space out at random points, on the settings that all trials share.

        Raises:
            SettingsError: some of its points are no settings.
        """
        rng = random.Random(0)
        for _ in range(SAMPLED):
            point = self.choose(lambda _, domain: domain.draw(rng))
            try:
                base.changed(point)
            except SettingsError as error:
                raise SettingsError(
                    f"Space {self.file} allows {in_words(point)}, which do not go together: "
                    f"{error} Narrow it, or make one depend on the other by `when`."
                ) from error


def in_words(value: Value) -> str:
    """Return a value, or a point of the space, as tables and messages have it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(one)}" for name, one in value.items())
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def read_space(named: Path) -> Space:
    """Read a search space from a file, or one that comes with this package, such as `switches`.

    Raises:
        SettingsError: the file is missing or is not YAML, or an entry is wrong.
    """
    shipped = SHIPPED / f"{named}.yaml"
    path = shipped if shipped.is_file() else named
    content = read_mapping(path, "Space")
    fixed = {name: value for name, value in content.items() if not isinstance(value, dict)}
    domains: dict[str, Range | Choice] = {}
    for name in [name for name in content if name not in fixed]:
        if name in UNSEARCHABLE:
            raise SettingsError(
                f"Space {path}: {name} cannot be searched, as trials are compared on the same "
                f"data, the same validation images and the same seeds."
            )
        kind = Choice if "values" in content[name] else Range
        try:
            domains[name] = kind.model_validate(content[name], context=name)
        except ValidationError as error:
            raise SettingsError(f"Space {path}, {name}: {_first(error).rstrip('.')}.") from error
    if not domains:
        raise SettingsError(
            f"Space {path} searches nothing; give a setting a range, as in "
            f"`dropout: {{low: 0, high: 0.6}}`, or values, as in `augment: {{values: [false, "
            f"true]}}`."
        )
    return Space(path, _in_order(path, domains), fixed)


def _in_order(path: Path, domains: dict[str, Range | Choice]) -> dict[str, Range | Choice]:
    """Check the conditions, and put the settings that others depend on first."""
    for name, domain in domains.items():
        for other, values in domain.when.items():
            entry, searched = f"Space {path}, {name}: `when` names {other}", domains.get(other)
            if not isinstance(searched, Choice):
                raise SettingsError(f"{entry}, which is not searched among `values`.")
            for value in values:
                if value not in searched.values:
                    raise SettingsError(f"{entry} {value}, which is none of its values.")
    try:
        order = TopologicalSorter({name: domains[name].when for name in domains})
        return {name: domains[name] for name in order.static_order()}
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise SettingsError(f"Space {path}: `when` goes in a circle: {circle}.") from error


def _first(error: ValidationError) -> str:
    """Return what is wrong first, in words."""
    mistake = error.errors()[0]
    where = " ".join(f"`{part}`" for part in mistake["loc"] if isinstance(part, str))
    return f"{where} {mistake['msg']}".strip().replace("Value error, ", "")
