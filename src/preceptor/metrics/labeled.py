"""The labeled samples of a report, checked at the door."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Int
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.errors import InputError
from preceptor.metrics.checks import check_finite, check_inputs
from preceptor.metrics.score_registry import Predictions


@dataclass(frozen=True)
class LabeledSamples:
    """What a report is of: checked once, here.

    Attributes:
        known: their predictions.
        truth: their labels.
        labeled: which of all samples they are.
        names: of the classes.
    """

    known: Predictions
    truth: Int[Tensor, " n"]
    labeled: Bool[Tensor, " all"]
    names: Sequence[str]

    @classmethod
    def of(
        cls, predictions: Predictions, labels: Int[Tensor, " all"], class_names: Sequence[str] | None
    ) -> "LabeledSamples":
        """The labeled ones among all.

        Raises:
            InputError: predictions, labels or names that do not fit, a logit that is not finite or beyond 1e30, or no
                labeled sample.
        """
        known, truth, labeled = labeled_only(predictions, labels)
        names = [str(number) for number in range(known.classes)] if class_names is None else class_names
        if len(names) != known.classes:
            raise InputError(f"{len(names)} class names; expected one for each of {known.classes} classes")
        return cls(known, truth, labeled, names)

    @property
    def n(self) -> int:
        return len(self.truth)

    @cached_property
    def prediction(self) -> Int[Tensor, " n"]:
        return self.known.prediction

    @cached_property
    def right(self) -> Bool[Tensor, " n"]:
        return self.prediction == self.truth

    @cached_property
    def of_class(self) -> Int[Tensor, " classes"]:
        """How many samples each class has."""
        return self.truth.bincount(minlength=self.known.classes)


def labeled_only(predictions: object, labels: Tensor) -> tuple[Predictions, Int[Tensor, " n"], Bool[Tensor, " all"]]:
    """The labeled samples, their labels, and which they are."""
    if not isinstance(predictions, Predictions):
        raise InputError(f"predictions are of type {type(predictions).__name__}; expected Predictions(logits)")
    labels = check_inputs(predictions.outputs, labels, abstains=predictions.abstains, known="some")
    check_finite(predictions.outputs)
    if predictions.teacher is not None:
        check_finite(predictions.teacher, "the teacher's")
    labeled = labels != UNLABELED
    return predictions.of(labeled), labels[labeled], labeled
