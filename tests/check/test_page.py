"""The page in a browser: every picture shows, every link leads somewhere, nothing runs or loads."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from vehicle_lightning.check.__main__ import main
from vehicle_lightning.check.page import LARGE, to_page
from vehicle_lightning.data.findings import Finding, Report
from vehicle_lightning.synthetic import make_vehicles

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# A container's root may not make the sandbox; the rest keeps the browser from calling home.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--hide-scrollbars", "--virtual-time-budget=5000", "--dump-dom"),
)
HOSTILE = (
    "<img src=x onerror=alert(1)>'\".jpg",
    "<script>alert(1)<%2Fscript>.jpg",
    "a&amp;b.jpg",
    "x" * 200 + ".jpg",
    "\u202egpj.jpg",
)
NOT_UTF8 = os.fsdecode(b"\xff.jpg")
ASKING = """<script>
parent.document.getElementById('facts').textContent = JSON.stringify({
  pictures: [...document.images].map(image => [image.alt, image.naturalWidth]),
  targets: [...document.querySelectorAll('nav a')].map(
    link => document.querySelector(link.getAttribute('href')) !== null),
  scripts: document.scripts.length,
  handlers: [...document.querySelectorAll('*')].filter(
    tag => tag.getAttributeNames().some(name => name.startsWith('on'))).length,
  loaded: performance.getEntriesByType('resource').map(entry => entry.name).filter(
    name => !name.startsWith('data:')),
  shown: innerWidth,
  needed: document.documentElement.scrollWidth,
  text: document.body.innerText,
});
</script>"""
# A window is never as narrow as a telephone, a frame is.
FRAME = """<!doctype html><meta charset=utf-8><pre id=facts></pre>
<iframe style="border: 0; width: {width}px; height: 900px" srcdoc="{page}"></iframe>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is here")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on data with hostile names, copies, files that are no pictures, and a leak."""
    here = tmp_path_factory.mktemp("spoilt")
    data = make_vehicles(here / "data", count=60, image_size=96, workers=1)
    images = data / "images"
    with (data / "train.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    rows.sort(key=lambda row: row[1])  # the order of the rows tells the label
    source = images / rows[0][0]
    copies = [name for name in HOSTILE if _could_copy(source, images / name)]
    (images / "broken.jpg").write_bytes(source.read_bytes()[:500])
    rows += [[name, "0"] for name in (*HOSTILE, "broken.jpg", "../out.jpg", "missing.jpg")]
    assert copies
    with (data / "train.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    assert main(["--data-dir", str(data), "--report", str(here / "report")]) == 0
    return here / "report"


def _could_copy(source: Path, target: Path) -> bool:
    try:
        shutil.copy(source, target)
    except OSError:  # not every file system takes such a name
        return False
    return True


def facts(browser: str, page: Path, scratch: Path, width: int) -> dict[str, Any]:
    """What a browser makes of a page of this width."""
    asking = escape(page.read_text(encoding="utf-8") + ASKING, quote=True)
    frame = scratch / "frame.html"
    frame.write_text(FRAME.format(width=width, page=asking), encoding="utf-8")
    profile = f"--user-data-dir={scratch / 'profile'}"
    command = [browser, *FLAGS, profile, "--window-size=1400,1000", frame.as_uri()]
    # The browser's home is scratch too: it writes caches there, whatever its profile.
    environment = {**os.environ, "HOME": str(scratch)}
    shown = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=60, env=environment
    )
    found = re.search(r'<pre id="facts">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert found is not None, shown.stderr[-2000:]
    content: dict[str, Any] = json.loads(unescape(found[1]))
    return content


@pytest.mark.parametrize("width", [1280, 420])
def test_a_report_in_a_browser(browser: str, report: Path, tmp_path: Path, width: int) -> None:
    found = facts(browser, report / "index.html", tmp_path, width)
    content = json.loads((report / "findings.json").read_text(encoding="utf-8"))["findings"]
    assert {"leak", "exact-duplicates", "unusable-file", "outside"} <= {f["kind"] for f in content}
    assert {name for name, _ in found["pictures"]} & set(HOSTILE)
    assert all(natural > 0 for _, natural in found["pictures"])
    assert found["targets"] == [True] * len(content)
    assert found["scripts"] == 1  # it asks
    assert found["handlers"] == 0
    assert found["loaded"] == []
    assert found["shown"] == width
    assert found["needed"] <= width
    for finding in content:
        assert finding["advice"] in found["text"]


def finding(kind: str, *groups: tuple[str, ...], details: tuple[str, ...] = ()) -> Finding:
    return Finding(kind, "warning", "What.", "Advice.", len(groups), groups, details)


def report_of(*findings: Finding) -> Report:
    return Report("train.csv", 1, {"0": 1}, findings)


def test_a_finding_without_files_has_its_section() -> None:
    page = to_page(report_of(finding("leak", details=("file <size>",))), Path())
    assert "<section id='finding0'" in page
    assert page.split("<section")[1].count("Advice.") == 1
    assert "file &lt;size&gt;" in page


def test_label_errors_are_large_and_numbered(browser: str, drawn: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (drawn / "images").iterdir())[:3]
    groups = tuple((name,) for name in reversed(names))
    page = tmp_path / "index.html"
    details = ("0, but 1 with 99%", "1, but 0 with 98%", "0, but 1 with 97%")
    labels = finding("label-error", *groups, details=details)
    page.write_text(to_page(report_of(labels), drawn / "images"), encoding="utf-8")
    found = facts(browser, page, tmp_path, 420)
    assert found["pictures"] == [[name, LARGE["label-error"]] for (name,) in groups]
    assert found["needed"] <= 420


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "no picture" in to_page(report_of(finding("unlisted-file", ("pipe.jpg",))), tmp_path)


@pytest.mark.parametrize("name", ["", "../out.jpg", "a\0b.jpg", "a\0b/c.jpg", "x" * 300 + "/y.jpg"])
def test_names_of_no_picture(tmp_path: Path, name: str) -> None:
    Path(tmp_path / "out.jpg").write_bytes(b"")
    (tmp_path / "images").mkdir()
    page = to_page(report_of(finding("unlisted-file", (name,))), tmp_path / "images")
    assert "no picture" in page


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    report = report_of(finding("unlisted-file", (NOT_UTF8,)))
    assert r"\udcff.jpg" in to_page(report, tmp_path).encode().decode()
    (group,) = json.loads(report.to_json().encode())["findings"][0]["groups"]
    assert group == [r"\udcff.jpg"]
