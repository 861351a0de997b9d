"""The summary: what one run came to, as `summary.json` and as the last lines in the terminal."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from vehicle_lightning.errors import RunError
from vehicle_lightning.files import write_text
from vehicle_lightning.runs.statistics import Measurement
from vehicle_lightning.runs.verdict import Verdict

Status = Literal["finished", "interrupted", "pruned"]


@dataclass(frozen=True)
class Summary:
    """The final figures of a run.

    `summary.json` holds the same names; later versions may add keys but neither drop nor change
    one. A figure that is not finite stands as null.

    Attributes:
        train: the best weights on all training images, in eval mode and without augmentation.
        val: the same on all validation images. As the best epoch is chosen by the validation loss,
            its accuracy is slightly optimistic.
        test: the same on all test images, which nothing was chosen by; None where there are none.
        most_frequent_class: what always answering the most frequent class gets right of the
            validation images, in [0, 1].
        best_epoch: the epoch, from 1, with the lowest validation loss.
        epochs: whole epochs trained.
        seconds: of all epochs together, measuring included, checkpoints not.
        parameters: number of weights that are learnt.
        verdict: what the run suffers from and what to try next.
        status: whether the training went to its end, was interrupted, or was pruned: ended early by
            a search as not worth going on.
    """

    train: Measurement
    val: Measurement
    test: Measurement | None
    most_frequent_class: float
    best_epoch: int
    epochs: int
    seconds: float
    parameters: int
    verdict: Verdict
    status: Status

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `summary.json`.

        Raises:
            RunError: the file is missing or is no summary.
        """
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except OSError as error:
            raise RunError(f"Cannot read {path}: {error.strerror}.") from error
        except ValidationError as error:
            raise RunError(f"{path} is damaged, or no summary of a run.") from error

    @property
    def seconds_per_epoch(self) -> float:
        """How long an epoch took, on average."""
        return self.seconds / self.epochs

    @property
    def speed(self) -> str:
        """Time and size in words."""
        return f"{self.seconds_per_epoch:.1f} s an epoch, {self.parameters:,} parameters"

    @property
    def gap(self) -> float:
        """Training less validation accuracy, as a fraction."""
        return self.train.accuracy - self.val.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain: dict[str, Any] = json.loads(TypeAdapter(type(self)).dump_json(self, by_alias=True))
        return plain | {"gap": self.gap, "seconds_per_epoch": self.seconds_per_epoch}

    def write(self, path: Path) -> None:
        """Write `summary.json`."""
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")

    def figures(self) -> dict[str, float]:
        """Return the numbers for TensorBoard's HPARAMS tab."""
        return {
            "val_accuracy": self.val.accuracy,
            "val_loss": self.val.loss,
            "train_accuracy": self.train.accuracy,
            "train_loss": self.train.loss,
            "gap": self.gap,
            "best_epoch": self.best_epoch,
            "epochs": self.epochs,
            "seconds": self.seconds,
            **({} if self.test is None else {"test_accuracy": self.test.accuracy}),
        }

    @property
    def spread(self) -> str:
        """What is known of how far off another training would be, which no interval says."""
        return "one training; how far another would be off is shown by --seeds 3 or --folds 5"

    def __str__(self) -> str:
        lines = [
            f"train   {self.train}, loss {self.train.loss:.3f}",
            f"val     {self.val}, loss {self.val.loss:.3f}",
            *([] if self.test is None else [f"test    {self.test}, loss {self.test.loss:.3f}"]),
            f"seeds   {self.spread}",
            f"always  {100 * self.most_frequent_class:.1f} % by the most frequent class alone",
            f"gap     {100 * self.gap:+.1f} points",
            f"best    epoch {self.best_epoch} of {self.epochs}, by validation loss",
            f"speed   {self.speed}",
            f"verdict {self.verdict.kind}: {self.verdict.because}",
        ]
        if self.verdict.flags:
            lines.append(f"try     {', or '.join(self.verdict.flags)}")
        return "\n".join(lines)
