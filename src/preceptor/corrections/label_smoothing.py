"""Label smoothing in place of the teacher: a smoothed label as the target (Knowledge Adjustment, LSR)."""

import math
from dataclasses import dataclass

import torch

from preceptor.component_types import Scope
from preceptor.context import BatchClasses, Classes, is_class
from preceptor.errors import InputError
from preceptor.registry import register


def label_probability(eps: float, classes: int) -> float:
    """Label probability ``c = 1 - eps + eps / C`` of the textbook's eps. Its inverse: eps = (1 - c) C / (C - 1)."""
    return 1 - eps + eps / classes


def smoothed_one_hot(log_probs: BatchClasses, label: Classes, correct_prob: float) -> BatchClasses:
    """The log of ``c`` at the label and ``(1 - c) / (C - 1)`` elsewhere, in the shape and type of ``log_probs``.

    The temperature does not soften it (this project's choice; the paper's is not known). The values of ``log_probs``
    are not used: a NaN there does not reach the target.
    """
    smallest = torch.finfo(log_probs.dtype).tiny  # keeps correct_prob = 1 finite in log-space
    at_label = math.log(max(correct_prob, smallest))
    elsewhere = math.log(max((1 - correct_prob) / (log_probs.shape[1] - 1), smallest))
    background = torch.full_like(log_probs, elsewhere)
    return background.masked_fill(is_class(log_probs, label), at_label)


@register("correction", "label_smoothing", paper="Wen, Lai, Qian, 2019, arXiv:1911.07471 (Knowledge Adjustment, LSR)")
@dataclass(frozen=True)
class LabelSmoothing:
    """Replace the teacher's output by a smoothed one-hot label.

    The target has two parametrizations. Teacher logits that hold a NaN count as a prediction of the last class, so most
    such samples are replaced like wrong ones, without an error; ``preceptor doctor`` looks for them.

    Args:
        correct_prob: ``c`` at the label and ``(1 - c) / (C - 1)`` elsewhere. Default 0.9 (KD_Lib's; the paper's form
            and value are not known).
        eps: textbook form, ``(1 - eps) [i = y] + eps / C``, that is ``c = 1 - eps + eps / C``; when set, it
            takes the place of ``correct_prob``.
        apply_to: "wrong" (default, the paper's) or "all" labeled samples.
    """

    correct_prob: float = 0.9
    eps: float | None = None
    apply_to: Scope = "wrong"

    def __post_init__(self) -> None:
        for name in ("correct_prob", "eps"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"label_smoothing: {name} = {value}: expected 0 to 1")

    def label_probability(self, classes: int) -> float:
        return self.correct_prob if self.eps is None else label_probability(self.eps, classes)

    def __call__(self, log_probs: BatchClasses, label: Classes, teacher_class: Classes) -> BatchClasses:
        return smoothed_one_hot(log_probs, label, self.label_probability(log_probs.shape[1]))
