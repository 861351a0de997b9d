"""What may be compared, with what, and what is concluded."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.compare.made_runs import make_run, write_predictions
from vehicle_lightning.compare.plots import plot_comparison
from vehicle_lightning.compare.ranking import Ranking, choose_baseline, rank
from vehicle_lightning.compare.records import read_records
from vehicle_lightning.compare.tables import notes, to_frame, to_markdown, to_text
from vehicle_lightning.errors import RunError
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import save

HALF = np.arange(200) < 100


def ranked(log_dir: Path, baseline: str = "baseline/0", metric: str = "val/accuracy") -> Ranking:
    records, left_out = read_records([log_dir])
    (chosen,) = [record for record in records if record.name == baseline]
    return rank(records, chosen, metric=metric, left_out=left_out)


def conclusions(ranking: Ranking) -> dict[str, str]:
    return {row.record.name: row.conclusion for row in ranking.rows}


def test_better_worse_and_no_difference(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "better", np.arange(200) < 130, dropout=0.5)
    make_run(tmp_path, "worse", np.arange(200) < 70, batchnorm=True)
    make_run(tmp_path, "same", np.arange(200) < 102, augment=True)
    ranking = ranked(tmp_path)
    assert conclusions(ranking) == {
        "better/0": "better here; one training each",
        "same/0": "no difference shown",
        "baseline/0": "baseline",
        "worse/0": "worse here; one training each",
    }
    assert [row.settings for row in ranking.rows] == [
        "dropout 0.5",
        "augment",
        "-",  # but for the epochs, which all share, it has the defaults
        "batchnorm",
    ]


def test_among_many_runs_a_lucky_one_is_not_called_better(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    lucky = HALF.copy()
    lucky[100:112], lucky[:3] = True, False  # 12 against 3: p = 0.035 by itself
    make_run(tmp_path, "lucky", lucky, dropout=0.5)
    assert conclusions(ranked(tmp_path))["lucky/0"] == "better here; one training each"
    for number in range(5):
        make_run(tmp_path, f"other{number}", np.roll(HALF, 1), seed=number + 1)
    assert conclusions(ranked(tmp_path))["lucky/0"] == "no difference shown"


def test_other_data_and_other_splits_are_left_out_with_the_reason(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "dropout", HALF, dropout=0.5)
    make_run(tmp_path, "photos", HALF, fingerprint="photos")
    make_run(tmp_path, "resplit", HALF, split_seed=3)
    make_run(tmp_path, "folds", HALF, folds=5, fold=1)
    ranking = ranked(tmp_path)
    assert {row.record.name for row in ranking.rows} == {"baseline/0", "dropout/0"}
    reasons = {one.name: one.reason for one in ranking.left_out}
    assert "other images or labels" in reasons["photos/0"]
    assert "--split-seed 3" in reasons["resplit/0"]
    assert "instead of no --fold" in reasons["folds/0"]
    assert any("photos/0" in line for line in notes(ranking))


def test_nothing_comparable_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "photos", HALF, fingerprint="photos")
    with pytest.raises(RunError, match="Nothing can be compared with baseline/0: photos/0"):
        ranked(tmp_path)


def test_the_baseline_is_the_oldest_finished_run(tmp_path: Path) -> None:
    interrupted = make_run(tmp_path, "z", HALF)
    content = json.loads(interrupted.summary.read_text()) | {"status": "interrupted"}
    interrupted.summary.write_text(json.dumps(content))
    make_run(tmp_path, "y", HALF, dropout=0.5)
    make_run(tmp_path, "plain", HALF)
    assert choose_baseline(read_records([tmp_path])[0]).name == "y/0"


def test_the_order_of_the_images_does_not_matter(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    run = make_run(tmp_path, "same", HALF, dropout=0.5)
    order = np.random.default_rng(0).permutation(200)
    write_predictions(run, HALF[order], [f"{number}.jpg" for number in order])
    (row,) = [row for row in ranked(tmp_path).rows if row.test is not None]
    assert row.test is not None
    assert (row.test.difference.value, row.test.p_adjusted) == (0, 1)


def test_only_images_that_both_validated_count(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    run = make_run(tmp_path, "part", HALF, dropout=0.5)
    write_predictions(run, np.array([True, True]), ["0.jpg", "199.jpg"])
    (row,) = [row for row in ranked(tmp_path).rows if row.test is not None]
    assert row.test is not None
    assert (row.test.difference.n, row.test.difference.value) == (2, 0.5)


def test_several_seeds_speak_for_the_settings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, share, dropout in (("baseline", 0.5, 0.0), ("better", 0.8, 0.5)):
        run = make_run(tmp_path, name, HALF, seeds=3, dropout=dropout)
        frames = [pd.read_csv(run.predictions, dtype=str).assign(seed=str(s)) for s in range(3)]
        frame = pd.concat(frames)
        frame["prediction"] = np.where(rng.random(len(frame)) < share, "1", "0")
        frame.to_csv(run.predictions, index=False)
    frame = to_frame(ranked(tmp_path)).set_index("run")
    assert frame["conclusion"]["better/0"] == "better"
    row = frame.loc["better/0"]
    assert 0 < row["difference_low"] < row["difference"] < row["difference_high"]
    assert row["p_value"] == row["p_adjusted"] < 0.05
    assert row["p_networks"] < 0.001
    assert 0 < row["smallest_shown"] < 0.3


def test_epochs_to_the_loss_of_the_baseline(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF, losses=(0.6, 0.5, 0.4))
    make_run(tmp_path, "fast", HALF, losses=(0.5, 0.35, 0.2), batchnorm=True)
    make_run(tmp_path, "slow", HALF, losses=(0.7, 0.65, 0.6), dropout=0.5)
    ranking = ranked(tmp_path)
    assert ranking.target_loss == pytest.approx(0.4)
    epochs = {row.record.name: row.epochs_to_loss for row in ranking.rows}
    assert epochs == {"baseline/0": 3, "fast/0": 2, "slow/0": None}


@pytest.mark.parametrize(
    ("metric", "first"),
    [("val/loss", "low/0"), ("train/loss", "low/0"), ("val/f1", "high/0"), ("gap", "high/0")],
)
def test_any_metric_sorts(tmp_path: Path, metric: str, first: str) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "high", np.arange(200) < 150, losses=(0.9, 0.8), dropout=0.5)
    make_run(tmp_path, "low", HALF, losses=(0.2, 0.1), batchnorm=True)
    assert ranked(tmp_path, metric=metric).rows[0].record.name == first


def test_an_unknown_metric_is_named(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    with pytest.raises(RunError, match="no figure val/f2"):
        ranked(tmp_path, metric="val/f2")


def test_csv_keeps_its_schema(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "better", np.arange(200) < 130, dropout=0.5)
    frame = to_frame(ranked(tmp_path))
    promised = {"run", "accuracy", "low", "high", "n", "difference", "p_value", "conclusion"}
    assert promised <= set(frame.columns)
    assert list(frame["run"]) == ["better/0", "baseline/0"]
    assert frame.loc[0, "difference"] == pytest.approx(0.15)
    assert frame.loc[0, "p_networks"] == frame.loc[0, "p_adjusted"] < 0.001
    assert pd.isna(frame["p_value"]).all()  # one training each tells nothing of the settings


def test_markdown_holds_a_line_for_every_run(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "better", np.arange(200) < 130, dropout=0.5)
    table = to_markdown(ranked(tmp_path)).splitlines()
    assert table[0].count("|") == table[1].count("|") == table[2].count("|") == table[3].count("|")
    assert "| better/0 | dropout 0.5 | 65.0 [58.2, 71.3] | 200 |" in table[2]
    assert "+15.0" in table[2]
    assert table[2].endswith("| < 0.001 here | better here; one training each |")


def test_damaged_runs_are_left_out(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "dropout", HALF, dropout=0.5)
    make_run(tmp_path, "summary", HALF).summary.write_text("{")
    make_run(tmp_path, "environment", HALF).environment.write_text("{}")
    make_run(tmp_path, "config", HALF).config.write_text("dropuot: 1")
    make_run(tmp_path, "unfinished", HALF).summary.unlink()
    curves = make_run(tmp_path, "curves", HALF).metrics
    curves.write_text(curves.read_text() + "x,y,z,1,1,1\n")
    ranking = ranked(tmp_path)
    reasons = {one.name: one.reason for one in ranking.left_out}
    assert set(reasons) == {"summary/0", "environment/0", "config/0", "unfinished/0", "curves/0"}
    assert "damaged" in reasons["summary/0"]
    assert "not been measured" in reasons["unfinished/0"]


def test_missing_predictions_are_named(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "dropout", HALF, dropout=0.5).predictions.unlink()
    ranking = ranked(tmp_path)
    assert [row.record.name for row in ranking.rows] == ["baseline/0"]
    (one,) = ranking.left_out
    assert "predictions_val.csv is missing or damaged" in one.reason


def test_trainings_inside_a_run_are_part_of_it(tmp_path: Path) -> None:
    whole = make_run(tmp_path, "baseline", HALF, seeds=2)
    make_run(whole.path.parent, "0", HALF)  # logs/baseline/0/0
    assert [record.name for record in read_records([tmp_path])[0]] == ["baseline/0"]
    assert isinstance(whole, RunFolder)


def test_a_run_given_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, "baseline", HALF)
    (tmp_path / "link").symlink_to(tmp_path / "baseline")
    monkeypatch.chdir(tmp_path)
    paths = [run.path, Path("baseline"), tmp_path / "link" / "0"]
    assert [record.name for record in read_records(paths)[0]] == ["baseline/0"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "same", HALF)
    make_run(tmp_path / "b", "same", HALF)
    names = [record.name for record in read_records([tmp_path])[0]]
    assert names == [str(tmp_path / "a" / "same" / "0"), str(tmp_path / "b" / "same" / "0")]


def test_the_baseline_comes_from_the_largest_comparable_set(tmp_path: Path) -> None:
    make_run(tmp_path, "alone", HALF)
    for number in range(2):
        make_run(tmp_path, f"folds{number}", HALF, folds=5, fold=0, dropout=0.5 * number)
    assert choose_baseline(read_records([tmp_path])[0]).name == "folds0/0"


def test_a_shared_setting_is_not_called_a_default(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF, dropout=0.5)
    make_run(tmp_path, "both", HALF, dropout=0.5, batchnorm=True)
    make_run(tmp_path, "precise", HALF, dropout=0.5, precision="64-true")
    words = {row.record.name: row.settings for row in ranked(tmp_path).rows}
    assert words == {"baseline/0": "-", "both/0": "batchnorm", "precise/0": "precision 64-true"}


def test_without_common_images_nothing_is_concluded(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline", HALF)
    other = make_run(tmp_path, "other", HALF, dropout=0.5)
    write_predictions(other, HALF, [f"x{number}.jpg" for number in range(200)])
    make_run(tmp_path, "same", HALF, batchnorm=True)
    rows = {row.record.name: row for row in ranked(tmp_path).rows}
    assert rows["other/0"].conclusion == "no common images"
    assert rows["other/0"].test is None
    assert rows["same/0"].test is not None
    assert rows["same/0"].test.p_adjusted == 1


def test_a_class_named_like_a_loss_does_not_turn_the_order(tmp_path: Path) -> None:
    for name, share in (("low", 0.2), ("high", 0.8)):
        run = make_run(tmp_path, name, HALF)
        curves = pd.read_csv(run.metrics).assign(**{"val/recall/loss": share})
        curves.to_csv(run.metrics, index=False)
    ranking = ranked(tmp_path, baseline="low/0", metric="val/recall/loss")
    assert ranking.rows[0].record.name == "high/0"


def test_short_names_cut_no_list_and_no_number(tmp_path: Path) -> None:
    for name in ("channels16-32-rate1e-05", "channels16-32-64-rate2e-05"):
        make_run(tmp_path, name, HALF)
    text = to_text(ranked(tmp_path, baseline="channels16-32-rate1e-05/0"))
    assert "channels16-32-rate1e-05  " in text
    assert "channels16-32-64-rate2e-05  " in text


def test_the_screen_holds_short_names_and_all_else_is_wide(tmp_path: Path) -> None:
    make_run(tmp_path, "image-size32-epochs8", HALF)
    make_run(tmp_path, "image-size32-epochs8-dropout0.5", np.arange(200) < 130, dropout=0.5)
    make_run(tmp_path, "image-size32-epochs8-" + "-".join("abcdefghijklmn"), HALF)
    ranking = ranked(tmp_path, baseline="image-size32-epochs8/0")
    narrow = to_text(ranking).splitlines()
    assert max(map(len, narrow)) <= 100
    assert narrow[1].startswith("dropout0.5  65.0 [58.2, 71.3]  +15.0 [")
    assert narrow[2].startswith("the settings all share") or narrow[3].startswith("3  ")
    assert narrow[-1].endswith(" = a-b-c-d-e-f-g-h-i-j-k-l-m-n")
    wide = to_text(ranking, wide=True).splitlines()
    assert wide[1].startswith("image-size32-epochs8-dropout0.5/0 ")
    assert "  dropout 0.5  65.0 [58.2, 71.3]  200  100.0" in wide[1]
    assert "train %" in wide[0]
    assert notes(ranking)[0].startswith("Baseline: image-size32-epochs8/0.")


def test_runs_of_one_folder_go_by_their_numbers_on_the_screen(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    for number, share in (("4", 100), ("5", 130)):
        make_run(tmp_path, f"made{number}", np.arange(200) < share, dropout=0.1 * int(number))
        (tmp_path / f"made{number}" / "0").rename(tmp_path / "walk" / number)
    lines = to_text(ranked(tmp_path, baseline="walk/4")).splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["5", "4"]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e9])
def test_a_diverged_run_can_be_compared_and_drawn(tmp_path: Path, loss: float) -> None:
    make_run(tmp_path, "baseline", HALF)
    make_run(tmp_path, "_div$erg{ed", HALF, losses=(0.7, loss, loss), learning_rate=1.0)
    ranking = ranked(tmp_path)
    figure = plot_comparison(ranking)
    save(figure, tmp_path / "picture.png")
    assert figure.axes[1].get_ylim()[1] < 1e9
    assert len(to_frame(ranking)) == 2
    assert len(figure.legends[0].get_texts()) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [("verdict", "sound"), ("val", {"accuracy": 0.5}), ("seconds", None), ("train", None)],
)
def test_a_wrong_summary_is_left_out(tmp_path: Path, key: str, value: object) -> None:
    run = make_run(tmp_path, "baseline", HALF)
    content = json.loads(run.summary.read_text())
    run.summary.write_text(json.dumps(content | {key: value}))
    (one,) = read_records([tmp_path])[1]
    assert "damaged" in one.reason
