"""Weights by the size of the teacher's conformal prediction set: the more classes it cannot rule out, the less."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, PerSample, SelectionData, at_class
from preceptor.errors import InputError
from preceptor.fitting import FitPart, FittedOnLabels
from preceptor.registry import register

Decay = Literal["inverse", "linear"]
"""``1 / |C|``, or ``1 - (|C| - 1) / (K - 1)`` of K classes."""


def least_probability(logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"], alpha: float) -> Float[Tensor, ""]:
    """The probability from which on a class is in the set, so that it holds ``1 - alpha`` of the labels; float64.

    The ``ceil((n + 1) (1 - alpha))``-th largest probability of the label, 0 where there are fewer samples.

    Vovk et al., 2005; Sadinle et al., "Least Ambiguous Set-Valued Classifiers", 2019, arXiv:1609.00451.
    """
    own = at_class(logits.double().softmax(dim=1), label.long()).sort(descending=True).values
    position = math.ceil((len(own) + 1) * (1 - alpha))
    return own[position - 1] if position <= len(own) else torch.zeros_like(own[0])


def set_size(logits: BatchClasses, least: Float[Tensor, "..."]) -> PerSample:
    """Number of classes in each sample's set, at least 1: the teacher's own class is always in it."""
    probs = logits.softmax(dim=1)
    return (probs >= least).sum(dim=1).clamp(min=1).to(logits.dtype)


def size_weight(size: PerSample, classes: int, decay: Decay) -> PerSample:
    """``1 / |C|``, or ``1 - (|C| - 1) / (K - 1)``."""
    return 1 / size if decay == "inverse" else 1 - (size - 1) / (classes - 1)


@register("selection", "conformal_weight", paper="AdaConG, arXiv:2502.16736; reconstruction: how size becomes a weight")
class ConformalWeight(FittedOnLabels):
    """Weigh each sample by the size of the teacher's conformal set: 1 where one class is left, less with every other.

    The set holds the label with probability ``1 - alpha`` on samples like those it is fitted on.

    Args:
        alpha: share of labels that the sets may miss, above 0 and below 1. Default 0.1, this project's choice.
        decay: "inverse" (default), ``1 / |C|``; or "linear", ``1 - (|C| - 1) / (K - 1)``, 0 where none is ruled out.
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.

    Raises:
        InputError: an ``alpha`` that is not between 0 and 1.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("least",)

    least: Tensor

    def __init__(self, alpha: float = 0.1, decay: Decay = "inverse", fit_on: FitPart = "held_out") -> None:
        super().__init__(fit_on)
        if not 0 < alpha < 1:
            raise InputError(f"conformal_weight: alpha = {alpha}: expected a share above 0 and below 1")
        self.alpha = alpha
        self.decay: Decay = decay

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the sets; `InputError` where there are no labeled samples to fit them on."""
        samples = self.labeled(selection_data)
        self.store(least=least_probability(samples.logits, samples.label, self.alpha).reshape(1))

    def forward(self, context: BatchContext) -> PerSample:
        """The weight of each sample; `InputError` before the fit."""
        self.check_fitted()
        logits = context.teacher_logits
        return size_weight(set_size(logits, self.least.to(logits.dtype)), logits.shape[1], self.decay)
