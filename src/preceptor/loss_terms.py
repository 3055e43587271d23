"""LossTerm: one named loss of a chain, for which samples, with what weight, and how it is reduced."""

from collections.abc import Mapping
from typing import Literal, cast, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from preceptor.errors import InputError, unknown_name
from preceptor.registry import LabelLoss, Loss, check_slot, is_batch_statistic, wants_index, wants_reservation

Reduction = Literal["batch", "where"]
"""Mean over the whole batch, or over the samples that ``where`` leaves (0 when it leaves none)."""

GROUPS = ("right", "wrong", "labeled", "unlabeled", "selected", "unselected")
TEACHER_GROUPS = frozenset({"right", "wrong", "selected", "unselected"})


def parse_where(where: str | None) -> tuple[tuple[str, ...], ...]:
    """Read ``"selected & wrong | unselected"`` as alternatives of conjunctions of groups; None is everything."""
    if where is None:
        return ((),)
    alternatives = tuple(tuple(name.strip() for name in part.split("&")) for part in where.split("|"))
    for name in (name for part in alternatives for name in part):
        if name not in GROUPS:
            raise unknown_name("group of samples in 'where'", name, GROUPS)
    return alternatives


class LossTerm(nn.Module):
    """One named loss of a chain: a match or a ground truth, for which samples and with what weight.

    Args:
        loss: a match or a ground-truth component.
        weight: factor on the reduced loss, finite.
        where: None for every sample it can apply to, or groups joined by ``&`` (and) and ``|`` (or):
            right, wrong (the teacher's prediction against the label), labeled, unlabeled, selected,
            unselected (selection weight above zero, or zero).
        reduction: "batch" divides the weighted sum by the batch size, "where" by the number of samples left
            by ``where`` (the "subset" reduction of Label Revision's public re-implementation). A loss that is a
            statistic of the batch has its own.
        since, until: the shares of training done, 0 to 1, between which it counts; for warm-up. The first belongs to
            it, the second does not, unless that is 1.

    Raises:
        InputError: an unknown group or reduction, a weight that is not finite, a loss of no known kind, or a time
            that is empty or outside training.
    """

    def __init__(
        self,
        loss: Loss | LabelLoss,
        weight: float = 1.0,
        where: str | None = None,
        reduction: Reduction = "batch",
        since: float = 0.0,
        until: float = 1.0,
    ) -> None:
        super().__init__()
        if not callable(loss) or hasattr(loss, "apply_to"):
            raise InputError(f"a term's loss must be a match or a ground-truth component, not {type(loss).__name__}")
        check_slot(loss, "loss", "label_loss")
        if not abs(weight) < float("inf"):
            raise InputError(f"weight = {weight}: must be finite")
        if reduction not in get_args(Reduction):
            raise unknown_name("reduction", reduction, get_args(Reduction))
        if not 0 <= since < until <= 1:
            raise InputError(
                f"since = {since}, until = {until}: needs 0 <= since < until <= 1, shares of training done"
            )
        self.loss = loss
        self.weight = weight
        self.where = where
        self.reduction = reduction
        self.since = since
        self.until = until
        self.groups = parse_where(where)
        self.wants_reservation = wants_reservation(loss)
        self.wants_index = wants_index(loss)
        self.batch_statistic = is_batch_statistic(loss)
        if self.batch_statistic and reduction == "where":
            raise InputError(f"{type(loss).__name__} is a statistic of the batch: leave its reduction alone")
        self._is_match = isinstance(loss, Loss)  # asked every step, and slow to answer for a protocol

    @property
    def teacher_loss(self) -> Loss | None:
        """The loss when it compares the student with the teacher, None when it is a ground truth."""
        return cast(Loss, self.loss) if self._is_match else None

    @property
    def uses_teacher(self) -> bool:
        """Whether it cannot be computed without a teacher signal."""
        return self.teacher_loss is not None or any(TEACHER_GROUPS.intersection(part) for part in self.groups)

    def is_active(self, progress: float) -> bool:
        """Whether it counts when so much of training is done."""
        return self.since <= progress < self.until or progress >= self.until == 1

    @property
    def needs_selection(self) -> bool:
        """Whether it asks which samples are selected."""
        return any({"selected", "unselected"}.intersection(part) for part in self.groups)

    def chosen(self, groups: Mapping[str, Bool[Tensor, " batch"]]) -> Bool[Tensor, " batch"]:
        """The samples that ``where`` leaves."""
        if self.where is None:
            return torch.ones_like(groups["labeled"])
        chosen = torch.zeros_like(groups["labeled"])
        for names in self.groups:
            part = torch.ones_like(chosen)
            for name in names:
                part = part & groups[name]
            chosen = chosen | part
        return chosen

    def forward(
        self,
        student: Float[Tensor, "batch outputs"],
        arguments: tuple[object, ...],
        weight: Float[Tensor, " batch"],
        groups: Mapping[str, Bool[Tensor, " batch"]],
    ) -> Float[Tensor, ""]:
        """The term's scalar.

        Args:
            student: the student's logits.
            arguments: what the loss wants after them.
            weight: of each sample.
            groups: which samples belong to each of ``GROUPS`` that is known.
        """
        weight, chosen = self.limited(weight, groups)
        # A derivative that overflows would reach a sample of weight zero as 0 times infinity, NaN: it gets no path.
        logits = torch.where((weight != 0).unsqueeze(1), student, student.detach())
        if self.batch_statistic:
            return self.weight * self.loss(logits, *arguments, weight)  # type: ignore[call-arg, arg-type]
        return self.reduce(self.loss(logits, *arguments), weight, chosen)  # type: ignore[arg-type]

    def limited(
        self, weight: Float[Tensor, " batch"], groups: Mapping[str, Bool[Tensor, " batch"]]
    ) -> tuple[Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """The weights, zero where ``where`` leaves a sample out; and which samples it leaves in."""
        chosen = self.chosen(groups)
        return (weight if self.where is None else torch.where(chosen, weight, 0)), chosen

    def reduce(
        self, per_sample: Float[Tensor, " batch"], weight: Float[Tensor, " batch"], chosen: Bool[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """Weigh the per-sample losses and reduce them to the term's scalar.

        A sample of weight zero is cut out by ``where`` rather than multiplied by zero, so that it counts for nothing
        even where its loss is not finite.
        """
        total = (torch.where(weight != 0, per_sample, 0) * weight).sum()
        if self.reduction == "batch":
            return self.weight * total / per_sample.shape[0]
        return self.weight * total / chosen.sum().clamp(min=1)

    def extra_repr(self) -> str:
        """What ``repr`` shows of a term besides its loss."""
        shown = "" if isinstance(self.loss, nn.Module) else f"{self.loss}, "
        when = "" if (self.since, self.until) == (0, 1) else f", since={self.since}, until={self.until}"
        return f"{shown}weight={self.weight}, where={self.where!r}, reduction={self.reduction!r}{when}"
