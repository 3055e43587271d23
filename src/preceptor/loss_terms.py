"""One named loss of a distillation loss: on which samples, with what weight, how it is reduced."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from preceptor.component_types import FeatureLoss, GradientSource, LabelLoss, Loss, declares
from preceptor.context import UNLABELED, VERDICTS, BatchOutputs, Classes, PerSample, at_least_float32
from preceptor.errors import InputError, unknown_name
from preceptor.registry import check_slot

Reduction = Literal["batch", "where"]
"""Mean over the whole batch, or over the samples in ``where`` (0 when there are none)."""

LossType = Literal["loss", "label_loss", "feature_loss"]

GROUPS = ("right", "wrong", "labeled", "unlabeled", "trusted_label", "selected", "unselected", *VERDICTS)
TEACHER_GROUPS = frozenset(GROUPS) - {"labeled", "unlabeled", "trusted_label"}


Rescale = Callable[[Tensor], Tensor]
"""Of the student's logits, before a loss compares them; see :class:`~preceptor.component_types.Temperature`."""

Where = tuple[tuple[str, ...], ...]
"""Alternatives of conjunctions of groups."""


def parse_where(where: str | None) -> Where:
    """Read ``"selected & wrong | unselected"`` as alternatives of conjunctions of groups; None is every sample."""
    if where is None:
        return ((),)
    alternatives = tuple(tuple(name.strip() for name in part.split("&")) for part in where.split("|"))
    for name in (name for part in alternatives for name in part):
        if name not in GROUPS:
            raise unknown_name("group of samples in 'where'", name, GROUPS)
    return alternatives


def members(where: Where, groups: Mapping[str, Bool[Tensor, " batch"]]) -> Bool[Tensor, " batch"]:
    """The samples that a parsed ``where`` means, of groups by name."""
    chosen = torch.zeros_like(groups["labeled"])
    for names in where:
        part = torch.ones_like(chosen)
        for name in names:
            part = part & groups[name]
        chosen = chosen | part
    return chosen


