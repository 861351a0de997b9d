"""Whether the verdicts on finished trainings say what metrics.csv says, and whether seeds agree.

    python benchmarks/verdict_sentences.py LOGS...

Each run folder below LOGS is judged anew, from what it has written down. Counted are sentences with
a loss that does not stand in `metrics.csv` at the epoch named, that call a rise a fall or a fall a
rise, that tell what came after the last epoch, or that call a training loss flat or at rest whose
lowest value is the last. For runs of the same settings it is told how often each verdict came.
The sentences in their `summary.json`, of the version that trained them, are counted beside.
"""

import argparse
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from vehicle_lightning.runs.predictions import read_predictions
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.verdict import Verdict, diagnose
from vehicle_lightning.settings_file import read_settings

NUMBER = r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
LOSS = rf"{NUMBER} in epoch (\d+)"


def contradictions(because: str, history: pd.DataFrame) -> list[str]:
    """Return what in the sentences does not agree with the curves."""
    losses = history.set_index("epoch")[["train/loss", "val/loss"]]
    last = int(history["epoch"].iloc[-1])
    found = []
    for value, epoch in re.findall(LOSS, because):
        row = losses[losses.index == int(epoch)].to_numpy().ravel()
        if value not in [f"{loss:.3g}" for loss in row]:
            found.append(f"{value} does not stand in epoch {epoch}")
    at_end = [f"{loss:.3g}" for loss in losses.loc[last]]
    found += [
        f"{value} does not stand at the end"
        for value in re.findall(rf"to {NUMBER} at the end", because)
        if value not in at_end
    ]
    for verb, start, end in re.findall(
        rf"(fell|rose|falls\D*?|falling\D*?) from {NUMBER}(?: in epoch \d+)? to {NUMBER}", because
    ):
        if (float(start) >= float(end)) == (verb == "rose"):
            found.append(f"{verb} from {start} to {end}")
    if re.search(rf"after [\d.]+ in epoch {last}\b|rose from [\d.]+ in epoch {last}\b", because):
        found.append("after the last epoch")
    lowest = history["epoch"].iloc[history["train/loss"].argmin()]
    if "has flattened" in because and lowest == last and last < 10:
        found.append("flattened, though its lowest training loss is the last of few epochs")
    return found


def judged(run: Path, history: pd.DataFrame, summary: dict[str, dict[str, float]]) -> Verdict:
    """Judge a finished training by what it has written down."""
    settings = read_settings(run / "config.yaml")
    train = Measurement.from_dict(summary["train"])
    labels = read_predictions(run / "predictions_val.csv")["label"]
    return diagnose(
        history,
        train,
        Measurement.from_dict(summary["val"]),
        train_sample=max(1, round(settings.train_eval_fraction * train.n)),
        majority=float(labels.value_counts(normalize=True).max()),
        settings=settings,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--show", action="store_true", help="Print every sentence that disagrees.")
    options = parser.parse_args()
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    disagree: Counter[str] = Counter()
    trainings = near = 0
    files = sorted(file for logs in options.logs for file in logs.rglob("summary.json"))
    for run in [file.parent for file in files if not list(file.parent.glob("*/summary.json"))]:
        history = pd.read_csv(run / "metrics.csv")
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        verdict = judged(run, history, summary)
        trainings += 1
        near += "A near thing" in verdict.because
        kinds[re.sub(r"/seed\d+(-fold\d+)?$", "", str(run))][verdict.kind] += 1
        for version, because in (
            ("written", summary["verdict"]["because"]),
            ("judged anew", verdict.because),
        ):
            if found := contradictions(because, history):
                disagree[version] += 1
                if options.show:
                    print(f"{run}, {version}: {'; '.join(found)}: {because}")
    print(
        f"{trainings} trainings: {disagree['written']} sentences as written disagree with "
        f"metrics.csv, {disagree['judged anew']} judged anew; {near} verdicts are told to be near"
    )
    for name, counts in kinds.items():
        print(f"{name}: " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))


if __name__ == "__main__":
    main()
