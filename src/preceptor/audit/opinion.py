"""The second opinion: probabilities of another classifier, of each image by a copy that has not seen its label."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.compare.crossfit import (
    EPOCHS_FILE,
    FOLDS,
    OUTPUTS_FILE,
    PROVENANCE_FILE,
    crossfit_classifier,
    read_features,
)
from preceptor.context import UNLABELED, predicted_class
from preceptor.data import Dataset
from preceptor.data.arrays import load_array
from preceptor.data.encoded import EncodedImages
from preceptor.data.lazy import Inputs
from preceptor.errors import InputError
from preceptor.run.set_up import folds_of
from preceptor.teachers.file import FileTeacher

MOST_PIXELS = 32
"""Longest side of encoded images that are brought to a regression on pixels."""

COMPONENTS = 128
"""Principal components that the probe sees at most; beyond them it takes minutes and gains little."""

PIXELS, TEACHER_FEATURES = "pixels", "teacher"


@dataclass(frozen=True, eq=False)
class SecondOpinion:
    """What classifiers say that were cross-fitted on the given labels.

    Attributes:
        name: what they are, for people.
        tables: probabilities, a row a training image; the first out of fold, a second the mean over epochs of copies
            that learned from the image (training dynamics), where there is one.
        accuracy: how often the first names the given label.
    """

    name: str
    tables: tuple[Float[Tensor, "n classes"], ...]
    accuracy: float


def second_opinion(
    source: str,
    dataset: Dataset,
    teacher_features: Callable[[], Tensor],
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> SecondOpinion:
    """Fit a second opinion, or read one.

    Args:
        source: "pixels", "teacher" (features before its last layer), a ``.npy`` file of features or embeddings, or the
            folder of a cross-fitting.
        dataset: whose training images are judged.
        teacher_features: computes the teacher's features of these images.
        seed: of the folds.
        progress: called with the number of folds done.

    Raises:
        InputError: no such source, or one that does not fit the data.
    """
    if source not in (PIXELS, TEACHER_FEATURES) and Path(source).is_dir():
        return _crossfitted(Path(source), dataset)
    if source == PIXELS:
        features, name = _pixels(dataset.train.images), "a logistic regression on pixels"
    elif source == TEACHER_FEATURES:
        features, name = teacher_features().flatten(1).cpu(), "a logistic regression on the teacher's features"
    elif source.endswith(".npy"):
        features, name = read_features(Path(source), len(dataset.train)), f"a logistic regression on {source}"
    else:
        raise InputError(
            f"second opinion {source!r}: expected {PIXELS}, {TEACHER_FEATURES}, FILE.npy of features, or the folder of "
            "preceptor crossfit"
        )
    # A fold may hold some samples more than its share, and a component needs a sample.
    labeled = int((dataset.train.labels != UNLABELED).sum())
    components = max(1, min(COMPONENTS, labeled * (FOLDS - 1) // FOLDS - FOLDS))
    parts = folds_of(dataset, FOLDS, seed)
    probe = partial(_probe, features.shape[1], components, seed)
    probabilities = crossfit_classifier(
        probe, features, dataset.train.labels, dataset.classes, parts, progress=progress
    )
    return SecondOpinion(name, (probabilities,), _accuracy(probabilities, dataset))


def _pixels(images: Inputs) -> Float[Tensor, "n pixels"]:
    if isinstance(images, EncodedImages):  # photographs: a smaller one is enough for what a regression sees
        height, width = min(images.spec.height, MOST_PIXELS), min(images.spec.width, MOST_PIXELS)
        images = EncodedImages(images.source, replace(images.spec, height=height, width=width), images.rows)
    return images[:].flatten(1).float() / 255


def _probe(dimensions: int, components: int, seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Weakly regularized, it repeats the errors of the labels that it is fitted on.
    classifier = LogisticRegression(C=0.1, max_iter=200, tol=1e-3)
    if dimensions <= components:
        return make_pipeline(StandardScaler(), classifier)
    return make_pipeline(PCA(components, whiten=True, random_state=seed), classifier)


def _crossfitted(folder: Path, dataset: Dataset) -> SecondOpinion:
    if not (folder / PROVENANCE_FILE).is_file() or not (folder / OUTPUTS_FILE).is_file():
        raise InputError(f"second opinion {folder}: no {OUTPUTS_FILE} of preceptor crossfit in it: let it end first")
    count = len(dataset.train)
    rows = FileTeacher(folder / OUTPUTS_FILE, output_kind="logits", images=count, class_names=dataset.class_names)
    everything = torch.arange(count)
    out_of_fold = rows.outputs(dataset.train.images[:0], everything, everything).logits.double().softmax(dim=1)
    tables, name = [out_of_fold], f"the cross-fitted classifiers in {folder}"
    if (folder / EPOCHS_FILE).is_file():
        epochs = load_array(folder / EPOCHS_FILE)
        if epochs.dtype.kind != "f" or epochs.shape[1:] != out_of_fold.shape:
            raise InputError(
                f"{folder / EPOCHS_FILE}: {epochs.dtype} of shape {epochs.shape}; expected probabilities of shape "
                f"[epochs, {count}, classes]"
            )
        tables.append(torch.from_numpy(epochs.astype(np.float64).mean(axis=0)))
        name += f", and the mean of their probabilities over {len(epochs)} epochs"
    return SecondOpinion(name, tuple(tables), _accuracy(out_of_fold, dataset))


def _accuracy(probabilities: Tensor, dataset: Dataset) -> float:
    labels = dataset.train.labels
    labeled = labels != UNLABELED
    return float((predicted_class(probabilities) == labels)[labeled].double().mean())
