"""The report as one HTML page that needs nothing else: thumbnails stand inside it."""

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from vehicle_lightning.data.findings import Finding, Report
from vehicle_lightning.data.images import Pixels, WhiteValues, read_or_fault
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
    is_inside = stays_inside(image_dir)

    def picture(name: str, side: int) -> str:
        pixels: Pixels | str = "not inside the image folder"
        if name and is_inside(image_dir / name):
            with warnings.catch_warnings(action="ignore"):  # of huge files, a finding themselves
                pixels = read_or_fault(image_dir / name, side, white)
        if isinstance(pixels, str):  # as often as not the finding is that it cannot be read
            return "<div class='none'>no picture</div>"
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=75)
        data = base64.b64encode(stream.getvalue()).decode()
        return f"<img alt='{escape(name)}' src='data:image/jpeg;base64,{data}'>"

    classes = ", ".join(f"{label}: {count}" for label, count in report.classes.items())
    strip = "".join(picture(name, SIDE) for name in examples)
    summary = [
        f"<a href='#finding{number}'>{_severity(finding.severity)}"
        f"<span>{escape(finding.what)}</span></a>"
        for number, finding in enumerate(report.findings)
    ]
    page = f"""<!doctype html><html lang='en'><head><meta charset='utf-8'>
<meta name='viewport' content='width=device-width'>
<title>Data check: {escape(report.csv)}</title><style>{STYLE}</style></head><body>
<h1>Data check</h1>
<p class='data'>{escape(report.csv)} &middot; {report.images} images &middot; {escape(classes)}</p>
{f"<p class='advice'>As the network sees them:</p><div class='strip'>{strip}</div>" * bool(strip)}
<nav>{"".join(summary) or f"<p>{_severity('sound')} Nothing found.</p>"}</nav>
{"".join(_section(f, number, picture) for number, f in enumerate(report.findings))}
</body></html>"""
    # Bytes of a file name that are not UTF-8 show as escapes.
    return page.encode("utf-8", "backslashreplace").decode()


def _severity(severity: str) -> str:
    return f"<span class='severity {severity}'>{severity}</span>"


def _section(finding: Finding, number: int, picture: Callable[[str, int], str]) -> str:
    items = "".join(f"<li>{escape(detail)}</li>" for detail in finding.details)
    content = f"<ul>{items}</ul>" if items else ""
    if finding.groups:
        side, figures = LARGE.get(finding.kind, SIDE), ""
        for place, group in enumerate(finding.groups[:SHOWN]):
            shown = "".join(picture(name, side) for name in group[:PER_GROUP])
            detail = escape(finding.details[place]) if finding.details else ""
            names = escape(join_first(group) or "(blank)")
            figures += f"<figure><div>{shown}</div><figcaption><b>{detail}</b>{names}</figcaption>"
            figures += "</figure>"
        rest = len(finding.groups) - SHOWN
        more = f"<p class='more'>and {rest} more, in findings.json</p>" if rest > 0 else ""
        content = f"<div class='groups'>{figures}</div>{more}"
    return (
        f"<section id='finding{number}' class='{finding.kind}'><h2>{_severity(finding.severity)}"
        f"<span>{escape(finding.what)}</span></h2>"
        f"<p class='advice'>{escape(finding.advice)}</p>{content}</section>"
    )
