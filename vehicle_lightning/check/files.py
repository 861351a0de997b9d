"""The files: which cannot be used, which look odd, and which no row names."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.data.facts import Facts
from vehicle_lightning.data.findings import Finding, Severity
from vehicle_lightning.data.paths import files_below

SMALLEST_SIDE = 48  # pixels
LARGEST_PIXELS = 50_000_000
LONGEST_ASPECT = 3.0  # longer over shorter side
GREY_MODES = ("1", "L", "LA", "La")
ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")

# What odd images are, and what to do.
ODD: dict[str, tuple[Severity, str, str]] = {
    "tiny-image": (
        "warning",
        f"have a side of less than {SMALLEST_SIDE} pixels",
        "Enlarged they teach little; look for larger versions.",
    ),
    "huge-image": (
        "note",
        f"have more than {LARGEST_PIXELS / 1e6:.0f} million pixels",
        "Shrink them; reading them takes most of the time.",
    ),
    "odd-shape": (
        "warning",
        f"are more than {LONGEST_ASPECT:g} times as long as wide",
        "Only their centre is seen; crop them yourself.",
    ),
    "grey-image": (
        "note",
        "are stored without colour",
        "Make sure that this has nothing to do with the label.",
    ),
    "deep-image": (
        "note",
        "are grey with more than 8 bits",
        "Their values from 0 to the largest that their bits hold become 0 to 255, by one rule for "
        "all images; look at the pictures as the network sees them.",
    ),
    "many-frames": ("note", "hold several frames or pages", "The first one is used."),
    "transparent-image": (
        "note",
        "have an alpha channel",
        "It is laid over white; make sure that this has nothing to do with the label.",
    ),
    "rotated-image": (
        "note",
        "are turned by their EXIF data",
        "They are turned upright when read; other programs may not do that.",
    ),
}


def check_files(names: Sequence[str], facts: Facts, reason: str = "") -> list[Finding]:
    """Find files that cannot be used, and odd ones.

    Args:
        names: N file names.
        facts: records of type `FACTS` of shape (N,), what is known of each.
        reason: why files are missing, if it is known.
    """
    faulty = np.flatnonzero(facts["fault"] != "").tolist()
    broken = [(names[row], facts["fault"][row]) for row in faulty]
    missing = sum(fault == "missing" for _, fault in broken)
    unusable = Finding.of_files(
        "unusable-file",
        "serious",
        f"{len(broken)} of {len(names)} image files cannot be used, {missing} of them because they "
        f"are missing.",
        reason[:1].upper() + reason[1:] or "Repair or replace the files, or delete their rows.",
        broken,
    )
    width, height, mode, turn = (facts[c] for c in ("width", "height", "mode", "orientation"))
    shorter, longer = np.minimum(width, height), np.maximum(width, height)

    size = [f"{w} x {h}" for w, h in zip(width.tolist(), height.tolist(), strict=True)]
    depth = [f"{m}, up to {h:g}" for m, h in zip(mode, facts["highest"].tolist(), strict=True)]
    orientation = [f"orientation {value}" for value in turn.tolist()]
    odd: dict[str, tuple[NDArray[np.bool_], Sequence[str]]] = {
        "tiny-image": (shorter < SMALLEST_SIDE, size),
        "huge-image": (width * height > LARGEST_PIXELS, size),
        "odd-shape": (longer > LONGEST_ASPECT * shorter, size),
        "grey-image": (np.isin(mode.astype(str), GREY_MODES), mode.tolist()),
        "deep-image": (facts["kind"] != "", depth),
        "many-frames": (facts["has_frames"], [""] * len(names)),
        "transparent-image": (np.isin(mode.astype(str), ALPHA_MODES), mode.tolist()),
        "rotated-image": (~np.isin(turn, (0, 1)), orientation),
    }
    findings = [unusable]
    for kind, (severity, what, advice) in ODD.items():
        is_odd, details = odd[kind]
        rows = np.flatnonzero(is_odd & (facts["fault"] == "")).tolist()
        what = f"{len(rows)} of {len(names)} images {what}."
        found = [(names[row], details[row]) for row in rows]
        findings.append(Finding.of_files(kind, severity, what, advice, found))
    return findings


def check_unlisted(image_dir: Path | None, names: Sequence[str]) -> Finding:
    """Find files in the image folder, if there is one, that no row names; but for hidden ones."""
    listed = {os.path.normpath(name) for name in names}
    there = () if image_dir is None else files_below(image_dir)
    unlisted = [name for name in there if os.path.normpath(name) not in listed]
    return Finding.of_files(
        "unlisted-file",
        "note",
        f"{len(unlisted)} files in the image folder are named by no row.",
        "Label them: more images help most.",
        [(name, "") for name in unlisted],
    )
