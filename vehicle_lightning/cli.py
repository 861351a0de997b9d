"""From the command line to settings and to an exit code; imports nothing slow.

Every command is `run_command(main)`: `main` parses its arguments, by `parse_options` or, where they
are settings of a training too, by `parse_training`, and raises `InputError` for what a person can
put right.
"""

import argparse
import errno
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar, get_type_hints

import tyro
from pydantic import AfterValidator, BaseModel, Field

from vehicle_lightning.config import (
    AugmentSettings,
    DataSettings,
    DeviceSettings,
    NetworkSettings,
    OptimizerSettings,
    RunSettings,
    Settings,
    TrainerSettings,
)
from vehicle_lightning.errors import InputError, SettingsError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import check_unchanged, read_settings

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
UNREAD = 141  # 128 + SIGPIPE
NUMBER = r"(\d+(?:\.\d+)?)"
TIME = rf"(?:{NUMBER}d)?(?:{NUMBER}h)?(?:{NUMBER}m)?(?:{NUMBER}s)?"

Options = TypeVar("Options", bound=BaseModel)


class FitOptions(BaseModel):
    """Train a network on a data set, or one for each fold and seed, and measure it.

    Results go to a run folder below --log-dir; `tensorboard --logdir logs` draws them.
    """

    config: Path | None = Field(
        None,
        description="YAML file of settings, or the name of an experiment, such as best; flags "
        "given beside it come on top.",
    )
    print_config: bool = Field(False, description="Print the resolved settings as YAML and stop.")
    summary: bool = Field(
        False, description="Print the layers of the network, their parameters and shapes, and stop."
    )
    lr_find: bool = Field(
        False, description="Try rising learning rates, draw lr_find.png, name the best, and stop."
    )
    resume: Path | None = Field(
        None, description="Run folder to continue, with the settings it was started with."
    )


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class SettingsGroups:
    """All settings, group by group, as `--help` shows them."""

    data: DataSettings
    augmentation: AugmentSettings
    network: NetworkSettings
    optimization: OptimizerSettings
    trainer: TrainerSettings
    device: DeviceSettings
    run: RunSettings


