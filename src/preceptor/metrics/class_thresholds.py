"""Selection with guaranteed risk for each predicted class: a threshold and a guarantee of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.checks import INTEGERS, refuse_first
from preceptor.metrics.risk_control import NoGuarantee, RiskGuarantee, check_calibration, select_threshold


@dataclass(frozen=True)
class ClassGuarantees:
    """A sample is answered if its confidence reaches the threshold of the class that is predicted for it.

    Attributes:
        classes: for each class a guarantee, or that none can be made: it is then never answered.
        joint: whether all guarantees hold at once with probability at least 1 - delta; otherwise each of them does, by
            itself.
        max_risk, delta, coverage, samples: as `RiskGuarantee`, the risk being that of each class.
    """

    classes: list[RiskGuarantee | NoGuarantee]
    joint: bool
    max_risk: float
    delta: float
    coverage: float
    samples: int

    @property
    def thresholds(self) -> list[float | None]:
        """The least confidence answered, by class; None where nothing is."""
        return [guarantee.threshold if isinstance(guarantee, RiskGuarantee) else None for guarantee in self.classes]

    def answers(self, confidence: Float[Tensor, " n"], prediction: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which samples are answered, by the thresholds."""
        return at_thresholds(confidence, prediction, self.thresholds)


def at_thresholds(
    confidence: Float[Tensor, " n"], prediction: Int[Tensor, " n"], thresholds: Sequence[float | None]
) -> Bool[Tensor, " n"]:
    """Which samples reach the threshold of the class predicted for them; None is out of reach.

    Raises:
        InputError: predictions that are not one whole number for each confidence, or a class without a threshold.
    """
    _check_prediction(confidence, prediction, len(thresholds), "thresholds")
    limits = [float("inf") if limit is None else limit for limit in thresholds]
    return confidence >= torch.tensor(limits, dtype=confidence.dtype, device=confidence.device)[prediction.long()]


def select_class_thresholds(
    confidence: Float[Tensor, " n"],
    wrong: Bool[Tensor, " n"],
    prediction: Int[Tensor, " n"],
    classes: int,
    max_risk: float,
    delta: float = 0.05,
    *,
    joint: bool = True,
) -> ClassGuarantees:
    """`select_threshold` for the samples of each predicted class, so that no class pays for another.

    Given which classes were predicted, the samples of each are drawn independently, and the guarantee of each class is
    that of `select_threshold`. Joint guarantees divide delta by the number of classes that were predicted at all (the
    union bound: the probabilities that single ones are broken add up to delta at most). Then the risk among all
    answers, a mean of the classes' risks, is below the limit as well, with the same probability; guarantees that are
    not joint say nothing of that mean.

    Each class needs samples enough of its own: with no error at all among n, the bound is ``1 - d^(1/n)`` with the d
    of one step.

    Args:
        confidence, wrong, max_risk, delta: as `select_threshold`.
        prediction: class predicted for each sample: not its label, which is unknown where the threshold is used.
        classes: their number.
        joint: whether the guarantee is of all classes at once. Default True.

    Raises:
        InputError: as `select_threshold`, or predictions that do not fit.

    Our extension of Geifman and El-Yaniv, 2017, arXiv:1705.08500.
    """
    _check_prediction(confidence, prediction, classes, "classes")
    check_calibration(confidence, wrong, max_risk, delta)
    predicted = int(prediction.unique().numel())
    each_delta = delta / predicted if joint else delta
    guarantees: list[RiskGuarantee | NoGuarantee] = []
    for number in range(classes):
        own = prediction == number
        if own.any():
            guarantees.append(select_threshold(confidence[own], wrong[own], max_risk, each_delta))
        else:
            guarantees.append(NoGuarantee(1.0, 0.0, max_risk, each_delta, 0))
    answered = sum(guarantee.covered for guarantee in guarantees if isinstance(guarantee, RiskGuarantee))
    return ClassGuarantees(guarantees, joint, max_risk, delta, answered / len(confidence), len(confidence))


def _check_prediction(confidence: Tensor, prediction: Tensor, known: int, of: str) -> None:
    if prediction.shape != confidence.shape or prediction.dim() != 1 or prediction.dtype not in INTEGERS:
        raise InputError(
            f"{list(prediction.shape)} predictions of {prediction.dtype} beside {list(confidence.shape)} confidences; "
            "expected one whole number for each"
        )
    refuse_first(
        (prediction.long() < 0) | (prediction.long() >= known),
        lambda first: f"predicted class is {int(prediction[first])}; expected 0 to {known - 1}, with {known} {of}",
    )
