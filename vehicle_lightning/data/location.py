"""Where the data lies and whether its CSV is sound, told before anything slow is imported."""

from functools import cache
from pathlib import Path

from vehicle_lightning.config import SourceSettings
from vehicle_lightning.errors import DataError


def check_data(settings: SourceSettings) -> None:
    """Check that data directory, CSV and image folder are there, and what the CSV says.

    Raises:
        DataError: something is missing, or the CSV has a mistake.
    """
    if settings.data_dir is None:
        return
    check_places(settings)

    from vehicle_lightning.data.table import read_table

    read_table(settings.data_dir, settings)


def check_places(settings: SourceSettings) -> None:
    """Check that data directory, CSV and image folder are there.

    Raises:
        DataError: one is missing.
    """
    if settings.data_dir is None:
        return
    if not settings.data_dir.is_dir():
        raise DataError(f"There is no data directory {settings.data_dir}; see --data-dir.")
    csv = settings.data_dir / settings.csv
    if not csv.is_file():
        raise DataError(f"There is no CSV file {csv}; name it with --csv.")
    images = settings.data_dir / settings.image_dir
    if not images.is_dir():
        raise DataError(f"There is no image folder {images}; name it with --image-dir.")


def locate_data(settings: SourceSettings) -> tuple[Path, Path]:
    """Return data directory and cache folder; without the first, synthetic vehicles are made.

    Raises:
        DataError: the cache folder cannot be written to.
    """
    from vehicle_lightning.data.cache import default_cache_dir
    from vehicle_lightning.synthetic import VERSION, make_vehicles

    cache_dir = settings.cache_dir or default_cache_dir()
    if settings.data_dir is not None:
        return settings.data_dir, cache_dir
    synthetic = make_vehicles(cache_dir / f"synthetic_vehicles_{VERSION}")
    _tell_of_synthetic(synthetic)
    return synthetic, cache_dir


@cache
def _tell_of_synthetic(folder: Path) -> None:
    """Say once in a process what the data are, however many runs it makes."""
    from vehicle_lightning.console import notice

    notice(f"Data: synthetic vehicles, not photographs, from {folder} (see --data-dir).")
