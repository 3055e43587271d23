"""NormKD: a temperature per sample and network, in proportion to the deviation of its logits."""

from dataclasses import dataclass

import torch
from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, BatchOutputs, PerSample
from preceptor.errors import require_positive
from preceptor.registry import register


def row_deviation(logits: BatchClasses) -> PerSample:
    """The unbiased standard deviation of each row; 1 for a constant row, with gradient zero."""
    variance = logits.var(dim=1)
    return torch.where(variance > 0, variance, 1).sqrt()  # the root has no gradient at 0


@register("temperature", "normkd", paper="Chi et al., 2023, arXiv:2308.00520 (NormKD), as in github.com/gizi1/NormKD")
@dataclass(frozen=True)
class NormKD:
    """A temperature per sample and network: ``factor`` times the standard deviation of its logits.

    Teacher rows are divided by ``T_t = factor std(z_t)``, student rows by ``T_s = factor std(z_s)``, whose deviation
    carries gradient; a loss's factor T squared is the teacher's. Written as one temperature, ``T_t``, at which the
    student's rows are compared as ``z_s std(z_t) / std(z_s)``. A row of constant logits counts as one of deviation 1.

    Args:
        factor: above 0. Default 2 (public code).

    Raises:
        InputError: the factor is not a finite number above 0.
    """

    factor: float = 2.0

    def __post_init__(self) -> None:
        require_positive("normkd", factor=self.factor)

    def __call__(self, context: BatchContext) -> PerSample:
        return self.factor * row_deviation(context.teacher_logits)

    def rescale(self, logits: BatchOutputs, teacher_logits: BatchClasses) -> BatchOutputs:
        """The rows at the teacher's deviation, [batch, outputs]."""
        ratio: Tensor = row_deviation(teacher_logits) / row_deviation(logits[:, : teacher_logits.shape[1]])
        return logits * ratio.unsqueeze(1)
