"""How a command ends: its exit code, or one sentence on what is wrong."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

from vehicle_lightning.errors import InputError

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
UNREAD = 141  # 128 + SIGPIPE


def run_command(command: Callable[[Sequence[str]], int]) -> None:
    """Run an entry point; end the process with its exit code, or say what is wrong in a sentence.

    Bad input and a full disk end with exit code 2, Ctrl-C with 130, a reader of the output that has
    gone, as in `| head`, silently with 141.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as cleanly as Ctrl-C
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
            code = _complain(f"No space left on the disk while writing {error.filename}.")
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
