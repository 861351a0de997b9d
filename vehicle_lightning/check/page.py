"""The report as one HTML page that needs nothing else: thumbnails stand inside it."""

import base64
import html
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vehicle_lightning.data.findings import Finding, Report
from vehicle_lightning.data.images import WhiteValues, read_or_fault
from vehicle_lightning.data.paths import stays_inside
from vehicle_lightning.errors import join_first

SHOWN = 48  # groups of a finding
PER_GROUP = 6  # pictures of a group
SIDE = 112  # pixels of a thumbnail
LARGE = {"label-error": 224}  # where a person is to judge every picture

STYLE = """
:root { --ink: #2b2b2b; --faint: #767676; --line: #e4e4e4; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 68rem;
       margin: 2.5rem auto; padding: 0 1.5rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: 0; }
.data { color: var(--faint); margin: .2rem 0 1.6rem; }
nav a { display: flex; gap: .8rem; padding: .45rem 0; border-top: 1px solid var(--line);
        color: inherit; text-decoration: none; }
nav a:hover { background: #fafafa; }
.severity { flex: none; align-self: start; width: 5.4rem; border-radius: 1rem; color: white;
            font-size: .8rem; line-height: 1.5rem; text-align: center; }
.serious { background: #b3261e; } .warning { background: #b26a00; } .note { background: #5f6b76; }
.sound { background: #1b7f4b; }
section { margin-top: 2.6rem; border-top: 3px solid var(--line); padding-top: 1rem; }
h2 { font-size: 1.15rem; margin: 0 0 .2rem; display: flex; gap: .8rem; align-items: baseline; }
.advice { margin: .1rem 0 1rem; color: var(--faint); }
.strip { display: flex; flex-wrap: wrap; gap: .3rem; margin-bottom: 1.6rem; }
.groups { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; padding: .5rem; border: 1px solid var(--line); border-radius: .5rem; }
figure > div { display: flex; flex-wrap: wrap; gap: .3rem; }
img, .none { width: 112px; height: 112px; border-radius: .25rem; display: block; }
.label-error :is(img, .none) { width: 224px; height: 224px; }
.label-error figure { counter-increment: figure; max-width: 15.2rem; }
.label-error b::before { content: counter(figure) ". "; }
.none { background: #f1f1f1; color: var(--faint); font-size: .8rem; display: grid;
        place-items: center; }
figcaption { font-size: .75rem; max-width: 22rem; margin-top: .3rem; }
figcaption b { display: block; }
.more { color: var(--faint); margin-top: .8rem; }
"""


def to_page(
    report: Report,
    image_dir: Path,
    white: WhiteValues | None = None,
    examples: Sequence[str] = (),
) -> str:
    """Return the HTML page of a report.

    Args:
        report: what was found.
        image_dir: folder that the names of the files are relative to.
        white: what is white in deep grey images, by kind.
        examples: names of pictures to show as the network sees them.
    """
    pictures = _Pictures(image_dir, white)
    classes = ", ".join(f"{label}: {count}" for label, count in report.classes.items())
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>Data check: {html.escape(report.csv)}</title><style>{STYLE}</style></head><body>",
        f"<h1>Data check</h1><p class='data'>{html.escape(report.csv)} &middot; "
        f"{report.images} images &middot; {html.escape(classes)}</p>",
        _strip(examples, pictures),
        "<nav>",
        *(_summary(finding, number) for number, finding in enumerate(report.findings)),
        ""
        if report.findings
        else "<p><span class='severity sound'>sound</span> Nothing found.</p>",
        "</nav>",
        *(_section(finding, number, pictures) for number, finding in enumerate(report.findings)),
        "</body></html>",
    ]
    # Bytes of a file name that are not UTF-8 show as escapes.
    return "\n".join(parts).encode("utf-8", "backslashreplace").decode()


def _strip(examples: Sequence[str], pictures: "_Pictures") -> str:
    """Some pictures as the network sees them: upright, square, with 8 bits."""
    if not examples:
        return ""
    shown = "".join(pictures.shown(name, SIDE) for name in examples)
    return f"<p class='advice'>As the network sees them:</p><div class='strip'>{shown}</div>"


def _summary(finding: Finding, number: int) -> str:
    return (
        f"<a href='#finding{number}'><span class='severity {finding.severity}'>"
        f"{finding.severity}</span><span>{html.escape(finding.what)}</span></a>"
    )


class _Pictures:
    """Thumbnails of the pictures of a folder."""

    def __init__(self, image_dir: Path, white: WhiteValues | None) -> None:
        self._image_dir, self._white = image_dir, white
        self._is_inside = stays_inside(image_dir)

    def shown(self, name: str, side: int) -> str:
        """Return a picture of so many pixels a side as HTML."""
        pixels = self._read(name, side)
        if isinstance(pixels, str):  # as often as not the finding is that it cannot be read
            return "<div class='none'>no picture</div>"
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=75)
        data = base64.b64encode(stream.getvalue()).decode()
        return f"<img alt='{html.escape(name, quote=True)}' src='data:image/jpeg;base64,{data}'>"

    def _read(self, name: str, side: int) -> NDArray[np.uint8] | str:
        """Decode a picture of the folder, or say in a few words why there is none."""
        if not name or not self._is_inside(self._image_dir / name):
            return "not inside the image folder"
        with warnings.catch_warnings(action="ignore"):  # of huge files, a finding themselves
            return read_or_fault(self._image_dir / name, side, self._white)


def _section(finding: Finding, number: int, pictures: _Pictures) -> str:
    content = _groups(finding, pictures) if finding.groups else _list(finding.details)
    return (
        f"<section id='finding{number}' class='{finding.kind}'>"
        f"<h2><span class='severity {finding.severity}'>{finding.severity}</span>"
        f"<span>{html.escape(finding.what)}</span></h2>"
        f"<p class='advice'>{html.escape(finding.advice)}</p>{content}</section>"
    )


def _groups(finding: Finding, pictures: _Pictures) -> str:
    side = LARGE.get(finding.kind, SIDE)
    figures = [
        _figure(group, finding.details[position] if finding.details else "", pictures, side)
        for position, group in enumerate(finding.groups[:SHOWN])
    ]
    rest = len(finding.groups) - len(figures)
    more = f"<p class='more'>and {rest} more, in findings.json</p>" if rest else ""
    return f"<div class='groups'>{''.join(figures)}</div>{more}"


def _list(details: tuple[str, ...]) -> str:
    items = "".join(f"<li>{html.escape(detail)}</li>" for detail in details)
    return f"<ul>{items}</ul>" if items else ""


def _figure(group: tuple[str, ...], detail: str, pictures: _Pictures, side: int) -> str:
    shown = "".join(pictures.shown(name, side) for name in group[:PER_GROUP])
    names = join_first(group) or "(blank)"
    return (
        f"<figure><div>{shown}</div><figcaption><b>{html.escape(detail)}</b>"
        f"{html.escape(names)}</figcaption></figure>"
    )
