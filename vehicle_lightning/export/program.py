"""From a checkpoint to a checked file: all that lies between the pixels and the probabilities."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vehicle_lightning.errors import InputError
from vehicle_lightning.files import atomic_write
from vehicle_lightning.model.load import load
from vehicle_lightning.model.network import ImageClassifier

TOLERANCE = 1e-4  # largest difference of a probability that rounding may cause
CHECKED_BATCHES = (1, 2, 5)  # images; an exported batch size may turn out to be fixed

INPUT, OUTPUT = "images", "probabilities"  # of the ONNX file
LARGEST = 2**31 - 1  # bytes of weights; protobuf, which ONNX files are made of, ends there

Predict = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ExportResult:
    """The file, its bytes, the largest difference to the run's probabilities, and what it takes."""

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
        run_name: stands in the metadata, beside class names, image size and what is white in
            grey images of more than 8 bits.
        output: ends in `.onnx` or `.pt2`; its folder is made where there is none.

    Raises:
        RunError: the checkpoint is damaged.
        InputError: the file would not predict what the run predicts.
        OSError: the file cannot be written.
    """
    classifier = load(checkpoint)
    predictor = Predictor(classifier).eval()
    metadata = {
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "image_size": str(classifier.settings.image_size),
        "white": json.dumps(dict(classifier.white)),
        "run": run_name,
        "checkpoint": checkpoint.name,
    }
    with _quiet():
        program = capture(predictor)
        if output.suffix.lower() == ".pt2":
            content = to_pt2(program, metadata)
            predict = read_pt2(content)
        else:
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
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)


class Predictor(nn.Module):
    """Normalisation, network, flip averaging where the run has it, and softmax."""

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities, float (N, C), for RGB images, uint8 (N, 3, H, W)."""
        probabilities: Tensor = self.classifier(images).softmax(dim=1)
        return probabilities


def capture(predictor: Predictor) -> ExportedProgram:
    """Capture the program by torch.export, for any number of images."""
    # torch.export.save warns of weights that are laid out otherwise.
    predictor.to(memory_format=torch.contiguous_format)
    size = predictor.classifier.settings.image_size
    program = torch.export.export(
        predictor,
        (torch.zeros(2, 3, size, size, dtype=torch.uint8),),
        dynamic_shapes={"images": {0: Dim("batch")}},
        strict=False,
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    return program


def largest_difference(predict: Predict, predictor: Predictor) -> float:
    """Return how far the probabilities of an exported program lie from torch's, at most.

    Asked are noise and coarse noise, in batches of several sizes.

    Raises:
        InputError: they lie further apart than rounding explains, or are not numbers.
    """
    size = predictor.classifier.settings.image_size
    generator = torch.Generator().manual_seed(0)
    differences = []
    for count in CHECKED_BATCHES:
        for side in (size, 4):
            pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator)
            images = nn.functional.interpolate(pixels.float(), size=(size, size)).byte()
            with torch.inference_mode():
                differences.append((predict(images) - predictor(images)).abs().max())
    difference = float(torch.stack(differences).max())  # not a number where one of them is none
    if not difference <= TOLERANCE:
        raise InputError(
            f"The exported network was not written: its probabilities differ from the run's by up "
            f"to {difference:.2g}, more than {TOLERANCE:g}."
        )
    return difference


def to_pt2(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
    """Return the content of a `.pt2` file, with the metadata as extra files."""
    # A full disk makes torch raise a RuntimeError; so it writes into memory.
    content = io.BytesIO()
    torch.export.save(program, content, extra_files=metadata)
    return content.getvalue()


def read_pt2(content: bytes) -> Predict:
    """Return what predicts by the content of a `.pt2` file."""
    predict: Predict = torch.export.load(io.BytesIO(content)).module()
    return predict


def to_onnx(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
    """Return the content of an `.onnx` file.

    Its input is `images`, uint8 of shape (batch, 3, H, W); its output `probabilities`, float32 of
    shape (batch, C).

    Raises:
        InputError: the network is too large for one file.
    """
    import onnx  # which not everyone has installed

    size = sum(weights.nbytes for weights in program.state_dict.values())
    if size > LARGEST:
        raise InputError(
            f"An ONNX file holds 2 GB, and the weights take {size / 1e9:.1f} GB; "
            f"name a file that ends in .pt2 instead."
        )
    exported = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
    )
    assert exported is not None  # it is None only without dynamo
    model = exported.model_proto
    onnx.helper.set_model_props(model, metadata)
    content: bytes = model.SerializeToString()
    return content


def read_onnx(content: bytes) -> Predict:
    """Return what predicts by the content of an `.onnx` file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        (probabilities,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(probabilities)

    return predict