class LossTerm(nn.Module):
    """One named loss: what is compared, on which samples, with what weight.

    Args:
        loss: a loss, a label loss or a feature loss.
        weight: factor on the reduced loss, finite.
        where: None for every sample it can apply to, or groups joined by ``&`` (and) and ``|`` (or): right, wrong (the
            teacher's prediction against the label), labeled, unlabeled, selected, unselected (selection weight above
            zero, or zero), wrong_teacher, wrong_label, ambiguous (the verdict of an audit), trusted_label (labeled, but
            for wrong_label where there is an audit).
        reduction: "batch" divides the weighted sum by the batch size, "where" by the number of samples in ``where``
            (the "subset" reduction of Label Revision's public re-implementation). A batch statistic has its own.
        since, until: shares of training done, 0 to 1, between which the term is active; ``until`` is excluded unless 1.
        warmup: share of training over which the weight rises linearly from zero, from ``since`` on, step by step; the
            public code of DKD, RLD and ReviewKD raises it by epochs, from an epoch's share on.

    Attributes:
        kind: the component type of ``loss``.

    Raises:
        InputError: an unknown group or reduction, a weight that is not finite, a loss of no known type, or an empty
            time span or one outside training, a warm-up outside 0 to 1.
    """

    def __init__(
        self,
        loss: Loss | LabelLoss | FeatureLoss,
        weight: float = 1.0,
        where: str | None = None,
        reduction: Reduction = "batch",
        since: float = 0.0,
        until: float = 1.0,
        warmup: float = 0.0,
    ) -> None:
        super().__init__()
        if not callable(loss) or hasattr(loss, "apply_to"):
            raise InputError(f"a term's loss is a {type(loss).__name__}; expected a loss, label_loss or feature_loss")
        check_slot(loss, "loss", "label_loss", "feature_loss")
        if not abs(weight) < float("inf"):
            raise InputError(f"weight = {weight}: must be finite")
        if reduction not in get_args(Reduction):
            raise unknown_name("reduction", reduction, get_args(Reduction))
        if not 0 <= since < until <= 1:
            raise InputError(
                f"since = {since}, until = {until}: needs 0 <= since < until <= 1, shares of training done"
            )
        if not 0 <= warmup <= 1:
            raise InputError(f"warmup = {warmup}: a share of training, from 0 to 1")
        self.loss = loss
        # Decided once: isinstance on a protocol is too slow for every step.
        self.kind: LossType = (
            "loss" if isinstance(loss, Loss) else "feature_loss" if isinstance(loss, FeatureLoss) else "label_loss"
        )
        self.weight = weight
        self.where = where
        self.reduction = reduction
        self.since = since
        self.until = until
        self.warmup = warmup
        self.groups = parse_where(where)
        self.wants_reservation = declares(loss, "wants_reservation")
        self.wants_index = declares(loss, "wants_index")
        self.wants_context = declares(loss, "wants_context")
        self.batch_statistic = declares(loss, "batch_statistic")
        if self.batch_statistic and reduction == "where":
            raise InputError(f"{type(loss).__name__} is a batch statistic: it has its own reduction, leave it out")

    @property
    def uses_teacher(self) -> bool:
        """Whether it cannot be computed without teacher outputs."""
        return self.kind != "label_loss" or any(TEACHER_GROUPS.intersection(part) for part in self.groups)

    @property
    def gradient_source(self) -> GradientSource:
        """What its gradient is of."""
        if self.kind == "label_loss":
            return "task"
        stated: GradientSource = getattr(self.loss, "gradient_source", "distillation")
        return stated

    @property
    def uses_selection(self) -> bool:
        """Whether ``where`` asks which samples are selected."""
        return any({"selected", "unselected"}.intersection(part) for part in self.groups)

    @property
    def uses_verdicts(self) -> bool:
        """Whether ``where`` asks for the verdict of an audit."""
        return any(set(VERDICTS).intersection(part) for part in self.groups)

    def is_active(self, progress: float) -> bool:
        """Whether it counts when this share of training is done."""
        return self.since <= progress < self.until or progress >= self.until == 1

    def warmed_up(self, loss: Float[Tensor, ""], progress: float) -> Float[Tensor, ""]:
        """The term's scalar at this time of its warm-up."""
        return loss * min(1.0, (progress - self.since) / self.warmup) if self.warmup else loss

    def outputs(self, student_logits: BatchOutputs, classes: int) -> Tensor:
        """The logits that the loss sees: the reservation would be one more class to one that does not ask for it."""
        return student_logits if self.wants_reservation else student_logits[:, :classes]

    def label_arguments(self, label: Classes, index: Tensor | None) -> tuple[Tensor, ...]:
        """What a label loss takes after the logits.

        Raises:
            InputError: it needs the samples' positions, and ``index`` is None.
        """
        label = torch.where(label == UNLABELED, 0, label)  # a class that every loss can look up; its weight is zero
        return label, *self.index_argument(index)

    def index_argument(self, index: Tensor | None) -> tuple[Tensor, ...]:
        """The samples' positions where the loss asks for them, else nothing.

        Raises:
            InputError: it does, and ``index`` is None.
        """
        if not self.wants_index:
            return ()
        if index is None:
            use = "compares two views of a sample" if self.kind == "loss" else "keeps a value for every sample"
            raise InputError(f"{type(self.loss).__name__} {use}: give index=")
        return (index,)

    def features(
        self, name: str, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The features that a feature loss compares, in the order of its layers; the teacher's detached.

        Raises:
            InputError: it has no layers, or some are not there; ``name`` is the term's.
        """
        layers = cast(FeatureLoss, self.loss).layers
        if not layers:
            raise InputError(f"term {name!r}: no layers to compare: give layers={{student path: teacher path}}")
        for who, features, wanted in (("student", student, layers), ("teacher", teacher, layers.values())):
            missing = [layer for layer in wanted if layer not in features]
            if missing:
                raise InputError(
                    f"term {name!r} compares layer {missing[0]!r} of the {who}: give {who}_features with it"
                )
        return (
            [at_least_float32(student[layer]) for layer in layers],
            [at_least_float32(teacher[layer].detach()) for layer in layers.values()],
        )

    def forward(
        self,
        student: Tensor | Sequence[Tensor],
        arguments: tuple[object, ...],
        weight: PerSample,
        groups: Mapping[str, Bool[Tensor, " batch"]],
        rescale: Rescale | None = None,
    ) -> Float[Tensor, ""]:
        """The term's scalar.

        Args:
            student: the student's logits [batch, outputs], or its features, a tensor [batch, ...] a layer.
            arguments: what the loss takes after them.
            weight: of each sample.
            groups: membership of each known group of ``GROUPS``.
            rescale: of the logits that a loss compares; label losses and feature losses go without.
        """
        weight, chosen = self.limited(weight, groups)
        loss: Any = self.loss  # the three protocols take different arguments; the caller passes the right ones
        # A derivative that overflows would reach a sample of weight zero as 0 * inf = NaN. It gets no path back.
        student = _without_gradient_where(weight == 0, student)
        if rescale is not None and self.kind == "loss":
            student = rescale(cast(Tensor, student))
        if self.batch_statistic:
            statistic: Tensor = loss(student, *arguments, weight)
            return self.weight * statistic
        return self.reduce(loss(student, *arguments), weight, chosen)

    def limited(
        self, weight: PerSample, groups: Mapping[str, Bool[Tensor, " batch"]]
    ) -> tuple[PerSample, Bool[Tensor, " batch"]]:
        """The weights, zero outside ``where``; and the samples in ``where``."""
        chosen = members(self.groups, groups)
        if self.where is None:
            return weight, chosen
        return torch.where(chosen, weight, 0), chosen

    def reduce(self, per_sample: PerSample, weight: PerSample, chosen: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The weighted mean of per-sample losses.

        A sample of weight zero is cut out, not multiplied by zero: its loss may be infinite.
        """
        total = (torch.where(weight != 0, per_sample, 0) * weight).sum()
        if self.reduction == "batch":
            return self.weight * total / per_sample.shape[0]
        return self.weight * total / chosen.sum().clamp(min=1)

    def extra_repr(self) -> str:
        shown = "" if isinstance(self.loss, nn.Module) else f"{self.loss}, "
        when = "" if (self.since, self.until) == (0, 1) else f", since={self.since}, until={self.until}"
        when += f", warmup={self.warmup}" if self.warmup else ""
        return f"{shown}weight={self.weight}, where={self.where!r}, reduction={self.reduction!r}{when}"


def _without_gradient_where(cut: Bool[Tensor, " batch"], student: Tensor | Sequence[Tensor]) -> Any:
    if isinstance(student, Tensor):
        return torch.where(cut.view(-1, *[1] * (student.dim() - 1)), student.detach(), student)
    return tuple(_without_gradient_where(cut, one) for one in student)
