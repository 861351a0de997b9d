"""The cleaned CSV: each photograph once, under a label that nothing contradicts."""

from pathlib import Path

import pandas as pd

from vehicle_lightning.checking.checking import Checked
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.errors import DataError
from vehicle_lightning.files import written_whole


def write_clean(
    target: Path,
    source: Path,
    settings: SourceSettings,
    checked: Checked,
) -> int:
    """Write the rows that are worth training on, and return how many there are.

    Of copies the first is kept; of copies, or rows, with contradicting labels none, as it cannot be
    known which is right; files that cannot be used are left out.

    Args:
        target: CSV file to write.
        source: the CSV file it came from, which is never written to.
        settings: names of the columns.
        checked: what was found in the source.

    Raises:
        DataError: the target is the source.
        OSError: the target cannot be written.
    """
    if target.resolve() == source.resolve():
        raise DataError(f"--write-clean {target} is the CSV that is checked; name another file.")
    contradicted = {
        name
        for finding in checked.rows.findings
        if finding.kind == "contradicting-rows"
        for name in finding.files
    }
    table = pd.DataFrame(
        {"name": checked.rows.names, "label": checked.rows.labels, "group": checked.groups}
    )
    agrees = table.groupby("group")["label"].transform("nunique") == 1
    kept = table[checked.usable & agrees & ~table["name"].isin(contradicted)].drop_duplicates(
        "group"
    )
    columns = {"name": settings.image_column, "label": settings.label_column}
    with written_whole(target) as temporary:
        kept[["name", "label"]].rename(columns=columns).to_csv(temporary, index=False)
    return len(kept)
