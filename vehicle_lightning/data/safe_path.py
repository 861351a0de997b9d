"""No path leads out of the image folder: neither by its name nor by a link."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

# An absolute path, of whatever system, or a way up.
LEADS_OUTSIDE = r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)"
# On Windows alone `C:x` means a file of another drive; elsewhere it is a name like others.
OUTSIDE = re.compile(LEADS_OUTSIDE + ("|^[A-Za-z]:" if os.name == "nt" else ""))


def leads_outside(names: Iterable[str]) -> list[bool]:
    """Whether each name, put behind a folder, could lead out of it."""
    return [OUTSIDE.search(name) is not None for name in names]


def stays_inside(folder: Path) -> Callable[[str | Path], bool]:
    """Return what tells whether a path, all links followed, is one of a file in the folder."""
    root = folder.resolve()
    parents: dict[str, bool] = {}  # following links takes longer than all else that a path costs

    def is_inside(path: str | Path) -> bool:
        parent = os.path.dirname(path)
        try:
            if parent not in parents:
                parents[parent] = Path(parent).resolve().is_relative_to(root)
            is_sound = not os.path.islink(path) or Path(path).resolve().is_relative_to(root)
        except (RuntimeError, OSError, ValueError):  # links in a circle, or no name at all
            return False
        return parents[parent] and is_sound

    return is_inside
