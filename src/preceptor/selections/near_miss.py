"""Near misses: the samples on which the teacher is almost right or almost wrong, and those that it finds hard."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, Classes, PerSample, at_class
from preceptor.errors import InputError
from preceptor.registry import register


def rank_of(logits: BatchClasses, label: Classes) -> Int[Tensor, " batch"]:
    """The rank of a class, from 1; among equal logits the smaller class number comes first."""
    own = at_class(logits, label).unsqueeze(1)
    number = torch.arange(logits.shape[1], device=logits.device)
    before = (logits > own) | ((logits == own) & (number < label.unsqueeze(1)))
    return before.sum(dim=1) + 1


def lead(logits: BatchClasses) -> PerSample:
    """The probability of the first class less that of the second."""
    first, second = logits.softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return first - second


@register("selection", "near_miss", paper="cognitive-uncertainty distillation, ACL 2026 Findings, arXiv:2605.14752")
@dataclass(frozen=True)
class NearMiss:
    """Distill near misses and hard samples; leave out those on which the teacher is surely right.

    Near: the teacher is right by a lead of at most ``margin``, or has the label second or third. Hard: the label comes
    after that. Easy: all others. Unlabeled samples keep weight 1, since nothing but the teacher trains on them. The
    paper's teacher labels are out of fold, and its terms differ by kind of sample; here the kinds are weights alone.

    Args:
        near: weight of near misses, 0 or more. Default 1.
        hard: weight of hard samples, 0 or more. Default 1.
        easy: weight of easy samples, 0 or more. Default 0.
        margin: largest lead of a near miss, in probability. Default 0.05 (the paper's).

    Raises:
        InputError: a weight below zero, or a margin that is no probability.
    """

    near: float = 1.0
    hard: float = 1.0
    easy: float = 0.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        for name in ("near", "hard", "easy"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"near_miss: {name} = {getattr(self, name)}: expected a finite number, 0 or more")
        if not 0 <= self.margin <= 1:
            raise InputError(f"near_miss: margin = {self.margin}: expected a probability, 0 to 1")

    def __call__(self, context: BatchContext) -> PerSample:
        logits = context.teacher_logits
        rank = rank_of(logits, context.pseudo_label)
        near = ((rank == 1) & (lead(logits) <= self.margin)) | (rank == 2) | (rank == 3)
        weight = torch.full_like(logits[:, 0], self.easy)
        weight = torch.where(rank > 3, self.hard, torch.where(near, self.near, weight))
        return torch.where(context.labeled, weight, 1.0)
