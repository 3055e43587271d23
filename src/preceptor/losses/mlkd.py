"""Multi-level logit distillation: samples, pairs of classes and pairs of samples, at several temperatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, shares, z_score
from preceptor.errors import require_positive
from preceptor.losses.kl import kl_divergence
from preceptor.registry import register

Scalar = Float[Tensor, ""]


def low_half(values: Float[Tensor, " n"], counted: Bool[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """The values up to the median of those that are counted, the mean of the two in the middle of an even number."""
    ordered = torch.where(counted, values, torch.inf).sort().values
    number = counted.sum()
    middle = torch.stack([(number - 1).clamp(min=0) // 2, number.clamp(max=len(values) - 1) // 2])
    return values <= ordered[middle].mean()


def present_rows(weight: PerSample, *logits: BatchClasses) -> list[BatchClasses]:
    """The logits, zeros in rows of weight zero, whatever stands there."""
    return [torch.where((weight > 0).unsqueeze(1), one, 0) for one in logits]


def class_relations_loss(
    student_probs: BatchClasses, target_probs: BatchClasses, weight: PerSample, factor: Float[Tensor, " classes"]
) -> Scalar:
    """``sum_cd f_c (M_cd - M'_cd)^2 / C`` with ``M = sum_i w_i p_i p_i^T`` over the batch."""
    student, target = ((weight.unsqueeze(1) * probs).T @ probs for probs in (student_probs, target_probs))
    return (factor.unsqueeze(1) * (student - target).square()).sum() / len(factor)


def sample_relations_loss(
    student_probs: BatchClasses, target_probs: BatchClasses, weight: PerSample, factor: PerSample
) -> Scalar:
    """``sum_ij f_i w_i w_j (p_i . p_j - p'_i . p'_j)^2 / sum_i w_i`` over the batch; 0 without weight."""
    difference = student_probs @ student_probs.T - target_probs @ target_probs.T
    pairs = (factor * shares(weight)).unsqueeze(1) * weight * difference.square()
    return pairs.sum()


@register(
    "loss",
    "mlkd",
    paper="Jin, Wang, Lin, 2023, CVPR (MLKD), one view of its two, as in "
    "github.com/Jin-Ying/Multi-Level-Logit-Distillation",
)
@dataclass(frozen=True)
class MLKD:
    """Compare samples, pairs of classes and pairs of samples with the teacher's, at several temperatures.

    For each temperature ``T^2 KL``, the Gram matrix of the classes over the batch, and that of the samples, summed. The
    first and last are limited to the samples of which the teacher is less sure than the median of the batch, the second
    to the classes of less mass than the median, by the rows of the matrices: the intention of the public code, as this
    project reads it. The paper's second view of each image, with strong augmentation, is that of loss ``mlkd_views``.
    It is a statistic of the batch, published for 64 samples; the second term grows with their number squared. A
    sample's weight is that of its row; any above zero counts in the medians.

    Args:
        more_temperatures: beside that of the loss (4 in the paper), above 0. Default 3, 5, 2, 6 (public code).
        faithful: multiply each term by the kept share instead, which is what the public code does: there nothing is
            left out. Default False.
        standardized: take the divergences from rows of logits of mean 0 and standard deviation 1, the Gram matrices
            from them as they are (Sun et al., 2024, arXiv:2403.01427, MLKD+LS). Default False.

    Raises:
        InputError: a temperature that is not a finite number above 0.
    """

    more_temperatures: Sequence[float] = (3.0, 5.0, 2.0, 6.0)
    faithful: bool = False
    standardized: bool = False
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = True
    batch_statistic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for temperature in self.more_temperatures:
            require_positive("mlkd", more_temperatures=temperature)

    def __call__(
        self,
        student_logits: BatchClasses,
        target: BatchClasses,
        temperature: Temperatures,
        label: Classes,
        weight: PerSample,
    ) -> Scalar:
        student, teacher = present_rows(weight, student_logits, target)
        factors = self.factors(teacher.softmax(dim=1), weight)
        divergences = self.divergences(student, teacher, temperature)
        instances = (factors[0] * shares(weight) * divergences.sum(dim=0)).sum()
        return instances + self.relations(student, teacher, temperature, weight, *factors)

    def divergences(
        self, student_logits: BatchClasses, teacher_logits: BatchClasses, temperature: Temperatures
    ) -> Float[Tensor, "temperatures batch"]:
        """``T^2 KL`` of each sample, of standardized logits where that is asked for."""
        if self.standardized:
            student_logits, teacher_logits = z_score(student_logits), z_score(teacher_logits)
        divergences = [
            kl_divergence(student_logits, (teacher_logits / column(one)).log_softmax(dim=1), one) * one**2
            for one in (temperature, *self.more_temperatures)
        ]
        return torch.stack(divergences)

    def relations(
        self,
        student_logits: BatchClasses,
        teacher_logits: BatchClasses,
        temperature: Temperatures,
        weight: PerSample,
        of_sample: PerSample,
        of_class: Float[Tensor, " classes"],
    ) -> Scalar:
        """Both terms on Gram matrices, summed over temperatures, with factors on samples and classes."""
        terms = []
        for one in (temperature, *self.more_temperatures):
            student, teacher = ((logits / column(one)).softmax(dim=1) for logits in (student_logits, teacher_logits))
            terms.append(class_relations_loss(student, teacher, weight, of_class))
            terms.append(sample_relations_loss(student, teacher, weight, of_sample))
        return torch.stack(terms).sum()

    def factors(self, target_probs: BatchClasses, weight: PerSample) -> tuple[PerSample, Float[Tensor, " classes"]]:
        """Factors on samples and classes: 1 for those that are kept and 0 elsewhere, or everywhere the kept share."""
        mass = (weight.unsqueeze(1) * target_probs).sum(dim=0)
        samples = low_half(target_probs.amax(dim=1), weight > 0).to(weight.dtype)
        classes = low_half(mass, torch.ones_like(mass, dtype=torch.bool)).to(weight.dtype)
        if not self.faithful:
            return samples, classes
        return (shares(weight) * samples).sum().expand_as(samples), classes.mean().expand_as(classes)
