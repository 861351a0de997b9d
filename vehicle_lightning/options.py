"""The command lines of all commands but fit and sweep: flags and paths in any order."""

from collections.abc import Sequence
from typing import TypeVar

import tyro
from pydantic import BaseModel

Options = TypeVar("Options", bound=BaseModel)


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
