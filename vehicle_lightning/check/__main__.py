"""Check a data set: `python -m vehicle_lightning.check --data-dir photos`."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import SourceSettings
from vehicle_lightning.data.table import data_folder, table_of
from vehicle_lightning.errors import DataError, join_first, one_line
from vehicle_lightning.files import atomic_write
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.settings_file import read_settings

if TYPE_CHECKING:
    from vehicle_lightning.check.checks import Checked
    from vehicle_lightning.data.findings import Report

SERIOUS = 1  # exit code with --strict
NAMED = 3  # groups named in the terminal
EXAMPLES = 16  # pictures shown as the network sees them


class CheckOptions(SourceSettings):
    """Find what is wrong with a data set: rows, files, duplicates, contradictions, leaks.

    Nothing is changed. The files of every finding stand in the report.
    """

    test_csv: Path | None = Field(
        None, description="A second CSV, relative to the data dir, whose images must be others."
    )
    run: Path | None = Field(
        None,
        description="Run folder: list the labels that its networks contradict; without --data-dir "
        "those of its own data.",
    )
    mirrored: bool = Field(False, description="Look for mirrored duplicates too.")
    report: Path | None = Field(
        None, description="Folder to write findings.json and index.html, with thumbnails, to."
    )
    write_clean: Path | None = Field(
        None, description="CSV file to write with the rows that are worth training on."
    )
    strict: bool = Field(False, description="End with exit code 1 if a finding is serious.")


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, check, and print what was found."""
    options = parse_options(CheckOptions, "check", arguments)
    report = check(options)
    return SERIOUS if options.strict and report.is_serious else 0


def check(options: CheckOptions) -> "Report":
    """Check a data set, print what was found, and write what was asked for.

    Raises:
        DataError: a CSV, a column or a folder is missing, or a place cannot be written to.
        OSError: the disk is full.
    """
    run = None if options.run is None else RunFolder.open(options.run)
    if run is not None and options.data_dir is None:  # a run remembers its data
        remembered = read_settings(run.config)
        unsaid = [name for name in SourceSettings.model_fields if options.is_default(name)]
        source = {name: getattr(remembered, name) for name in unsaid}
        options = options.model_copy(update=source)
    table = table_of(options)
    data_dir = data_folder(options)
    test_csv = None if options.test_csv is None else data_dir / options.test_csv
    if test_csv is not None and not test_csv.is_file():
        raise DataError(f"There is no CSV file {test_csv}; name it with --test-csv.")
    if options.write_clean is not None:
        inputs = [Path(table.source), *([] if test_csv is None else [test_csv])]
        _refuse_to_overwrite(options.write_clean, inputs, table.image_dir)
    from vehicle_lightning.check.checks import check_data_set, write_clean

    checked = check_data_set(table, options, test_csv=test_csv, run=run, mirrored=options.mirrored)
    print(_text(checked.report))
    if options.report is not None:
        _write_report(checked, options.report)
    if options.write_clean is not None:
        kept = write_clean(options.write_clean, options, checked)
        print(f"saved   {options.write_clean}: {kept} of {checked.report.images} images")
    return checked.report


def _refuse_to_overwrite(target: Path, inputs: list[Path], image_dir: Path | None) -> None:
    """Refuse a target of --write-clean that cannot be written, or is part of the data."""
    place = target.resolve()
    is_image = (
        image_dir is not None and place.is_file() and place.is_relative_to(image_dir.resolve())
    )
    if is_image or place in [path.resolve() for path in inputs]:
        raise DataError(f"--write-clean {target} is part of the data; name another file.")
    if place.is_file():
        raise DataError(
            f"--write-clean {target} is there already; name another file, or delete it."
        )
    if place.is_dir() or not place.parent.is_dir():
        raise DataError(f"--write-clean {target} is no file in a folder; name a CSV file to write.")


def _write_report(checked: "Checked", folder: Path) -> None:
    from vehicle_lightning.check.page import to_page

    report, table = checked.report, checked.table
    usable = [name for name, fine in zip(table.names, checked.usable, strict=True) if fine]
    examples = usable[:: len(usable) // EXAMPLES + 1]
    page = to_page(report, table.image_dir or Path(), checked.white, examples)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(folder / "findings.json") as findings,
        atomic_write(folder / "index.html") as shown,
    ):
        findings.write_text(report.to_json(), encoding="utf-8", newline="\n")
        shown.write_text(page, encoding="utf-8", newline="\n")
    print(f"saved   {folder / 'index.html'} and findings.json")


def _text(report: "Report") -> str:
    classes = join_first(f"{label}: {count}" for label, count in report.classes.items())
    lines = [f"{report.csv}: {report.images} images ({classes})"]
    for finding in report.findings:
        lines.append(f"\n{finding.severity.upper():8} {finding.what}")
        for group, detail in zip_longest(finding.groups[:NAMED], finding.details[:NAMED]):
            if group is not None:
                told = f" ({one_line(detail)})" if detail is not None else ""
                lines.append(f"{'':9}- {join_first(group) or 'blank'}{told}")
        if len(finding.groups) > NAMED:
            lines.append(f"{'':9}- and {len(finding.groups) - NAMED} more")
        lines.append(f"{'':9}{finding.advice}")
    return "\n".join(lines if report.findings else [*lines, "\nNothing found."])


if __name__ == "__main__":
    run_command(main)
