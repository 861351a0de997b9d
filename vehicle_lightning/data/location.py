"""Where the data lies, checked before anything slow is imported."""

from vehicle_lightning.config import DataSettings
from vehicle_lightning.errors import DataError


def check_location(settings: DataSettings) -> None:
    """Check that the data directory, its CSV and its image folder are there.

    Raises:
        DataError: one of them is missing.
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
