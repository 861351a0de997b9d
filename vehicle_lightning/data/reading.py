"""The images of a table, read and checked, and which of them show the same photograph."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vehicle_lightning.config import DataSettings
from vehicle_lightning.console import notice
from vehicle_lightning.data.cache import DecodedImages, cache_folder, decode_images
from vehicle_lightning.data.duplicates import Duplicates, Wanted, group_images
from vehicle_lightning.data.facts import FLAT, Facts, read_hashes
from vehicle_lightning.data.hashes import Pictures
from vehicle_lightning.data.paths import likely_reason
from vehicle_lightning.data.table import Table
from vehicle_lightning.errors import DataError, join_first


@dataclass(frozen=True)
class ReadImages:
    """The images of a table, before any split.

    Attributes:
        table: names and labels of the N images that could be read.
        decoded: pixels of these and what is known of each.
        duplicates: which of them show the same photograph.
        fingerprint: hash of all names, labels, image contents, groups and splits.
    """

    table: Table
    decoded: DecodedImages
    duplicates: Duplicates
    fingerprint: str

    def mean_and_std(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return red, green, blue of some images in [0, 1]: float64 of shape (3,) each."""
        mean = self.decoded.channel_mean[rows].mean(axis=0)
        variance = self.decoded.channel_mean_square[rows].mean(axis=0) - mean**2
        darkest = 1 / 255  # images of one flat colour would otherwise divide by zero
        return mean, np.sqrt(variance.clip(darkest**2))


def group_examined(
    facts: Facts, pictures: Pictures, folder: Path, wanted: Wanted = "near"
) -> Duplicates:
    """Find the duplicates among files that were examined; one that cannot be read is alone.

    Args:
        facts: records of type `FACTS` of shape (N,).
        pictures: records of type `PICTURE` of shape (N,).
        folder: to remember near duplicates in.
        wanted: which are to be found.

    Raises:
        DataError: the folder cannot be written to, or the disk is full.
    """
    readable = np.flatnonzero(facts["fault"] == "")
    found = group_images(facts["digest"][readable], folder, lambda: (pictures, readable), wanted)
    groups, certain = np.tile(np.arange(len(facts)) + len(facts), (2, 1))
    groups[readable], certain[readable] = found.of_image, found.certain
    scenes = tuple(readable[scene] for scene in found.scenes)
    return Duplicates(groups, found.exact, found.near, scenes, certain)


def read_images(listed: Table, settings: DataSettings) -> ReadImages:
    """Read the images of a table, and say what is noticed of them.

    Raises:
        DataError: images cannot be read or are all blank, or a folder cannot be written to.
    """
    cache_dir = cache_folder(settings)
    decoded = decode_images(
        listed.paths,
        settings.image_size,
        cache_dir,
        image_dir=listed.image_dir,
        keep_pixels=settings.cache == "disk",
    )
    table = listed
    if decoded.unreadable:
        table = _readable(listed, decoded.unreadable, skip=settings.skip_unreadable)
    if decoded.contrast.max() < FLAT and np.ptp(decoded.grey) < FLAT:
        raise DataError(
            f"All {len(table)} images of {table.source} are blank and look the same; nothing can "
            f"be learnt from them."
        )
    hashes, rows = decoded.hashes, decoded.rows
    duplicates = group_images(
        decoded.digests,
        cache_dir,
        partial(read_hashes, table.paths, cache_dir) if hashes is None else lambda: (hashes, rows),
        settings.duplicates,
    )
    if duplicates.scenes and table.groups is None:
        notice(
            f"{sum(map(len, duplicates.scenes))} of {len(table)} images look alike but for "
            f"details, as those of one camera do, and are not kept in one split; where images of "
            f"one camera, day or patient belong together, name the column that says so with "
            f"--group-column."
        )
    return ReadImages(table, decoded, duplicates, _fingerprint(table, decoded, duplicates))


def _readable(table: Table, faults: dict[int, str], *, skip: bool) -> Table:
    """Return the table without the images that cannot be read, where these may be skipped."""
    what = f"{len(faults)} of {len(table)} images of {table.source} cannot be read: " + join_first(
        f"{table.names[row]} ({fault})" for row, fault in faults.items()
    )
    if not skip:
        missing = [table.names[row] for row, fault in faults.items() if fault == "missing"]
        reason = likely_reason(missing, table.image_dir)
        repair = reason or "repair them or go on without them by --skip-unreadable."
        raise DataError(f"{what}; {repair}")
    notice(f"{what}; going on without them.")
    rest = table.without(faults)
    if len(rest.class_names) < 2:
        raise DataError(
            f"Without the {len(faults)} images that cannot be read, {table.source} holds images of "
            f"{len(rest.class_names)} class(es), and a classifier needs two; repair the images."
        )
    return rest


def _fingerprint(table: Table, decoded: DecodedImages, duplicates: Duplicates) -> str:
    blank = [""] * len(table)
    content = hashlib.blake2b(digest_size=12)
    for name, label, digest, group, named, split in zip(
        table.names,
        table.labels,
        decoded.digests.tolist(),
        duplicates.of_image,
        table.groups or blank,
        table.splits or blank,
        strict=True,
    ):
        label_name = table.class_names[label]
        row = f"{name}\0{label_name}\0{digest.decode()}\0{group}\0{named}\0{split}\0"
        content.update(row.encode("utf-8", "surrogateescape"))
    content.update(json.dumps(dict(decoded.white), sort_keys=True).encode())
    return content.hexdigest()
