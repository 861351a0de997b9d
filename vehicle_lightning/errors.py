"""What can be wrong with the user's input: one sentence each, shown without a traceback."""

from collections.abc import Iterable


class InputError(Exception):
    """Bad input; its message says in one sentence what, where, and what to do.

    Entry points print the message and end with exit code 2.
    """


class SettingsError(InputError):
    """A flag, a settings file, or a combination of settings is wrong."""


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


class ExportError(InputError):
    """A network cannot be exported, or the exported one is not the same."""


class SearchError(InputError):
    """A study or its database cannot be used."""


NAMED = 10  # items of a list that a sentence names
LONGEST_SHOWN = 300  # letters of a name


def join_first(items: Iterable[str]) -> str:
    """Join items with commas: the first ten by name, the rest counted."""
    every = list(items)
    rest = len(every) - NAMED
    named = ", ".join(one_line(item) for item in every[:NAMED])
    return named + (f" and {rest} more" if rest > 0 else "")


def one_line(text: str) -> str:
    """Return text that a terminal can show: what cannot be printed is escaped, the rest cut off."""
    shown = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
