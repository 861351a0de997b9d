"""The comparison through its command line."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.compare.made_runs import make_run
from tests.conftest import Fit
from vehicle_lightning.compare.__main__ import main
from vehicle_lightning.compare.ranking import compare
from vehicle_lightning.errors import InputError

HALF = np.arange(200) < 100


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    make_run(tmp_path / "logs", "baseline", HALF)
    make_run(tmp_path / "logs", "combined", np.arange(200) < 130, dropout=0.5, batchnorm=True)
    make_run(tmp_path / "logs", "photos", HALF, fingerprint="photos")
    return tmp_path / "logs"


def test_the_table_and_its_files(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = logs / "comparison"
    assert main([str(logs), "--output", str(output)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("run")
    assert printed[1].startswith("combined  65.0 [58.2, 71.3]  +15.0 [")
    assert printed[1].endswith("better here; one training each")
    assert max(map(len, printed[:3])) <= 100
    assert "Left out: photos/0: it has other images or labels than baseline/0." in printed
    frame = pd.read_csv(output / "comparison.csv")
    assert list(frame["run"]) == ["combined/0", "baseline/0"]
    assert "| combined/0 |" in (output / "comparison.md").read_text()
    with Image.open(output / "comparison.png") as picture:
        assert picture.width > 1000
    assert not list(output.glob(".*"))


def test_real_runs_are_compared(fit_quickly: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [fit_quickly("--name", "baseline"), fit_quickly("--name", "wide", "--channels", "32")]
    capsys.readouterr()
    assert main([*(str(run.path) for run in runs), "--metric", "val/auroc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "val/auroc" in lines[0]
    table = "\n".join(lines[1:3])
    assert "baseline" in table
    assert "wide" in table
    assert main([str(runs[1].path.parents[1]), "--wide"]) == 0
    assert "channels 32" in capsys.readouterr().out


def test_a_chosen_baseline(logs: Path) -> None:
    ranking = compare([logs], baseline=logs / "combined")
    assert ranking.baseline.name == "combined/0"
    assert len(ranking.rows) == 2


def test_no_difference_shown_says_what_it_would_take(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near = np.arange(200) < 104
    near[:8] = False
    make_run(logs, "near", near, dropout=0.1)
    main([str(logs), "--baseline", str(logs / "baseline"), "--output", str(logs)])
    printed = capsys.readouterr().out
    assert re.search(r"No difference shown: one of \d\.\d points would have been", printed)
    assert re.search(r"To show the -2.0 points of near/0 takes \d,\d\d\d images", printed)
    assert pd.read_csv(logs / "comparison.csv").set_index("run")["images_to_show"]["near/0"] > 200


@pytest.mark.parametrize("images", [(), ("--images", "200")])
def test_a_plan_before_any_training(
    images: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--plan", "--difference", "0.03", *images]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"two trained networks: 1,\d\d\d images", printed)
    assert "Assumed, as of photographs and 78 % accuracy: one of two" in printed
    assert ("shown by 200" in printed) == bool(images)
    assert "With one seed a side, how much trainings vary is told by" in printed


def test_a_plan_out_of_runs(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(logs / "baseline"), str(logs / "combined"), "--plan"]) == 0
    assert "Found in 2 runs of one training each" in capsys.readouterr().out
    with pytest.raises(InputError, match="takes two runs on the same images"):
        main([str(logs / "baseline"), "--plan"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{logs}/nowhere", "There is no folder"),
        ("{logs}/empty", "There is no run folder in"),
        ("{logs}/baseline --baseline {logs}/empty", "There is no run folder in|nothing to compare"),
        ("{logs}/baseline --baseline {logs}", "holds 3 runs"),
        ("{logs}/baseline {logs}/photos", "Nothing can be compared with baseline/0: photos/0"),
        ("{logs} --metric val/beauty", "no figure val/beauty"),
        ("{logs} --images 500", "--images needs --plan"),
        ("{logs} --plan --output out", "--output has no effect with --plan"),
        ("{logs}/unmeasured", "nothing to compare with: unmeasured/0: it has not been measured"),
        ("{logs} --baseline {logs}/unmeasured", "unmeasured/0: it has not been measured"),
        ("{logs} --loss -1", "loss: .* greater than 0"),
    ],
)
def test_mistakes_are_one_sentence(logs: Path, arguments: str, message: str) -> None:
    (logs / "empty").mkdir()
    make_run(logs / "unmeasured", "unmeasured", HALF).summary.unlink()
    with pytest.raises(InputError, match=message):
        main(arguments.format(logs=logs).split())


def test_a_failed_output_leaves_nothing_half_written(logs: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="file"):
        main([str(logs), "--output", str(blocked)])
    assert blocked.read_text() == ""


def test_inside_the_run_folder(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logs / "baseline" / "0")
    assert compare([Path()]).baseline.name == "baseline/0"
    assert len(compare([logs], baseline=Path()).rows) == 2
