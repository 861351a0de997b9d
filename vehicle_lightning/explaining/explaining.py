"""From images to a sheet that shows what spoke for their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from vehicle_lightning.data.images import read_image
from vehicle_lightning.errors import DataError, RunError
from vehicle_lightning.explaining.evidence import change_by_masking, enlarge, evidence_maps
from vehicle_lightning.explaining.sheet import plot_explanations
from vehicle_lightning.explaining.subjects import Subject
from vehicle_lightning.model.classifier import VehicleClassifier
from vehicle_lightning.runs.checkpoints import load_classifier
from vehicle_lightning.runs.folder import RunFolder
from vehicle_lightning.runs.plots import save
from vehicle_lightning.runs.tensorboard import add_picture
from vehicle_lightning.runs.training import silence

SHEET = "explanations"


@dataclass(frozen=True)
class Explanation:
    """What a network made of one image.

    Attributes:
        image: uint8 of shape (H, W, 3), as the network sees it.
        evidence: float32 of shape (H, W); above 0 where it speaks for the prediction.
        prediction: the class.
        probability: that of the class, in [0, 1].
        hottest: how the probability changes where the quarter of the image is masked that speaks
            most for the prediction, in [-1, 1].
        coldest: the same of the quarter that speaks least for it, or most against it.
    """

    image: NDArray[np.uint8]
    evidence: NDArray[np.float32]
    prediction: str
    probability: float
    hottest: float
    coldest: float


@dataclass(frozen=True)
class ExplainResult:
    """The sheet and its occlusion check: mean changes of the probability, in [-1, 1]."""

    sheet: Path
    images: int
    hottest: float
    coldest: float


def explain_subjects(run: RunFolder, subjects: Sequence[Subject]) -> ExplainResult:
    """Explain images, and write the sheet into the run folder and TensorBoard.

    Args:
        run: its label stands above the sheet.
        subjects: at least one.

    Raises:
        RunError: a checkpoint is damaged, or its network keeps no places apart.
        DataError: an image cannot be read.
        OSError: the sheet cannot be written.
    """
    silence()
    load = cache(load_classifier)
    explanations = [
        explain(load(subject.checkpoint).model, _read(subject, load(subject.checkpoint).model))
        for subject in subjects
    ]
    sheet = run.picture(SHEET)
    figure = plot_explanations(
        np.stack([explanation.image for explanation in explanations]),
        np.stack([explanation.evidence for explanation in explanations]),
        [_caption(*pair) for pair in zip(subjects, explanations, strict=True)],
        title=f"{run.label}: what spoke for the prediction",
    )
    save(figure, sheet)
    if not run.is_part:  # such write no events
        add_picture(run, SHEET, sheet, load(subjects[0].checkpoint).epochs)
    return ExplainResult(
        sheet,
        len(explanations),
        fmean(explanation.hottest for explanation in explanations),
        fmean(explanation.coldest for explanation in explanations),
    )


def explain(classifier: VehicleClassifier, image: NDArray[np.uint8]) -> Explanation:
    """Explain the prediction of one image.

    Args:
        classifier: in eval mode.
        image: uint8 of shape (H, W, 3), of the size that the network takes.

    Raises:
        RunError: the last feature maps have one pixel, which speaks for the whole image.
    """
    images = torch.tensor(image).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        probabilities = classifier.measured_logits(images).softmax(dim=1)
    classes = probabilities.argmax(dim=1)
    maps = evidence_maps(classifier, images, classes)
    if maps[0].numel() == 1:
        raise RunError(
            f"The --channels shrink an image of {len(image)} pixels a side to a single one, so "
            f"the network cannot tell where in it something is; give a run with fewer blocks."
        )
    evidence = enlarge(maps, len(image))
    return Explanation(
        image,
        evidence[0].numpy(),
        classifier.class_names[int(classes)],
        float(probabilities.max()),
        float(change_by_masking(classifier, images, classes, evidence)),
        float(change_by_masking(classifier, images, classes, -evidence)),
    )


def _read(subject: Subject, classifier: VehicleClassifier) -> NDArray[np.uint8]:
    try:
        return read_image(subject.path, classifier.settings.image_size)
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes Pillow raise whatever its decoder stumbles on
        reason = " ".join(str(error).replace(str(subject.path), "the file").split())
        raise DataError(
            f"{subject.path} cannot be read: {reason or type(error).__name__}."
        ) from error


def _caption(subject: Subject, explanation: Explanation) -> tuple[str, str]:
    label = "" if subject.label is None else f"\nlabel {subject.label}"
    probability = f"{explanation.probability:.0%}"
    return f"{subject.name}{label}", f"taken for\n{explanation.prediction} ({probability})"
