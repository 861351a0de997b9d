"""All cores for work on many files, in threads or in processes; results come in order."""

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from threadpoolctl import threadpool_limits

from vehicle_lightning.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 256  # results that wait for the one that uses them
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameter numbers of mallopt in glibc's malloc.h
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let freed blocks serve the next step instead of going back to the system.

    A step of training, or the next picture, frees and asks for the same large blocks again;
    returning them costs one page fault for each 4 KiB. To be called before the first large
    allocation. Returns whether it took effect: it does with glibc, and elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    no_mapped_blocks = mallopt(M_MMAP_MAX, 0)
    no_trimming = mallopt(M_TRIM_THRESHOLD, NEVER)
    return bool(no_mapped_blocks and no_trimming)


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int = AHEAD
) -> Iterator[Result]:
    """Map in threads, a bounded number ahead: for work outside Python's lock, as decoding is."""
    # Each thread keeps one core busy; matrix products must not start more.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        yield from _in_order(pool, function, items, ahead)


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """Map in processes, a bounded number ahead: for work long enough to repay starting them.

    Args:
        function: can be pickled, as can what it is given and returns.
        items: what to map.
        workers: number of processes, by default one for each core.

    Raises:
        DataError: a process died.
    """
    # "spawn", because forking a process that may run threads of PyTorch is not safe.
    # Ctrl-C reaches them too; they leave it to this process to stop in good order.
    pool = ProcessPoolExecutor(
        workers or cores(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_process,
    )
    try:
        yield from _in_order(pool, function, items, AHEAD)
    except BrokenProcessPool as error:
        raise DataError(
            "A process reading or drawing pictures died; free some memory, or, if your own script "
            'asked for them, put its code under `if __name__ == "__main__":`.'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_process() -> None:
    import numpy  # noqa: F401  # only what is loaded can be limited

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # each process would say the same
    threadpool_limits(1, "blas")
    keep_freed_memory()


def _in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
