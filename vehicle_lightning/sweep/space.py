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
from typing import Any, NoReturn, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from vehicle_lightning.config import PLACES, Settings, nearest_setting, read_mapping
from vehicle_lightning.errors import SettingsError

# Trials with other validation images, or other numbers of trainings, could not be compared.
UNSEARCHABLE = PLACES | {
    *("folds", "fold", "val_fraction", "split_seed", "skip_unreadable", "seed", "seeds")
}
RANGE_KEYS = {"low", "high", "log", "when"}
CHOICE_KEYS = {"values", "when"}
SAMPLED = 300  # points at which a space is tried out

Value = Any  # of a setting: a number, a word, a switch, a tuple of numbers, or None
Condition = tuple[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: the lowest.
        high: the highest.
        log: whether equal ratios, not equal differences, are equally likely.
        is_whole: whether only whole numbers are meant.
        when: settings, and the values of each, without which this one keeps its fixed value.
    """

    low: float
    high: float
    log: bool
    is_whole: bool
    when: tuple[Condition, ...]

    def draw(self, rng: random.Random) -> float:
        """Return one of the numbers, the ends more often than by chance."""
        return rng.choice([self.low, self.high, self._between(rng)])

    def _between(self, rng: random.Random) -> float:
        if self.is_whole:
            return rng.randint(int(self.low), int(self.high))
        return rng.uniform(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{', log' * self.log}{_when_in_words(self.when)}"


@dataclass(frozen=True)
class Choice:
    """Some values, of which none is nearer to one than to another.

    Attributes:
        values: all of them.
        when: settings, and the values of each, without which this one keeps its fixed value.
    """

    values: tuple[Value, ...]
    when: tuple[Condition, ...]

    @property
    def labels(self) -> tuple[str | int | float | bool | None, ...]:
        """The values as plain types: a tuple stands as text."""
        return tuple(json.dumps(v) if isinstance(v, tuple) else v for v in self.values)

    def value(self, label: str | int | float | bool | None) -> Value:
        """Return the value that a label stands for."""
        return self.values[[_kind(known) for known in self.labels].index(_kind(label))]

    def draw(self, rng: random.Random) -> Value:
        """Return one of the values."""
        return rng.choice(self.values)

    def __str__(self) -> str:
        return f"{' | '.join(map(str, self.labels))}{_when_in_words(self.when)}"


Domain = Range | Choice


@dataclass(frozen=True)
class Space:
    """What is searched, and where that was written down.

    Attributes:
        file: the file.
        domains: setting -> what it may be, those that others depend on first.
        fixed: setting -> value of the other settings that the file names.
    """

    file: Path
    domains: Mapping[str, Domain]
    fixed: Mapping[str, Value]

    def choose(self, pick: Callable[[str, Domain], Value]) -> dict[str, Value]:
        """Return one point: a value of every setting whose conditions hold.

        Args:
            pick: gives a value of a setting.
        """
        chosen: dict[str, Value] = {}
        for name, domain in self.domains.items():
            if all(other in chosen and chosen[other] in of for other, of in domain.when):
                chosen[name] = pick(name, domain)
        return chosen

    def describe(self) -> dict[str, str]:
        """Return every searched setting with what it may be, in words."""
        return {name: str(domain) for name, domain in self.domains.items()}

    def check(self, base: Settings) -> None:
        """Try the space out on settings, at random points.

        Args:
            base: what all trials share.

        Raises:
            SettingsError: some of its points are no settings.
        """
        rng = random.Random(0)
        for _ in range(SAMPLED):
            point = self.choose(lambda _, domain: domain.draw(rng))
            try:
                trial_settings(base, point)
            except SettingsError as error:
                words = ", ".join(f"{name} {in_words(value)}" for name, value in point.items())
                raise SettingsError(
                    f"Space {self.file} allows {words}, which do not go together: {error} Narrow "
                    f"it, or make one depend on the other by `when`."
                ) from error


def trial_settings(base: Settings, point: Mapping[str, Value]) -> Settings:
    """Return the settings of one trial.

    Raises:
        SettingsError: they do not go together.
    """
    return Settings(**(base.model_dump() | dict(point)))


def in_words(value: Value) -> str:
    """Return a value as tables and messages have it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def read_space(path: Path) -> Space:
    """Read a search space.

    Raises:
        SettingsError: the file is missing or is not YAML, or an entry is wrong.
    """
    content = read_mapping(path, "Space")
    fixed = {key: value for key, value in content.items() if not isinstance(value, dict)}
    domains = {
        key: _Entry(path, key, value).read() for key, value in content.items() if key not in fixed
    }
    if not domains:
        raise SettingsError(
            f"Space {path} searches nothing; give a setting a range, as in "
            f"`dropout: {{low: 0, high: 0.6}}`, or values, as in `augment: {{values: [false, "
            f"true]}}`."
        )
    for key in domains.keys() & UNSEARCHABLE:
        raise SettingsError(
            f"Space {path}: {key} cannot be searched, as trials are compared on the same data, the "
            f"same validation images and the same seeds."
        )
    return Space(path, _in_order(path, domains), fixed)


@dataclass(frozen=True)
class _Entry:
    """One searched setting as it stands in the file."""

    file: Path
    name: str
    content: dict[Any, Any]

    def read(self) -> Domain:
        if "values" in self.content:
            self._allow(CHOICE_KEYS)
            return self._choice()
        if "low" in self.content or "high" in self.content:
            self._allow(RANGE_KEYS)
            return self._range()
        return self._refuse("needs `low` and `high`, or `values`")

    def _choice(self) -> Choice:
        listed = self.content["values"]
        if not isinstance(listed, list) or len(listed) < 2:
            self._refuse("`values` needs a list of at least two")
        values = tuple(self._valid(self.name, value) for value in listed)
        twice = [value for number, value in enumerate(values) if value in values[:number]]
        if twice:
            self._refuse(f"`values` names {twice[0]} twice")
        return Choice(values, self._when())

    def _range(self) -> Range:
        kinds = _number_kinds(self.name)
        if not kinds:
            self._refuse("is no number, and needs `values`")
        ends = []
        for key in ("low", "high"):
            if not _is_number(self.content.get(key)):
                self._refuse(f"`{key}` must be a number, got {self.content.get(key)!r}")
            ends.append(self._valid(self.name, self.content[key]))
        low, high = ends
        log = self.content.get("log", False)
        if not isinstance(log, bool):
            self._refuse(f"`log` must be true or false, got {log!r}")
        if low >= high:
            self._refuse(f"`low` {low:g} must be below `high` {high:g}")
        if log and low <= 0:
            self._refuse(f"with `log`, `low` must be above 0, got {low:g}")
        return Range(low, high, log, kinds == {int}, self._when())

    def _when(self) -> tuple[Condition, ...]:
        conditions = self.content.get("when", {})
        if not isinstance(conditions, dict):
            self._refuse("`when` needs the form {setting: value}")
        return tuple(
            (other, tuple(self._valid(other, v) for v in _listed(other, asked)))
            for other, asked in conditions.items()
            if self._is_setting(other)
        )

    def _is_setting(self, other: Any) -> bool:
        if other not in Settings.model_fields:
            self._refuse(f"`when` names {other}, which is no setting.{nearest_setting(other)}")
        return True

    def _valid(self, name: str, value: Any) -> Value:
        try:
            return _adapter(name).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            self._refuse(f"{value!r} cannot be a value of {name}: {message}")

    def _allow(self, known: set[str]) -> None:
        for key in self.content:
            if key not in known:
                self._refuse(f"does not know `{key}`, but {', '.join(sorted(known))}")

    def _refuse(self, what: str) -> NoReturn:
        raise SettingsError(f"Space {self.file}, {self.name}: {what.rstrip('.')}.")


def _in_order(path: Path, domains: dict[str, Domain]) -> dict[str, Domain]:
    """Put those that others depend on first, and check the conditions."""
    for name, domain in domains.items():
        for other, asked in domain.when:
            entry = f"Space {path}, {name}: `when` names {other}"
            depended = domains.get(other)
            if not isinstance(depended, Choice):
                raise SettingsError(f"{entry}, which is not searched among `values`.")
            for value in asked:
                if value not in depended.values:
                    raise SettingsError(f"{entry} {value}, which is none of its values.")
    graph = {name: [other for other, _ in domain.when] for name, domain in domains.items()}
    try:
        return {name: domains[name] for name in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise SettingsError(f"Space {path}: `when` goes in a circle: {circle}.") from error


def _adapter(name: str) -> TypeAdapter[Any]:
    field = Settings.model_fields[name]
    return TypeAdapter(field.rebuild_annotation(), config={"allow_inf_nan": False})


def _number_kinds(name: str) -> set[type]:
    annotation = Settings.model_fields[name].annotation
    kinds = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    return {kind for kind in kinds if kind in (int, float)}


def _is_number(value: Any) -> bool:
    # YAML reads 1e-5, without a point, as text.
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(name: str, asked: Any) -> list[Any]:
    """Return the values of a condition: one, or a list; a list of numbers may be one value."""
    is_tuple = get_origin(Settings.model_fields[name].annotation) is tuple
    nested = isinstance(asked, list) and all(isinstance(one, list) for one in asked)
    return asked if isinstance(asked, list) and (nested or not is_tuple) else [asked]


def _kind(label: Any) -> tuple[type, Any]:
    return type(label), label  # 1 is not true


def _when_in_words(when: tuple[Condition, ...]) -> str:
    if not when:
        return ""
    return " when " + " and ".join(f"{k} is {' or '.join(map(str, of))}" for k, of in when)
