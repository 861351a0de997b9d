"""What can be wrong with the user's input: one sentence each, shown without a traceback."""

import re
from collections.abc import Iterable

LONGEST_SHOWN = 300  # characters of a name or a reason
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal, as PyTorch puts them into its messages


def one_line(text: object) -> str:
    """Return a name, or the message of an error, as one line that a terminal can show.

    The lines of a message are joined; of a name, what cannot be printed is escaped.
    """
    line = (
        " ".join(COLOURS.sub("", str(text)).split()) if isinstance(text, Exception) else str(text)
    )
    shown = line if line.isprintable() else line.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."


def join_first(items: Iterable[str], named: int = 10) -> str:
    """Join items with commas: the first few by name, the rest counted."""
    every = list(items)
    rest = len(every) - named
    return ", ".join(map(one_line, every[:named])) + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 image`, `2 images`, `3 batches`."""
    plural = "" if number == 1 else "es" if noun.endswith("tch") else "s"
    return f"{number} {noun}{plural}"


class InputError(Exception):
    """Bad input; its message says in one sentence what, where, and what to do.

    Entry points print the message and end with exit code 2.
    """


class SettingsError(InputError):
    """A flag, a settings file, or a combination of settings is wrong."""


class UntrainableError(SettingsError):
    """A network cannot be trained with these settings, but another one could be.

    Searches go on with the next one.
    """


class DataError(InputError):
    """The CSV, the image folder, or a place to write to is wrong."""


class ImageChangedError(DataError):
    """An image that could be read when the command began cannot be read any more.

    DataLoader hands over an error of a worker process with the traceback around its message, of
    which only the message is kept.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].rstrip())


class RunError(InputError):
    """A run folder or a checkpoint is missing, unreadable, or of another kind."""
