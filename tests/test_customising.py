"""The promises of "customising": in a copy of the package a file is changed, and all goes on.

Each change is of one file, as the documentation says; those that do not touch each other share a
copy. It trains, resumes, predicts, explains, exports and compares by the command lines, in a
process of its own.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vehicle_lightning"

PLAIN = """

class Plain(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 5, stride=4)
        self.feature_maps = "layer"
        self.output = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.layer(images).relu().mean(dim=(2, 3)))


def build_network(settings: Settings, classes: int) -> nn.Module:
    return Plain(classes)
"""
TRANSFORMER = """

def build_network(settings: Settings, classes: int) -> nn.Module:
    from torchvision.models import VisionTransformer

    size = settings.image_size
    return VisionTransformer(size, 16, 1, 2, hidden_dim=16, mlp_dim=16, num_classes=classes)
"""
DATA_SOURCE = """

def read_table(settings):
    files = sorted((settings.data_dir / "images").iterdir())
    names = [path.name for path in files]
    return Table(names, np.arange(len(files)) % 2, ("even", "odd"), files)
"""
LOSS = (
    "return nn.CrossEntropyLoss(weight, label_smoothing=self.settings.label_smoothing)",
    "return nn.MultiMarginLoss()",
)
METRIC = (
    '"f1": kinds.MulticlassF1Score(average="macro", **options),',
    '"f1": kinds.MulticlassF1Score(average="weighted", **options),\n'
    '                "error": kinds.MulticlassAccuracy(average="macro", **options),',
)
OPTIMIZER = """

def build_optimizer(network, settings, steps):
    optimizer = torch.optim.RMSprop(network.parameters(), lr=settings.learning_rate)
    return optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=steps)
"""
CALLBACK = (
    "callbacks = [history, lines, FirstBatch(run), *parts.callbacks]",
    "callbacks = [history, lines, FirstBatch(run), L.pytorch.callbacks.Timer()]\n"
    "        loggers.append(L.pytorch.loggers.CSVLogger(run.path))",
)

DRIVER = """
import sys
from importlib import import_module
from pathlib import Path

from vehicle_lightning.errors import InputError

data, explains = sys.argv[1], sys.argv[2] == "explains"
image = str(sorted(Path(data, "images").iterdir())[0])
quick = ["--data-dir", data, "--image-size", "32", "--batch-size", "16", "--accelerator", "cpu"]

def run(command, *arguments):
    code = import_module(f"vehicle_lightning.{command}.__main__").main(list(arguments))
    assert code == 0, (command, code)

run("fit", *quick, "--epochs", "1", "--name", "own")
run("fit", "--resume", "logs/own/0", "--epochs", "2")
run("fit", *quick, "--epochs", "1", "--name", "own", "--pretrained", "logs/own/0")
run("predict", "logs/own/0", image)
try:
    run("explain", "logs/own/0", image)
    assert explains
except InputError as error:
    assert not explains and "feature_maps" in str(error), error
run("export", "logs/own/0", "--output", "own.pt2")
run("compare", "logs")
"""


@dataclass(frozen=True)
class Change:
    file: str
    appended: str = ""
    replaced: tuple[str, str] = ("", "")
    explains: bool = True
    metrics: str = "val/accuracy"


CHANGES = {
    "network": Change("model/network.py", PLAIN),
    "transformer": Change("model/network.py", TRANSFORMER, explains=False),
    "data source": Change("data/table.py", DATA_SOURCE),
    "loss": Change("model/classifier.py", replaced=LOSS),
    "metric": Change("model/classifier.py", replaced=METRIC, metrics="val/error"),
    "optimizer": Change("model/optimizer.py", OPTIMIZER),
    "callback and logger": Change("fit/train.py", replaced=CALLBACK),
}


COPIES = (
    ("network", "metric", "optimizer", "callback and logger"),
    ("transformer", "loss"),
    ("data source",),
)


def test_every_change_is_tried() -> None:
    assert sorted(name for names in COPIES for name in names) == sorted(CHANGES)


@pytest.mark.parametrize("names", COPIES)
def test_a_file_is_changed(names: tuple[str, ...], drawn: Path, tmp_path: Path) -> None:
    changes = [CHANGES[name] for name in names]
    copy = tmp_path / "vehicle_lightning"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for change in changes:
        before = (copy / change.file).read_text(encoding="utf-8")
        assert change.replaced[0] in before
        after = before.replace(*change.replaced, 1) + change.appended
        assert after != before
        (copy / change.file).write_text(after, encoding="utf-8")
    (tmp_path / "driver.py").write_text(DRIVER, encoding="utf-8")
    explains = "explains" if all(change.explains for change in changes) else "does not"
    command = [sys.executable, "driver.py", str(drawn), explains]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "logs" / "own" / "0"
    columns = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {change.metrics for change in changes} <= set(columns)
    assert (tmp_path / "own.pt2").is_file()
    if "data source" in names:
        assert '"odd"' in (run / "environment.json").read_text()
    if "callback and logger" in names:
        assert list(run.rglob("hparams.yaml"))
