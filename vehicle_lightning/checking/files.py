"""The files: what each image file holds, and which cannot be used or look odd."""

import hashlib
import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from vehicle_lightning.checking.findings import Finding, Severity, singly
from vehicle_lightning.console import progress_over
from vehicle_lightning.data.duplicates import THUMBNAIL
from vehicle_lightning.data.images import read_image

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
AHEAD = 512  # files in flight


@dataclass(frozen=True)
class FileFacts:
    """What is known of one image file.

    Attributes:
        fault: why it cannot be used, or "".
        digest: hash of its content, or "" where there is none.
        bytes: its size.
        width, height: in pixels, as stored.
        mode: Pillow's name of its colour mode.
        format: Pillow's name of its format.
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
    format: str = ""
    orientation: int = 1
    modified: float = 0.0
    quantization: float = 0.0


def examine_files(image_dir: Path, names: Sequence[str]) -> list[FileFacts]:
    """Read every file once, in parallel, and decode it.

    Args:
        image_dir: folder that the names are relative to; what leads out of it is not opened.
        names: file names.
    """
    root = image_dir.resolve()
    results: list[FileFacts] = []
    with ThreadPoolExecutor() as pool:
        chunks = (names[start : start + AHEAD] for start in range(0, len(names), AHEAD))
        facts = (
            found
            for chunk in chunks
            for found in pool.map(lambda name: _examine(root, name), chunk)
        )
        results.extend(progress_over(facts, len(names), "Examining images"))
    return results


def _examine(root: Path, name: str) -> FileFacts:
    try:
        path = root / name
        if not path.resolve().is_relative_to(root):
            return FileFacts(fault="a link out of the image folder")
        if path.is_dir():
            return FileFacts(fault="a folder")
        content, modified = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:
        return FileFacts(fault="missing")
    except (OSError, ValueError) as error:
        return FileFacts(fault=(getattr(error, "strerror", None) or str(error)).lower())
    if not content:
        return FileFacts(fault="empty", modified=modified)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            facts = FileFacts(
                digest=digest,
                bytes=len(content),
                width=image.width,
                height=image.height,
                mode=image.mode,
                format=image.format or "",
                orientation=image.getexif().get(ExifTags.Base.Orientation, 1),
                modified=modified,
                quantization=_quantization(image),
            )
            read_image(io.BytesIO(content), THUMBNAIL)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        return FileFacts(_reason(error, content), digest, len(content), modified=modified)
    return facts


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
    findings = []
    broken = [(name, fact.fault) for name, fact in zip(names, facts, strict=True) if fact.fault]
    if broken:
        missing = sum(fault == "missing" for _, fault in broken)
        findings.append(
            Finding(
                kind="unusable-file",
                severity="serious",
                what=f"{len(broken)} of {len(names)} image files cannot be used, {missing} of them "
                f"because they are missing.",
                advice="Mend or replace the files, or delete their rows.",
                count=len(broken),
                groups=singly([name for name, _ in broken]),
                details=tuple(fault for _, fault in broken),
            )
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
        if found:
            findings.append(
                Finding(
                    kind=kind,
                    severity=severity,
                    what=f"{len(found)} image{'s' * (len(found) != 1)} {what}.",
                    advice=advice,
                    count=len(found),
                    groups=singly([name for name, _ in found]),
                    details=tuple(detail for _, detail in found),
                )
            )
    return findings


def check_unlisted(image_dir: Path, names: Sequence[str]) -> list[Finding]:
    """Find files in the image folder that no row names; hidden ones do not count."""
    listed = {os.path.normpath(image_dir / name) for name in names}
    unlisted = sorted(
        path.relative_to(image_dir).as_posix()
        for path in image_dir.rglob("*")
        if path.is_file() and not path.name.startswith(".") and os.path.normpath(path) not in listed
    )
    if not unlisted:
        return []
    return [
        Finding(
            kind="unlisted-file",
            severity="note",
            what=f"{len(unlisted)} files in the image folder are named by no row.",
            advice="Label them: more images are the best remedy there is.",
            count=len(unlisted),
            groups=singly(unlisted),
        )
    ]
