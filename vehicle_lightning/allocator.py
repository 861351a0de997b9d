"""The C allocator told to keep freed memory: fewer page faults, faster work on a CPU."""

import ctypes
import sys

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
