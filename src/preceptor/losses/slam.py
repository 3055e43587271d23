"""Student-label mixing: the teacher's noise is added to the student's prediction, not taken from the teacher's."""

from typing import ClassVar

import torch
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, SelectionData, Temperatures, column
from preceptor.fitting import FittedOnLabels, fit_scale
from preceptor.registry import register


def mixed_log_probs(student_log_probs: BatchClasses, reliability: PerSample) -> BatchClasses:
    """``ln (a q_c + (1 - a) (1 - q_c) / (K - 1))``: what a teacher says that is right with probability ``a``.

    Wrong, it names each of the K - 1 other classes alike. ``a`` is at least 1 / K.
    """
    smallest = torch.finfo(student_log_probs.dtype).tiny
    noise = ((1 - reliability) / (student_log_probs.shape[1] - 1)).unsqueeze(1)
    factor = reliability.unsqueeze(1) - noise
    return torch.logaddexp(factor.clamp(min=smallest).log() + student_log_probs, noise.clamp(min=smallest).log())


@register(
    "loss",
    "slam",
    paper="Kontonis et al., 2023, arXiv:2302.03806 (SLaM); reconstruction: how reliable the teacher is",
)
class SLaM(FittedOnLabels):
    """Compare the teacher with the student's prediction mixed with the teacher's estimated noise.

    ``T^2 KL(p_t || a q + (1 - a) (1 - q) / (K - 1))``, ``a`` the probability that the teacher is right. The student may
    be surer than a doubtful teacher without a loss. This reconstruction takes for ``a`` the teacher's confidence at
    temperature 1, calibrated by a temperature on held-out samples, and the teacher's soft targets, where the paper has
    its labels.

    Args:
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("scale",)
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = False  # the optimum is surer than the teacher

    scale: Tensor

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the teacher's reliability; `InputError` where there are no labeled samples to fit it on."""
        samples = self.labeled(selection_data)
        self.store(scale=fit_scale(samples.logits, samples.label).reshape(1))

    def forward(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        """The loss of each sample; `InputError` before the fit."""
        self.check_fitted()
        reliability = (self.scale.to(target.dtype) * target).softmax(dim=1).amax(dim=1)
        student = mixed_log_probs((student_logits / column(temperature)).log_softmax(dim=1), reliability)
        teacher = (target / column(temperature)).log_softmax(dim=1)
        return (teacher.exp() * (teacher - student)).sum(dim=1) * temperature**2
