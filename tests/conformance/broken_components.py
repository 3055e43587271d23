"""Corrections, temperatures and selections broken on purpose, each in one way, and unusual ones that conform."""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor import BatchContext
from preceptor.component_types import ComponentType, Scope
from preceptor.context import SelectionData, at_class, is_class
from preceptor.selections import RankedSelection


class CorrectionBase:
    """A correction that conforms; the classes below break it."""

    apply_to: Scope = "wrong"

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        return log_probs


class NotNormalized(CorrectionBase):
    """Adds to the label's probability without normalizing."""

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        return log_probs + 0.5 * is_class(log_probs, label)


class ReturnsProbabilities(CorrectionBase):
    """Forgets the logarithm."""

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        return log_probs.exp()


class PrefersClassZero(CorrectionBase):
    """Depends on the number of a class."""

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        return (log_probs + is_class(log_probs, torch.zeros_like(label))).log_softmax(dim=1)


class SwapsInPlace(CorrectionBase):
    """Changes the teacher's cached output in place."""

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        at_top, at_label = at_class(log_probs, teacher_class), at_class(log_probs, label)
        log_probs.scatter_(1, teacher_class.unsqueeze(1), at_label.unsqueeze(1))
        return log_probs.scatter_(1, label.unsqueeze(1), at_top.unsqueeze(1))


class AppliesToEverything(CorrectionBase):
    """A scope that does not exist, which would be read as "all"."""

    apply_to = "everything"  # type: ignore[assignment]


class LogOfZero(CorrectionBase):
    """One-hot, whose logarithm is not finite."""

    def __call__(self, log_probs: Tensor, label: Tensor, teacher_class: Tensor) -> Tensor:
        return is_class(log_probs, label).to(log_probs).log()


class RawUncertainty:
    """A temperature that falls below zero for an unsure student."""

    def __call__(self, context: BatchContext) -> Tensor:
        return 2 - 1 / context.student_logits.softmax(dim=1).amax(dim=1)


class TemperatureColumn:
    """A temperature per sample in the wrong shape."""

    def __call__(self, context: BatchContext) -> Tensor:
        return torch.ones_like(context.student_logits[:, :1])


class StandardizesAllOutputs:
    """Takes the statistics of a row over the extra output, too."""

    def __call__(self, context: BatchContext) -> float:
        return 2.0

    def rescale(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        return logits - logits.mean(dim=1, keepdim=True)


class FollowsTheStudent:
    """Conforms as long as the batch context is detached."""

    def __call__(self, context: BatchContext) -> Tensor:
        return 1 + context.student_logits.softmax(dim=1).amax(dim=1)


class NegativeWeights:
    """Weighs some samples below zero."""

    def __call__(self, context: BatchContext) -> Tensor:
        return 0.5 - context.teacher_logits.softmax(dim=1).amax(dim=1)


class BooleanWeights:
    """A mask in place of weights."""

    def __call__(self, context: BatchContext) -> Tensor:
        return context.right


class LooksUpEveryLabel:
    """Fails at the label -1."""

    def __call__(self, context: BatchContext) -> Tensor:
        return at_class(context.teacher_logits.softmax(dim=1), context.label)


class AssumesEqualOutputs:
    """Fails when the student may abstain."""

    def __call__(self, context: BatchContext) -> Tensor:
        return (-(context.student_logits - context.teacher_logits).square().mean(dim=1)).exp()


class Surest(RankedSelection):
    """A fitted selection that conforms; the classes below break it."""

    def score(self, selection_data: SelectionData) -> Tensor:
        return selection_data.teacher.train.logits.amax(dim=1)


class WeighsUnfitted(Surest):
    """Selects every sample before it is fitted."""

    def weight_at(self, index: Tensor) -> Tensor:
        return super().weight_at(index) if self.fitted else torch.ones(index.shape)


class ForgetsItsFit(Surest):
    """Leaves its weights out of the checkpoint."""

    def __init__(self, keep: float = 0.7, ascending: bool = False) -> None:
        super().__init__(keep, ascending)
        self.register_buffer("weight", self.weight, persistent=False)


class DrawsAnew(Surest):
    """Scores that differ at every fit."""

    def score(self, selection_data: SelectionData) -> Tensor:
        return torch.rand(len(selection_data.label))


class Certain:
    """A recalibration whose logits are not finite."""

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.where(logits == logits.amax(dim=1, keepdim=True), 0, -torch.inf).to(logits.dtype)


class LearnedTemperature(nn.Module):
    """One temperature, learned with the student."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(start).log())

    def forward(self, context: BatchContext) -> Tensor:
        return self.log_temperature.exp()


BROKEN_COMPONENTS: list[tuple[ComponentType, type[Any], str]] = [
    ("recalibration", Certain, "rows_are_logits"),
    ("correction", NotNormalized, "rows_are_log_probabilities"),
    ("correction", ReturnsProbabilities, "rows_are_log_probabilities"),
    ("correction", PrefersClassZero, "equivariant_to_relabeling"),
    ("correction", SwapsInPlace, "leaves_its_inputs_alone"),
    ("correction", AppliesToEverything, "touches_only_its_scope"),
    ("correction", LogOfZero, "finite_at_extreme_logits"),
    ("temperature", RawUncertainty, "positive_temperature"),
    ("temperature", TemperatureColumn, "positive_temperature"),
    ("temperature", StandardizesAllOutputs, "rescaling_keeps_the_order"),
    ("selection", NegativeWeights, "weights_per_sample"),
    ("selection", BooleanWeights, "weights_per_sample"),
    ("selection", LooksUpEveryLabel, "accepts_unlabeled_samples"),
    ("selection", AssumesEqualOutputs, "accepts_an_abstaining_student"),
    ("selection", WeighsUnfitted, "waits_until_it_is_fitted"),
    ("selection", ForgetsItsFit, "is_fitted_again_by_its_checkpoint"),
    ("selection", DrawsAnew, "is_fitted_to_the_same_bits"),
]
