"""The teacher's confusions undone: what is the class, given what the teacher takes it for?"""

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import BatchClasses, SelectionData
from preceptor.errors import InputError
from preceptor.fitting import FitPart, FittedOnLabels
from preceptor.registry import register

ROUNDS = 100
"""Of expectation and maximization; always as many, so that equal inputs give equal bits."""


def confusion_posterior(
    logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"], smoothing: float
) -> Float[Tensor, "classes classes"]:
    """``M[j, k] = P(label = j | teacher = k)`` that explains the labels best, in float64; columns sum to 1.

    The largest ``sum_i ln sum_k M[y_i, k] p_i(k) + smoothing sum_k ln M[k, k]``, by expectation and maximization: the
    teacher's class counts as hidden, drawn from its prediction. Counting its top classes would blur a prediction that
    is unsure already; here a calibrated teacher stays as it is.

    Dawid and Skene, 1979, doi:10.2307/2346806 (a confusion matrix by expectation and maximization).
    """
    probs, label = logits.double().softmax(dim=1), label.long()
    identity = torch.eye(probs.shape[1], dtype=probs.dtype, device=probs.device)
    posterior = (identity + 1 / len(identity)) / 2
    for _ in range(ROUNDS):
        share = posterior[label] * probs
        share = share / share.sum(dim=1, keepdim=True)
        counts = (smoothing * identity).index_add(0, label, share)
        posterior = counts / counts.sum(dim=0)
    return posterior


def mixed_by_confusion(logits: BatchClasses, posterior: Float[Tensor, "classes classes"]) -> BatchClasses:
    """``ln p~(j|x)`` with ``p~(j|x) = sum_k P(label = j | teacher = k) p(k|x)``.

    The diagonal, which is above zero, is added in log-space, so that the result is finite for certain teachers, too.
    """
    log_probs = logits.log_softmax(dim=1)
    own = posterior.diagonal()
    others = log_probs.exp() @ (posterior - own.diag()).T
    return torch.logaddexp(own.log() + log_probs, others.clamp(min=torch.finfo(logits.dtype).tiny).log())


@register("recalibration", "confusion", paper="reconstruction: Bayes' rule with the teacher's confusion matrix")
class Confusion(FittedOnLabels):
    """Replace each class by what it stands for in the teacher's confusion matrix on held-out samples.

    For a teacher whose errors are systematic: it takes cats for dogs, but not dogs for cats. Wrong labels of the
    held-out samples count as its confusions. How the matrix is estimated is this project's choice.

    Args:
        smoothing: so many imagined samples of each class on which the teacher is right, above 0. Default 1. With
            infinitely many nothing changes.
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.

    Raises:
        InputError: a ``smoothing`` that is not above 0.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("posterior",)

    posterior: Tensor

    def __init__(self, smoothing: float = 1.0, fit_on: FitPart = "held_out") -> None:
        super().__init__(fit_on)
        if not 0 < smoothing < math.inf:
            raise InputError(f"confusion: smoothing = {smoothing}: expected a finite number above 0")
        self.smoothing = smoothing

    def fit(self, selection_data: SelectionData) -> None:
        """Estimate the confusions; `InputError` where there are no labeled samples to see them on."""
        samples = self.labeled(selection_data)
        self.store(posterior=confusion_posterior(samples.logits, samples.label, self.smoothing))

    def forward(self, logits: BatchClasses) -> BatchClasses:
        """The recalibrated log-probabilities; `InputError` before the fit."""
        self.check_fitted()
        return mixed_by_confusion(logits, self.posterior.to(logits.dtype))
