"""The program that is exported: all that lies between the pixels and the probabilities."""

import io
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vehicle_lightning.errors import ExportError
from vehicle_lightning.model.network import ImageClassifier

TOLERANCE = 1e-4  # largest difference of a probability that rounding may cause
CHECKED_BATCHES = (1, 2, 5)  # images; an exported batch size may turn out to be fixed

Predict = Callable[[Tensor], Tensor]


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
        ExportError: they lie further apart than rounding explains, or are not numbers.
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
        raise ExportError(
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
