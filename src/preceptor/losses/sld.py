"""Swapped logit distillation: both networks, each with its top class and the label exchanged where it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, predicted_class, swapped
from preceptor.errors import InputError, require_positive
from preceptor.losses.kl import kl_divergence
from preceptor.registry import register, registered_name


def multi_temperature_divergence(
    student_logits: BatchClasses, target_logits: BatchClasses, temperatures: Sequence[float]
) -> PerSample:
    """``sum_T T^2 KL(softmax(t / T) || softmax(z / T))`` per sample."""
    parts = [
        kl_divergence(student_logits, (target_logits / temperature).log_softmax(dim=1), temperature) * temperature**2
        for temperature in temperatures
    ]
    return torch.stack(parts).sum(dim=0)


@dataclass(frozen=True)
class _AtSeveralTemperatures:
    temperatures: Sequence[float] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    target_space: ClassVar[TargetSpace] = "logits"
    own_temperatures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise InputError(f"{registered_name(self)}: temperatures is empty: expected one or more, above 0")
        for temperature in self.temperatures:
            require_positive(registered_name(self), temperatures=temperature)


@register("loss", "sld", paper="Limantoro et al., 2025, arXiv:2504.20108 (SLD, the teacher's part)")
@dataclass(frozen=True)
class SLD(_AtSeveralTemperatures):
    """Divergence from the teacher's logits at several temperatures, summed, each times T squared.

    The teacher's swap is the correction ``probability_shift``: see the recipe. The publication sums the loss over a
    weak and a strong view of each image: with :class:`~preceptor.data.TwoViews` it is the mean over both. The
    temperature of the distillation loss has no effect on it.

    Args:
        temperatures: above 0. Default 1 to 6 (public code).

    Raises:
        InputError: none, or one that is not a finite number above 0.
    """

    zero_at_teacher: ClassVar[bool] = True

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return multi_temperature_divergence(student_logits, target, self.temperatures)


@register("loss", "sld_student", paper="Limantoro et al., 2025, arXiv:2504.20108 (SLD, the student's part)")
@dataclass(frozen=True)
class SLDStudent(_AtSeveralTemperatures):
    """The same divergence from the student's own logits, detached, its top class and the label exchanged where wrong.

    0 where the student names the label. The temperature of the distillation loss has no effect on it, nor has the
    teacher.

    Args:
        temperatures: above 0. Default 1 to 6 (public code).
        faithful: let gradient into the swapped logits too, as the public code does, which does not detach them. Default
            False.

    Raises:
        InputError: none, or one that is not a finite number above 0.
    """

    faithful: bool = False
    zero_at_teacher: ClassVar[bool] = False
    uses_label: ClassVar[bool] = True
    self_target: ClassVar[bool] = True

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        own = student_logits if self.faithful else student_logits.detach()
        shifted = swapped(own, predicted_class(own.detach()), label)
        return multi_temperature_divergence(student_logits, shifted, self.temperatures)
