"""CTKD: one learned temperature that makes the student's task harder, by a gradient reversed step by step."""

import math

import torch
from torch import Tensor, nn

from preceptor.context import BatchClasses, BatchContext, BatchOutputs, z_score
from preceptor.errors import InputError, require_positive
from preceptor.registry import register


def reversal(progress: float, warmup: float) -> float:
    """``-(1 - cos(pi min(progress / warmup, 1))) / 2``: factor on the gradient, from 0 to -1."""
    return -(1 - math.cos(math.pi * (min(progress / warmup, 1.0) if warmup else 1.0))) / 2


def with_gradient_times(parameter: Tensor, factor: float) -> Tensor:
    """The parameter, bit for bit, with its gradient multiplied."""
    return parameter.detach() + factor * (parameter - parameter.detach())


@register("temperature", "ctkd", paper="Li et al., 2023, arXiv:2211.16231 (CTKD), as in github.com/zhengli97/CTKD")
class CTKD(nn.Module):
    """One temperature for all samples, learned against the student: it maximizes what the student minimizes.

    ``T = start + span sigmoid(theta)`` with theta trained by the student's optimizer, whose gradient is multiplied by
    ``-(1 - cos(pi min(progress / warmup, 1))) / 2``, so that the task becomes harder step by step. The gradient comes
    through the target, the student's softmax and the factor T squared of every loss that has them. Weight decay of the
    optimizer applies to theta, as in the public code. Theta starts at 1, T at 15.6 by default.

    Args:
        start: the lowest temperature, above 0. Default 1 (public code).
        span: from it to the highest, above 0. Default 20 (public code).
        warmup: share of training over which the reversal grows to -1, 0 to 1. Default 0.0417: 10 of 240 epochs on
            CIFAR-100; here it grows from step to step, in the public code from epoch to epoch.
        standardize: standardize logits before they are compared, as temperature ``standardized`` does. Default False.

    Raises:
        InputError: a temperature that is not a finite number above 0, or a warm-up outside 0 to 1.
    """

    def __init__(
        self, start: float = 1.0, span: float = 20.0, warmup: float = 0.0417, standardize: bool = False
    ) -> None:
        super().__init__()
        require_positive("ctkd", start=start, span=span)
        if not 0 <= warmup <= 1:
            raise InputError(f"ctkd: warmup = {warmup}: expected a share of training, 0 to 1")
        self.start, self.span, self.warmup, self.standardize = start, span, warmup, standardize
        self.theta = nn.Parameter(torch.tensor(1.0))

    def forward(self, context: BatchContext) -> Tensor:
        """The temperature, []."""
        theta = with_gradient_times(self.theta, reversal(context.progress, self.warmup))
        return self.start + self.span * theta.sigmoid()

    def rescale(self, logits: BatchOutputs, teacher_logits: BatchClasses) -> BatchOutputs:
        """The rows as they are, or standardized; [batch, outputs]."""
        return z_score(logits, classes=teacher_logits.shape[1]) if self.standardize else logits

    def extra_repr(self) -> str:
        return f"start={self.start}, span={self.span}, warmup={self.warmup}, standardize={self.standardize}"
