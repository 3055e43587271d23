"""RC: the student taught by its own logits with the label's raised."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, is_class
from preceptor.losses.kl import kl_divergence
from preceptor.registry import register


def raised_label(logits: BatchClasses, label: Classes) -> BatchClasses:
    """The row's largest logit added to the label's. A constant added to all logits changes it."""
    largest = logits.amax(dim=1, keepdim=True)
    return torch.where(is_class(logits, label), logits + largest, logits)


@register("loss", "rc", paper="reconstruction of RC as re-implemented in github.com/zju-SWJ/RLD")
@dataclass(frozen=True)
class RC:
    """Divergence from the student's own logits, detached and with the label's raised by the largest, to the student's.

    ``T^2 KL(softmax(z' / T) || softmax(z / T))`` with ``z'_y = z_y + max_c z_c``. The teacher has no part in it: it is
    a term beside plain distillation, of weight 0.1 in that code. Where all logits are below 0 the label's is lowered.
    The original paper was not read.
    """

    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = False
    uses_label: ClassVar[bool] = True
    self_target: ClassVar[bool] = True

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        own = (raised_label(student_logits.detach(), label) / column(temperature)).log_softmax(dim=1)
        return kl_divergence(student_logits, own, temperature) * temperature**2
