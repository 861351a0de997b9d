"""The cleaned CSV: each photograph once, under a label that nothing contradicts."""

from pathlib import Path

import pandas as pd

from vehicle_lightning.check.checks import Checked
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.files import write_csv


def write_clean(target: Path, settings: SourceSettings, checked: Checked) -> int:
    """Write the rows that are worth training on, and return how many there are.

    Of duplicates the first is kept; of duplicates, or rows, with contradicting labels none, as it
    cannot be known which is right; files that cannot be used are left out.

    Args:
        target: CSV file to write.
        settings: names of the columns.
        checked: what was found.

    Raises:
        OSError: the target cannot be written.
    """
    contradicted = {
        name
        for finding in checked.table.findings
        if finding.kind == "contradicting-rows"
        for name in finding.files
    }
    labels = [checked.table.class_names[code] for code in checked.table.labels.tolist()]
    table = pd.DataFrame({"name": checked.table.names, "label": labels, "group": checked.groups})
    by_group = table.assign(bad=table["name"].isin(contradicted)).groupby("group")
    agrees = (by_group["label"].transform("nunique") == 1) & ~by_group["bad"].transform("any")
    kept = table[checked.usable & agrees].drop_duplicates("group")
    places = settings.model_copy(update=dict(checked.table.found))
    columns = {"name": places.image_column, "label": places.label_column}
    write_csv(target, kept[["name", "label"]].rename(columns=columns))
    return len(kept)
