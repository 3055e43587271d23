"""Label Revision: a mixture of the teacher's probabilities with the one-hot label, in which the label leads."""

from dataclasses import dataclass

import torch

from preceptor.component_types import Scope
from preceptor.context import BatchClasses, Classes, PerSample, at_class, is_class
from preceptor.errors import InputError
from preceptor.registry import register


def revision_beta(log_probs: BatchClasses, label: Classes, teacher_class: Classes, eta: float) -> PerSample:
    """Weight of the teacher's probabilities: ``beta = eta / (1 + p_max - p_y)``, between eta/2 and eta."""
    gap = at_class(log_probs, teacher_class).exp() - at_class(log_probs, label).exp()
    return eta / (1 + gap)


def label_revision(log_probs: BatchClasses, label: Classes, teacher_class: Classes, eta: float = 0.8) -> BatchClasses:
    """``p' = beta p + (1 - beta) onehot(y)`` in log-space, with ``beta = eta / (1 + p_max - p_y)``.

    Where the teacher is wrong, ``p'_y - p'_max = 1 - eta`` exactly, and the ratios among the other classes stay. Where
    it is right, this mixes in the label with weight 1 - eta.

    An ``eta`` of 0 gives the one-hot label, 1 a tie between the label and the teacher's class. Default 0.8, from the
    public re-implementation in RLD.

    Lan et al., "Improving Knowledge Distillation via Label Revision and Data Selection", arXiv:2404.03693.
    """
    beta = revision_beta(log_probs, label, teacher_class, eta)
    smallest = torch.finfo(log_probs.dtype).tiny  # keeps eta = 0 finite in log-space
    teacher_part = log_probs + beta.clamp(min=smallest).log().unsqueeze(1)
    label_part = torch.log1p(-beta).unsqueeze(1)
    return torch.where(is_class(log_probs, label), torch.logaddexp(teacher_part, label_part), teacher_part)


@register("correction", "label_revision", paper="Lan et al., 2024, arXiv:2404.03693 (Label Revision)")
@dataclass(frozen=True)
class LabelRevision:
    """Mix the teacher's probabilities with the label so that the label leads by 1 - eta.

    Args:
        eta: weight of the teacher, 0 <= eta < 1. Default 0.8 (public re-implementation in RLD).
        apply_to: "wrong" (default, as in that re-implementation) or "all" labeled samples.
    """

    eta: float = 0.8
    apply_to: Scope = "wrong"

    def __post_init__(self) -> None:
        if not 0 <= self.eta < 1:
            raise InputError(f"label_revision: eta = {self.eta}: expected at least 0 and below 1 (1 leaves a tie)")

    def __call__(self, log_probs: BatchClasses, label: Classes, teacher_class: Classes) -> BatchClasses:
        return label_revision(log_probs, label, teacher_class, self.eta)
