"""What a person sees in the terminal: notices, and progress bars with the time left.

Everything goes to standard error, so that standard output holds results alone.
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

GAP = "  "  # between the columns of a table

# Of the processes that drive several devices, the first one speaks for all. Which one that is
# stands in the environment, as torchrun, Lightning and srun set it.
NUMBERS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together, or the only one."""
    return all(os.environ.get(number, "0") == "0" for number in NUMBERS)


console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not is_first_process())


def progress_bar() -> Progress:
    """Return a progress bar that vanishes when done, and is silent where no one is watching."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
    )


def progress_over(
    items: Iterable[Item],
    total: int,
    description: str,
    count: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Item]:
    """Yield the items while a progress bar counts them, or lines where no terminal is.

    The lines begin when work takes longer than a second, and come at most every second.

    Args:
        items: to pass on, as they come.
        total: sum of their counts.
        description: what is being done.
        count: how many an item counts for, as the images of a batch.
    """
    if not console.is_terminal:
        done, told, when = 0, 0, time.monotonic()
        for item in items:
            yield item
            done += count(item)
            if done - told >= total / 20 and time.monotonic() - when >= 1:
                notice(f"{description}: {done} of {total}")
                told, when = done, time.monotonic()
        return
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task, count(item))


def notice(sentence: str) -> None:
    """Tell the person something that is neither a result nor a mistake."""
    console.print(sentence, markup=False)


@cache
def notice_once(sentence: str) -> None:
    """Say something once in a process, however many runs it makes."""
    notice(sentence)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table of cells as lines, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def quiet_lightning() -> None:
    """Mute what Lightning says of itself and warnings that nobody here can act on.

    Its errors stay, and so does why it ends all processes within seconds where one of them has
    failed, also where this one hangs waiting for the one that is gone.
    """
    for message in (
        ".*does not have many workers.*",  # a batch is one look-up in a mapped file
        ".*Checkpoint directory .* exists and is not empty.*",  # as it is on --resume
        ".*Experiment logs directory .* exists and is not empty.*",  # that of --logger csv too
        ".*sampler has shuffling enabled.*",  # training images are measured too
        ".*No (positive|negative) samples.*",  # a class may be missing from a small sample
        "Image size .* exceeds limit",  # a large photograph is read all the same
        ".*Corrupt EXIF data.*",  # so is one with damaged metadata
        ".*in eval mode at the start of training.*",  # batch statistics of a backbone stay
        ".*treespec, LeafSpec.*is deprecated.*",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logger = logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("error: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
