"""From a checkpoint to a checked file."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vehicle_lightning.export.program import (
    Predictor,
    capture,
    largest_difference,
    read_pt2,
    to_pt2,
)
from vehicle_lightning.files import atomic_write
from vehicle_lightning.model.load import read_checkpoint


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        output: the file.
        size: its bytes.
        difference: the largest difference to the run's probabilities.
        class_names: the columns of the probabilities.
        image_size: height and width of the images, in pixels.
    """

    output: Path
    size: int
    difference: float
    class_names: tuple[str, ...]
    image_size: int


def export_checkpoint(checkpoint: Path, run_name: str, output: Path) -> ExportResult:
    """Write the network of a checkpoint in the format that the suffix of the file names.

    The content is compared with torch first; the file is there whole and checked, or not at all.

    Args:
        checkpoint: its network is written.
        run_name: stands in the metadata, beside class names and image size.
        output: ends in `.onnx` or `.pt2`; its folder is made where there is none.

    Raises:
        RunError: the checkpoint is damaged.
        ExportError: the file would not predict what the run predicts.
        OSError: the file cannot be written.
    """
    classifier = read_checkpoint(checkpoint).classifier
    predictor = Predictor(classifier).eval()
    metadata = {
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "image_size": str(classifier.settings.image_size),
        "run": run_name,
        "checkpoint": checkpoint.name,
    }
    with _quiet():
        program = capture(predictor)
        if output.suffix.lower() == ".pt2":
            content = to_pt2(program, metadata)
            predict = read_pt2(content)
        else:
            from vehicle_lightning.export.onnx_format import read_onnx, to_onnx

            content = to_onnx(program, metadata)
            predict = read_onnx(content)
        difference = largest_difference(predict, predictor)
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(output) as temporary:
        temporary.write_bytes(content)
    return ExportResult(
        output, len(content), difference, classifier.class_names, classifier.settings.image_size
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' advice to their own developers from the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
