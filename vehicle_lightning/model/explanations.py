"""From images to a sheet that shows what spoke for their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vehicle_lightning.data.images import read_or_fault
from vehicle_lightning.errors import DataError, RunError
from vehicle_lightning.model.evidence import change_by_masking, enlarge, evidence_maps
from vehicle_lightning.model.load import load
from vehicle_lightning.model.network import ImageClassifier
from vehicle_lightning.runs.plots import heat_over, plot_images, save


@dataclass(frozen=True)
class Subject:
    """One image to explain.

    Attributes:
        path: its file.
        name: what to call it.
        checkpoints: those of the networks to explain it by, which take images of one size.
        label: its class by the data set; None where that is not known.
        prediction: the class to explain and its probability; None where the networks are to say.
    """

    path: Path
    name: str
    checkpoints: tuple[Path, ...]
    label: str | None = None
    prediction: tuple[str, float] | None = None


@dataclass(frozen=True)
class Explanation:
    """What one or several networks, whose probabilities are averaged, made of one image.

    Attributes:
        evidence: float32 of shape (H, W); above 0 where it speaks for the prediction.
        prediction: the class.
        probability: that of the class, in [0, 1].
        hottest: how the probability changes where the quarter of the image is masked that speaks
            most for the prediction, in [-1, 1].
        coldest: the same of the quarter that speaks least for it, or most against it.
    """

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


def explain_subjects(subjects: Sequence[Subject], sheet: Path, *, title: str) -> ExplainResult:
    """Explain images, and write the sheet.

    Args:
        subjects: at least one.
        sheet: the picture to write.
        title: what explains them; stands above the sheet.

    Raises:
        RunError: a checkpoint is damaged, or its network keeps no places apart.
        DataError: an image cannot be read.
        OSError: the sheet cannot be written.
    """
    cached = cache(load)
    explanations, pictures, captions = [], [], []
    for subject in subjects:
        classifiers = [cached(checkpoint) for checkpoint in subject.checkpoints]
        size, white = classifiers[0].settings.image_size, classifiers[0].white
        image = read_or_fault(subject.path, size, white)
        if isinstance(image, str):
            raise DataError(f"{subject.path} cannot be read: {image}.")
        explanation = explain(classifiers, image, subject.prediction)
        explanations.append(explanation)
        pictures += [image, heat_over(image, explanation.evidence)]
        prediction = f"{explanation.prediction} ({explanation.probability:.0%})"
        if subject.label is None:
            captions += [subject.name, f"predicted\n{prediction}"]
        else:
            captions += [f"{subject.name}\nlabel {subject.label}", f"taken for\n{prediction}"]
    title = f"{title}: what spoke for the prediction"
    save(plot_images(np.stack(pictures), captions, title=title), sheet)
    return ExplainResult(
        sheet,
        len(explanations),
        fmean(explanation.hottest for explanation in explanations),
        fmean(explanation.coldest for explanation in explanations),
    )


def explain(
    classifiers: Sequence[ImageClassifier],
    image: NDArray[np.uint8],
    prediction: tuple[str, float] | None = None,
) -> Explanation:
    """Explain the prediction of one image by the mean evidence of the networks.

    Args:
        classifiers: at least one, in eval mode, of the same classes.
        image: uint8 of shape (H, W, 3), of the size that the networks take.
        prediction: the class to explain and its probability; by default the likeliest.

    Raises:
        RunError: the last feature maps have one pixel, which speaks for the whole image.
    """
    images = torch.tensor(image).permute(2, 0, 1)[None].float()
    if prediction is None:
        with torch.inference_mode():
            every = [classifier(images).softmax(dim=1) for classifier in classifiers]
        highest, number = torch.stack(every).mean(dim=0).squeeze(0).max(dim=0)
        prediction = classifiers[0].class_names[int(number)], float(highest)
    predicted, probability = prediction
    classes = torch.tensor([classifiers[0].class_names.index(predicted)])
    maps = [evidence_maps(classifier, images, classes) for classifier in classifiers]
    if any(one[0].numel() == 1 for one in maps):
        raise RunError(
            f"The network shrinks an image of {len(image)} pixels a side to a single one, so it "
            f"cannot tell where in it something is; give a run with fewer --channels, or with "
            f"a larger --image-size."
        )
    evidence = torch.stack([enlarge(one, len(image)) for one in maps]).mean(dim=0)

    def change(order: Tensor) -> float:
        return fmean(float(change_by_masking(c, images, classes, order)) for c in classifiers)

    return Explanation(
        evidence[0].numpy(),
        predicted,
        probability,
        hottest=change(evidence),
        coldest=change(-evidence),
    )
