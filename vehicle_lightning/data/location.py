"""Where the data lies and whether its CSV is sound, told before anything slow is imported."""

from vehicle_lightning.config import DataSettings
from vehicle_lightning.errors import DataError


def check_data(settings: DataSettings) -> None:
    """Check that data directory, CSV and image folder are there, and what the CSV says.

    Raises:
        DataError: something is missing, or the CSV has a mistake.
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

    from vehicle_lightning.data.table import read_table

    read_table(settings.data_dir, settings)