@dataclass(frozen=True)
class TrainingArguments(Generic[Options]):
    """The command line of a command that trains."""

    command: Annotated[Options, tyro.conf.OmitArgPrefixes]
    """What to do, as opposed to how to train."""
    settings: Annotated[SettingsGroups, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class FitCommand:
    """A parsed command line of `vehicle_lightning.fit`."""

    settings: Settings
    resume: RunFolder | None
    options: FitOptions


def parse_fit(arguments: Sequence[str]) -> FitCommand:
    """Parse the command line of `vehicle_lightning.fit`.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Raises:
        SettingsError: a value is out of range, or the settings file is wrong.
        RunError: the run to continue is no run folder.
    """
    options = read_ahead(arguments, "config", "resume")
    resume = RunFolder.open(options.resume) if options.resume else None
    if resume and options.config:
        raise SettingsError("--resume takes the settings of the run; leave out --config.")
    settings_file = resume.config if resume else options.config
    defaults = read_settings(settings_file) if settings_file else Settings()

    parsed, settings = parse_training(FitOptions, "fit", arguments, defaults)
    if resume:
        if defaults.is_repeated != settings.is_repeated:
            kind = "run over several trainings" if defaults.is_repeated else "single run"
            raise SettingsError(
                f"{resume.path} is a {kind}, and stays one when it is continued; start a new run "
                f"instead."
            )
        check_unchanged(defaults, settings, resume.path, "start a new run instead")
        if parsed.lr_find:
            raise SettingsError("--lr-find comes before a training; leave out --resume.")
    return FitCommand(settings, resume, parsed)


def parse_training(
    kind: type[Options], command: str, arguments: Sequence[str], defaults: Settings
) -> tuple[Options, Settings]:
    """Parse the command line of a command that trains: its own options, and all settings.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Args:
        kind: the options; their docstring is what `--help` says first.
        command: name of the module, such as `sweep`.
        arguments: what follows it.
        defaults: the settings where no flag is given.

    Raises:
        SettingsError: a value is out of range.
    """
    groups = {
        name: group(**{key: getattr(defaults, key) for key in group.model_fields})
        for name, group in get_type_hints(SettingsGroups).items()
    }
    parsed = tyro.cli(
        TrainingArguments[kind],  # type: ignore[valid-type]
        prog=f"python -m vehicle_lightning.{command}",
        description=inspect.getdoc(kind),
        args=list(arguments),
        default=TrainingArguments(kind(), SettingsGroups(**groups)),
    )
    given = {name: value for group in vars(parsed.settings).values() for name, value in group}
    return parsed.command, Settings(**given)


def check_keeps_results(settings: Settings) -> None:
    """Refuse a trial run of two batches where results are to be compared.

    Raises:
        SettingsError: it is one.
    """
    if settings.fast_dev_run:
        raise SettingsError("--fast-dev-run keeps nothing that could be compared; leave it out.")


def check_over_folds(settings: Settings) -> None:
    """Check that each training is one over all folds, of which the results are kept.

    Raises:
        SettingsError: it is not.
    """
    check_keeps_results(settings)
    if settings.folds is None or settings.fold is not None:
        raise SettingsError("This command trains over all --folds; leave out --fold.")


def read_ahead(arguments: Sequence[str], *paths: str) -> argparse.Namespace:
    """Find the options that decide what the defaults of all other flags are.

    Args:
        arguments: the command line.
        paths: names of the options, each of which takes a path; None where it is not given.

    Returns:
        Them, and `help`: whether the help is asked for.

    Raises:
        SettingsError: an option lacks its path.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-h", "--help", action="store_true")
    for name in paths:
        spelt = dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}"))
        parser.add_argument(*spelt, type=Path)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise SettingsError(f"{error.argument_name}: {error.message}.") from error


def parse_options(kind: type[Options], command: str, arguments: Sequence[str]) -> Options:
    """Parse a command line.

    Exits with code 2, after printing what is wrong, where a flag is unknown or malformed.

    Args:
        kind: the options; those that are marked as positional are the paths.
        command: name of the module, such as `predict`.
        arguments: what follows it.

    Raises:
        SettingsError: a value is out of range.
    """
    return tyro.cli(
        kind,
        prog=f"python -m vehicle_lightning.{command}",
        args=_flags_first(kind, arguments),
    )


def _flags_first(kind: type[BaseModel], arguments: Sequence[str]) -> list[str]:
    """Move paths behind the flags; tyro takes only those that stand side by side.

    A flag that is unknown keeps what follows it, so that the message about it is tyro's.
    """
    booleans = [name for name, field in kind.model_fields.items() if field.annotation is bool]
    switches = {f"--{no}{name}".replace("_", "-") for name in booleans for no in ("", "no-")}
    flags: list[str] = []
    paths: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--":
            paths += left
            break
        if not argument.startswith("-") or argument == "-":
            paths.append(argument)
            continue
        flags.append(argument)
        takes_value = "=" not in argument and argument.replace("_", "-") not in switches
        if takes_value and left and not left[0].startswith("-"):
            flags.append(left.pop(0))
    return [*flags, *paths]


def seconds(time: str) -> float:
    """Return the seconds of `90`, `90s`, `30m`, `2h`, `2h30m` or `1d`; fractions may have a point.

    Raises:
        ValueError: it is no such time.
    """
    match = re.fullmatch(TIME, re.sub(rf"^{NUMBER}$", r"\1s", time.strip()))
    parts = [float(part or 0) for part in match.groups()] if match else []
    total = sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=False))
    if total == 0:
        raise ValueError("a time has the form 90, 30m, 2h or 2h30m")
    return total


def _checked_time(time: str) -> str:
    seconds(time)
    return time


Duration = Annotated[str, AfterValidator(_checked_time)]
"""A setting that `seconds` can read."""


def run_command(command: Callable[[Sequence[str]], int]) -> None:
    """Run an entry point; end the process with its exit code, or say what is wrong in a sentence.

    Bad input and a full disk end with exit code 2, Ctrl-C with 130, a reader of the output that has
    gone, as in `| head`, silently with 141.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as cleanly as Ctrl-C
    # Before torch is loaded: threads that wait for each other sleep instead of taking the processor
    # from whatever else runs on the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name of any letters can be printed
    try:
        code = command(sys.argv[1:])
        sys.stdout.flush()
    except InputError as error:
        code = _complain(str(error))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer would raise once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = UNREAD
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f" while writing {error.filename}" if error.filename else ""
            code = _complain(f"No space left on the disk{place}.")
        elif error.filename is not None:
            code = _complain(f"Cannot use {error.filename}: {error.strerror}.")
        else:
            raise
    sys.exit(code)


def _complain(sentence: str) -> int:
    process = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))  # of several that train
    who = "error" if process == "0" else f"error on process {process}"
    print(f"{who}: {sentence}", file=sys.stderr)
    return USAGE_ERROR
