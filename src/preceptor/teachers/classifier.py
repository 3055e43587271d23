"""A classifier of scikit-learn, or one with its interface, as teacher."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.errors import InputError, few, first_line
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.rows import as_logits, check_rows


class ProbabilisticClassifier(Protocol):
    """What a fitted classifier of scikit-learn offers."""

    classes_: Any

    def predict_proba(self, X: Any, /) -> Any:
        """Probabilities, shape [n, classes], in the order of ``classes_``."""


class ClassifierTeacher:
    """A fitted classifier as teacher; its logits are the logarithms of its probabilities.

    It is shown each view as one row: pixels scaled to [0, 1] in float64, channel by channel, row by row, which is
    ``images.reshape(len(images), -1) / 255`` in NumPy. Fit it on the same.

    It is passed in Python only. The files of scikit-learn (pickle, joblib) run code when they are opened, so Preceptor
    opens none: load a file that you trust yourself, or save ``predict_proba`` with ``numpy.save`` and use
    ``FileTeacher``.

    Args:
        classifier: has ``predict_proba`` and ``classes_``; a pipeline will do.

    Attributes:
        classes: number of classes.

    Raises:
        InputError: it gives no probabilities, is not fitted, or its classes are not 0 to C - 1. In another order they
            are sorted.
    """

    def __init__(self, classifier: ProbabilisticClassifier) -> None:
        self._name = type(classifier).__name__
        if not hasattr(classifier, "predict_proba"):
            raise InputError(
                f"teacher {self._name}: no predict_proba, so no probabilities to teach: "
                "use a classifier that has it, or wrap this one in sklearn.calibration.CalibratedClassifierCV"
            )
        self._classifier = classifier
        self._order = _columns(self._name, getattr(classifier, "classes_", None))
        self.classes = len(self._order)

    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits in float32 on the images' device; see ``Teacher``.

        Raises:
            InputError: images of another size than it was fitted on, or probabilities that are none.
        """
        pixels = images.flatten(1).cpu().numpy() / 255
        try:
            probs = np.asarray(self._classifier.predict_proba(pixels))
        except ValueError as error:
            raise InputError(
                f"teacher {self._name}: cannot take images of {pixels.shape[1]} values in [0, 1] "
                f"({first_line(error)}): fit it on images / 255, one flattened image a row"
            ) from error
        if probs.shape != (len(pixels), self.classes):
            raise InputError(
                f"teacher {self._name}: predict_proba gave an array of shape {probs.shape} for {len(pixels)} images "
                f"and {self.classes} classes: expected one row an image and one column a class"
            )
        check_rows(probs, "probabilities", lambda row: f"teacher {self._name}: training image {int(index[row])}")
        return TeacherOutput(as_logits(probs[:, self._order], "probabilities").to(images.device))


def _columns(name: str, classes: Any) -> Int[ndarray, " classes"]:
    """For each of the classes 0 to C - 1 its column in ``predict_proba``."""
    if classes is None:
        raise InputError(f"teacher {name}: no classes_: fit it first")
    labels = np.asarray(classes)
    if labels.ndim != 1 or labels.dtype.kind not in "iuf" or not np.array_equal(np.sort(labels), range(len(labels))):
        raise InputError(
            f"teacher {name}: classes_ is [{few([str(label) for label in classes], 6)}], expected all of 0 to C - 1: "
            "fit it on the data set's labels, with every class among them"
        )
    return np.argsort(labels)
