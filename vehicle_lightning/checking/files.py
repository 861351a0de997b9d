"""The files: what each image file holds, and which cannot be used or look odd."""

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vehicle_lightning.checking.findings import Finding, Severity
from vehicle_lightning.console import progress_over
from vehicle_lightning.data.cache import content_digest
from vehicle_lightning.data.duplicates import THUMBNAIL, Prints
from vehicle_lightning.data.images import orientation, read_grey
from vehicle_lightning.data.location import stays_inside
from vehicle_lightning.parallel import in_processes, in_threads

AT_ONCE = 64  # files
MANY = 5000  # files that are worth the second it takes to start processes
SMALLEST_SIDE = 48  # pixels
LARGEST_PIXELS = 50_000_000
LONGEST_ASPECT = 3.0  # longer over shorter side
NO_IMAGES = {
    b"%pdf": "a PDF, no image",
    b"pk\x03\x04": "a ZIP archive, no image",
    b"<!do": "a web page, no image",
    b"<htm": "a web page, no image",
    b"<svg": "an SVG drawing, which Pillow cannot read",
}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of one image file.

    Attributes:
        fault: why it cannot be used, or "".
        digest: hash of its content, or "" where there is none.
        bytes: its size.
        width, height: in pixels, as stored.
        mode: Pillow's name of its colour mode.
        orientation: EXIF orientation; 1 is upright.
        modified: time of the last change, in seconds.
        quantization: mean of the quantization table of a JPEG; lower is better quality; 0 else.
    """

    fault: str = ""
    digest: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    orientation: int = 1
    modified: float = 0.0
    quantization: float = 0.0


def examine_files(image_dir: Path, names: Sequence[str]) -> tuple[list[FileFacts], Prints]:
    """Read and decode every file once, in parallel.

    Args:
        image_dir: folder that the names are relative to; what leads out of it is not opened.
        names: N file names.

    Returns:
        What is known of each file, and the prints of the pictures of those without fault.
    """
    batches = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
    in_parallel = in_processes if len(names) >= MANY else in_threads
    examined = in_parallel(partial(_examine_batch, image_dir), batches)
    facts: list[FileFacts] = []
    prints: list[Prints] = []
    with warnings.catch_warnings(action="ignore"):  # of odd files, which Pillow reads all the same
        for batch_facts, batch_prints in progress_over(examined, len(batches), "Examining images"):
            facts += batch_facts
            prints.append(batch_prints)
    return facts, Prints.joined(prints)


def _examine_batch(image_dir: Path, names: Sequence[str]) -> tuple[list[FileFacts], Prints]:
    is_inside = stays_inside(image_dir)
    facts, thumbnails = zip(*(_examine(image_dir / n, is_inside) for n in names), strict=True)
    found = [shown for shown in thumbnails if shown is not None]
    return list(facts), Prints.of(np.array(found).reshape(-1, THUMBNAIL, THUMBNAIL))


def _examine(
    path: Path, is_inside: Callable[[Path], bool]
) -> tuple[FileFacts, NDArray[np.uint8] | None]:
    try:
        if not is_inside(path):
            return FileFacts(fault="a link out of the image folder"), None
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            return FileFacts(fault="a folder"), None
        content, modified = path.read_bytes(), facts.st_mtime
    except FileNotFoundError:
        return FileFacts(fault="missing"), None
    except (OSError, ValueError) as error:
        return FileFacts(fault=(getattr(error, "strerror", None) or str(error)).lower()), None
    if not content:
        return FileFacts(fault="empty", modified=modified), None
    digest = content_digest(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            found = FileFacts(
                digest=digest,
                bytes=len(content),
                width=image.width,
                height=image.height,
                mode=image.mode,
                orientation=orientation(image),
                modified=modified,
                quantization=_quantization(image),
            )
            return found, read_grey(image, THUMBNAIL)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        return FileFacts(_reason(error, content), digest, len(content), modified=modified), None


def _quantization(image: Image.Image) -> float:
    tables = getattr(image, "quantization", None)
    return sum(tables[0]) / len(tables[0]) if tables else 0.0


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        return NO_IMAGES.get(content[:4].lower(), "no image")
    if isinstance(error, Image.DecompressionBombError):
        return "far too many pixels"
    text = " ".join(str(error).split()) or type(error).__name__
    return "truncated" if "truncated" in text.lower() else text


def check_files(names: Sequence[str], facts: Sequence[FileFacts]) -> list[Finding]:
    """Find files that cannot be used, and odd ones.

    Args:
        names: N file names.
        facts: what is known of each.
    """
    broken = [(name, fact.fault) for name, fact in zip(names, facts, strict=True) if fact.fault]
    missing = sum(fault == "missing" for _, fault in broken)
    findings = Finding.of_files(
        "unusable-file",
        "serious",
        f"{len(broken)} of {len(names)} image files cannot be used, {missing} of them because they "
        f"are missing.",
        "Mend or replace the files, or delete their rows.",
        broken,
    )
    sound = [(name, fact) for name, fact in zip(names, facts, strict=True) if not fact.fault]
    oddities: list[tuple[str, Severity, str, str, list[tuple[str, str]]]] = [
        (
            "tiny-image",
            "warning",
            f"have a side of less than {SMALLEST_SIDE} pixels",
            "Enlarged they teach little; look for larger versions.",
            [
                (n, f"{f.width} x {f.height}")
                for n, f in sound
                if min(f.width, f.height) < SMALLEST_SIDE
            ],
        ),
        (
            "huge-image",
            "note",
            f"have more than {LARGEST_PIXELS / 1e6:.0f} million pixels",
            "Shrink them; reading them takes most of the time.",
            [
                (n, f"{f.width} x {f.height}")
                for n, f in sound
                if f.width * f.height > LARGEST_PIXELS
            ],
        ),
        (
            "odd-shape",
            "warning",
            f"are more than {LONGEST_ASPECT:g} times as long as wide",
            "Only their centre is seen; crop them yourself.",
            [
                (n, f"{f.width} x {f.height}")
                for n, f in sound
                if max(f.width, f.height) > LONGEST_ASPECT * min(f.width, f.height)
            ],
        ),
        (
            "grey-image",
            "note",
            "are stored without colour",
            "Make sure that this has nothing to do with the label.",
            [(n, f.mode) for n, f in sound if f.mode in ("1", "L", "LA", "I", "I;16", "F")],
        ),
        (
            "transparent-image",
            "note",
            "have an alpha channel",
            "It is laid over white; make sure that this has nothing to do with the label.",
            [(n, f.mode) for n, f in sound if f.mode in ("RGBA", "LA", "PA", "La", "RGBa")],
        ),
        (
            "rotated-image",
            "note",
            "are turned by their EXIF data",
            "They are turned upright when read; other programs may not do that.",
            [(n, f"orientation {f.orientation}") for n, f in sound if f.orientation not in (0, 1)],
        ),
    ]
    for kind, severity, what, advice, found in oddities:
        count = f"{len(found)} image{'s' * (len(found) != 1)}"
        findings += Finding.of_files(kind, severity, f"{count} {what}.", advice, found)
    return findings


def check_unlisted(image_dir: Path, names: Sequence[str]) -> list[Finding]:
    """Find files in the image folder that no row names; hidden ones do not count."""
    listed = {os.path.normpath(name) for name in names}
    unlisted = sorted(
        name
        for folder, _, files in os.walk(image_dir)
        for name in _below(image_dir, folder, files)
        if name not in listed
    )
    return Finding.of_files(
        "unlisted-file",
        "note",
        f"{len(unlisted)} files in the image folder are named by no row.",
        "Label them: more images are the best remedy there is.",
        [(Path(name).as_posix(), "") for name in unlisted],
    )


def _below(image_dir: Path, folder: str, files: Sequence[str]) -> Iterator[str]:
    """Yield the names, relative to the image folder, of the files of a folder that show."""
    inner = os.path.relpath(folder, image_dir)
    prefix = "" if inner == os.curdir else inner + os.sep
    return (prefix + name for name in files if not name.startswith("."))
