"""Export a network: `python -m vehicle_lightning.export logs/best/0 --output vehicle.onnx`."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from vehicle_lightning.cli import parse_options, run_command
from vehicle_lightning.config import SettingsGroup
from vehicle_lightning.errors import InputError, SettingsError
from vehicle_lightning.runs.folder import find_checkpoint, name_of_run

if TYPE_CHECKING:
    from vehicle_lightning.export.program import ExportResult

# What each suffix needs beyond torch.
FORMATS = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}

READ_IMAGES = """\
import numpy as np
from PIL import Image, ImageOps

picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGBA")
white = Image.new("RGBA", picture.size, "white")
picture = Image.alpha_composite(white, picture).convert("RGB")
picture = ImageOps.fit(picture, ({size}, {size}), Image.Resampling.BILINEAR)
images = np.array(picture).transpose(2, 0, 1)[np.newaxis]
"""

PREDICT = {
    ".onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession({file!r})
(probabilities,) = session.run(["probabilities"], {{"images": images}})
""",
    ".pt2": """\
import torch

predict = torch.export.load({file!r}).module()
probabilities = predict(torch.from_numpy(images))
""",
}


class ExportOptions(SettingsGroup):
    """Write a run's network into one file that predicts without this package.

    It takes uint8 RGB images and gives the probability of each class: normalisation, flip averaging
    and softmax are inside. Class names, image size and run stand in its metadata.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, whose best weights are taken, or checkpoint file."""
    output: Path
    """File to write; .onnx: for ONNX Runtime and the like, .pt2: for torch.export."""


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, export, and print how to use the file."""
    options = parse_options(ExportOptions, "export", arguments)
    print(_text(export(options.run, options.output)))
    return 0


def export(run: Path, output: Path) -> "ExportResult":
    """Write the best network of a run, or that of a checkpoint, once it predicts what it should.

    Raises:
        SettingsError: the file ends neither in `.onnx` nor in `.pt2`.
        RunError: there is no such run or checkpoint, or it is damaged.
        InputError: a package is missing, or the file would predict something else.
        OSError: the file cannot be written.
    """
    suffix = output.suffix.lower()
    if suffix not in FORMATS:
        raise SettingsError(
            f"--output {output} must end in .onnx (for ONNX Runtime and the like) or in .pt2 (for "
            f"torch.export)."
        )
    checkpoint = find_checkpoint(run)
    missing = [package for package in FORMATS[suffix] if find_spec(package) is None]
    if missing:
        raise InputError(
            f"For {suffix} files, {', '.join(missing)} must be installed: "
            f'pip install --editable ".[export]"'
        )
    from vehicle_lightning.export.program import export_checkpoint

    return export_checkpoint(checkpoint, name_of_run(checkpoint), output)


def _text(result: "ExportResult") -> str:
    size, suffix = result.image_size, result.output.suffix.lower()
    classes = ", ".join(result.class_names)
    lines = [
        f"saved   {result.output} ({result.size / 1e6:.2f} MB)",
        f"checked probabilities differ from the network's by {result.difference:.1g} at most",
        f"takes   images: RGB, uint8 (N, 3, {size}, {size})",
        f"gives   probabilities (N, {len(result.class_names)}): {classes}",
        "",
        READ_IMAGES.format(size=size),
        PREDICT[suffix].format(file=str(result.output)).rstrip(),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
