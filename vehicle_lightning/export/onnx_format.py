"""ONNX: the exported program for ONNX Runtime and whatever else reads it."""

import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.export import ExportedProgram

from vehicle_lightning.errors import ExportError
from vehicle_lightning.export.program import Predict

INPUT, OUTPUT = "images", "probabilities"
LARGEST = 2**31 - 1  # bytes of weights; protobuf, which ONNX files are made of, ends there


def to_onnx(program: ExportedProgram, metadata: dict[str, str]) -> bytes:
    """Return the content of an `.onnx` file.

    Its input is `images`, uint8 of shape (batch, 3, H, W); its output `probabilities`, float32 of
    shape (batch, C).

    Raises:
        ExportError: the network is too large for one file.
    """
    size = sum(weights.nbytes for weights in program.state_dict.values())
    if size > LARGEST:
        raise ExportError(
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
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        (probabilities,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(probabilities)

    return predict
