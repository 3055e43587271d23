"""The teacher's confusions undone: what is the class, given what the teacher takes it for?"""

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import BatchClasses, SelectionData, predicted_class
from preceptor.errors import InputError
from preceptor.fitting import FitPart, FittedComponent, labeled_outputs
from preceptor.registry import register


def confusion_counts(
    label: Int[Tensor, " n"], prediction: Int[Tensor, " n"], classes: int
) -> Float[Tensor, "classes classes"]:
    """Number of samples by label (rows) and teacher's class (columns), in float64."""
    cells = torch.bincount(label.long() * classes + prediction, minlength=classes * classes)
    return cells.reshape(classes, classes).double()


def mixed_by_confusion(logits: BatchClasses, posterior: Float[Tensor, "classes classes"]) -> BatchClasses:
    """``ln p~(j|x)`` with ``p~(j|x) = sum_k P(label = j | teacher = k) p(k|x)``.

    The diagonal, which is above zero, is added in log-space, so that the result is finite for certain teachers, too.
    """
    log_probs = logits.log_softmax(dim=1)
    own = posterior.diagonal()
    others = log_probs.exp() @ (posterior - own.diag()).T
    return torch.logaddexp(own.log() + log_probs, others.clamp(min=torch.finfo(logits.dtype).tiny).log())


@register("recalibration", "confusion", paper="reconstruction: Bayes' rule with the teacher's confusion matrix")
class Confusion(FittedComponent):
    """Replace each class by what it stands for in the teacher's confusion matrix on held-out samples.

    For a teacher whose errors are systematic: it takes cats for dogs, but not dogs for cats. The smoothing and the use
    of the teacher's whole prediction, not its top class alone, are this project's choice.

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
        super().__init__()
        if not 0 < smoothing < math.inf:
            raise InputError(f"confusion: smoothing = {smoothing}: expected a finite number above 0")
        self.smoothing = smoothing
        self.fit_on: FitPart = fit_on
        self.needs_held_out = fit_on == "held_out"

    def fit(self, selection_data: SelectionData) -> None:
        """Count the confusions; `InputError` where there are no labeled samples to count."""
        samples = labeled_outputs(selection_data, self.fit_on, "confusion")
        classes = samples.logits.shape[1]
        counts = confusion_counts(samples.label, predicted_class(samples.logits), classes)
        counts = counts + self.smoothing * torch.eye(classes, dtype=counts.dtype, device=counts.device)
        self.store(posterior=counts / counts.sum(dim=0))

    def forward(self, logits: BatchClasses) -> BatchClasses:
        """The recalibrated log-probabilities; `InputError` before the fit."""
        self.check_fitted()
        return mixed_by_confusion(logits, self.posterior.to(logits.dtype))
