"""Class-prior correction: the classes that a teacher favors over all samples are held against it on each one."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.chunking import row_chunks
from preceptor.context import BatchClasses, SelectionData
from preceptor.fitting import FittedComponent
from preceptor.registry import register


def mean_prediction(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " classes"]:
    """``p'(c) = mean_i softmax(z_i)_c``, in float64."""
    total = torch.zeros(logits.shape[1], dtype=torch.float64, device=logits.device)
    for (rows,) in row_chunks(logits):
        total += rows.double().softmax(dim=1).sum(dim=0)
    return total / len(logits)


def without_prior(logits: BatchClasses, log_prior: Float[Tensor, " classes"]) -> BatchClasses:
    """Logits of ``p~(y|x) = [p(y|x) / p'(y)] / sum_c p(c|x) / p'(c)``: ``z - ln p'``."""
    return logits - log_prior


@register("recalibration", "prior", paper="class-prior debiasing as in DSS, CVPR 2026; reconstruction of its equation")
class Prior(FittedComponent):
    """Divide the teacher's probabilities by its mean prediction over the training samples.

    For a teacher that favors some classes, one trained on a long-tailed set for example, where the classes of the
    training set are about equally frequent: the prior of the data goes with that of the teacher. At temperature 1, as
    all probabilities of a recalibration.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("log_prior",)

    log_prior: Tensor

    def fit(self, selection_data: SelectionData) -> None:
        """Take the mean prediction over all training samples, labeled or not."""
        prior = mean_prediction(selection_data.teacher.train.logits)
        self.store(log_prior=prior.clamp(min=torch.finfo(torch.float32).tiny).log())

    def forward(self, logits: BatchClasses) -> BatchClasses:
        """The recalibrated logits; `InputError` before the fit."""
        self.check_fitted()
        return without_prior(logits, self.log_prior.to(logits.dtype))
