"""Long-tailed distillation: the teacher's mass balanced between frequent and rare classes."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import UNLABELED, BatchClasses, Classes, PerSample, SelectionData, Temperatures, column, shares
from preceptor.errors import InputError, require_not_negative
from preceptor.fitting import FittedComponent
from preceptor.losses.divergences import divergence_among
from preceptor.registry import register

LEAST = -1e30
"""In place of the logarithm of a mean that is 0."""


def groups_by_frequency(label: Int[Tensor, " n"], classes: int, groups: int) -> Int[Tensor, " classes"]:
    """The group of each class, 0 that of the most frequent ones, each of as many classes as can be; ties by number."""
    counts = torch.bincount(label[label != UNLABELED], minlength=classes)[:classes]
    group = torch.empty_like(counts)
    for number, members in enumerate(counts.argsort(descending=True, stable=True).tensor_split(groups)):
        group[members] = number
    return group


def group_log_masses(
    log_probs: BatchClasses, group: Int[Tensor, " classes"], groups: int
) -> Float[Tensor, "batch groups"]:
    """``ln p_G``: the logarithm of the probability of each group of classes."""
    least = torch.finfo(log_probs.dtype).min
    return torch.stack([log_probs.masked_fill(group != g, least).logsumexp(dim=1) for g in range(groups)], dim=1)


def balanced_log_masses(log_masses: Float[Tensor, "batch groups"], weight: PerSample) -> Float[Tensor, "batch groups"]:
    """``p_G / mean_i p_G`` over the weighted batch, renormalized: the groups have about equal mass in the mean."""
    log_shares = shares(weight).clamp(min=torch.finfo(weight.dtype).tiny).log().unsqueeze(1)
    mean = torch.where(weight.unsqueeze(1) > 0, log_masses + log_shares, -torch.inf).logsumexp(dim=0).clamp(min=LEAST)
    return (log_masses - mean).log_softmax(dim=1)


@register(
    "loss",
    "ltkd",
    paper="Kim, 2026, arXiv:2506.18496 (LTKD); reconstruction: groups, balance and weights from its abstract",
)
class LTKD(FittedComponent):
    """Divergence between groups of classes, the teacher's mass balanced, and within each group, all groups alike.

    Plain distillation is ``KL(p_G || q_G) + sum_G p_G KL(p~_G || q~_G)``, with the groups' masses ``p_G`` and the
    distributions ``p~_G`` within them. A teacher of long-tailed data puts too much mass on frequent classes, and by it
    the second part is theirs, too. Here ``T^2 (between KL(p'_G || q_G) + within mean_G KL(p~_G || q~_G))``, where
    ``p'_G`` is ``p_G`` divided by its mean over the batch, renormalized. The publication balances the mass over a batch
    and weighs the groups equally; how exactly was not readable, so this is a reconstruction. It is a statistic of the
    batch.

    Args:
        between: weight of the divergence between groups, 0 or more. Default 1, this project's choice.
        within: weight of that within them, 0 or more. Default 1, this project's choice.
        groups: number of groups, each of as many classes, by how frequent these are among the training labels. Default
            3: frequent, medium and rare, as in the publication; equal in size is this project's choice.

    Raises:
        InputError: a weight below zero or not finite, fewer than two groups, or, before training, fewer classes.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("group",)
    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = False  # the balanced masses are others than the teacher's
    batch_statistic: ClassVar[bool] = True

    group: Tensor

    def __init__(self, between: float = 1.0, within: float = 1.0, groups: int = 3) -> None:
        super().__init__()
        require_not_negative("ltkd", between=between, within=within)
        if groups < 2:
            raise InputError(f"ltkd: groups = {groups}: expected 2 or more")
        self.between, self.within, self.groups = between, within, groups
        self.group = self.group.long()

    def check_classes(self, classes: int) -> None:
        """Refuse fewer classes than groups."""
        if classes < self.groups:
            raise InputError(f"ltkd: {self.groups} groups of {classes} classes: choose fewer groups")

    def fit(self, selection_data: SelectionData) -> None:
        """Count the labels of the training samples."""
        classes = selection_data.teacher.train.logits.shape[1]
        self.check_classes(classes)
        self.store(group=groups_by_frequency(selection_data.label, classes, self.groups))

    def forward(
        self,
        student_logits: BatchClasses,
        target: BatchClasses,
        temperature: Temperatures,
        label: Classes,
        weight: PerSample,
    ) -> Float[Tensor, ""]:
        """The weighted mean over the batch; `InputError` before the fit."""
        self.check_fitted()
        student = student_logits / column(temperature)
        masses = balanced_log_masses(group_log_masses(target, self.group, self.groups), weight)
        own = group_log_masses(student.log_softmax(dim=1), self.group, self.groups)
        between = (masses.exp() * (masses - own)).sum(dim=1)
        kept = [(self.group == number).expand_as(target) for number in range(self.groups)]
        within = torch.stack([divergence_among(student, target, classes) for classes in kept]).mean(dim=0)
        losses = (self.between * between + self.within * within) * temperature**2
        return (torch.where(weight > 0, losses, 0) * shares(weight)).sum()
