"""Losses and label losses broken on purpose, each in one way, and unusual ones that conform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from preceptor.component_types import ComponentType, TargetSpace
from preceptor.context import column
from preceptor.feature_losses.layers import LayerPairs


class LossBase:
    """A loss that conforms; the classes below break it."""

    target_space: ClassVar[TargetSpace] = "log_probs"
    zero_at_teacher: ClassVar[bool] = False

    def __call__(self, student: Tensor, target: Tensor, temperature: float | Tensor, label: Tensor) -> Tensor:
        return self.loss((student / column(temperature)).log_softmax(dim=1), target)

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        """One loss a sample."""
        return (log_p.exp() * (log_p - log_q)).sum(dim=1)


class ReducesTheBatch(LossBase):
    """The mean, so that no weight can reach a sample."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, log_p).mean()


class MixesSamples(LossBase):
    """The batch's mean, written once a sample."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        per_sample = super().loss(log_q, log_p)
        return per_sample.mean().expand_as(per_sample)


class ComputesInDouble(LossBase):
    """Always float64."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q.double(), log_p.double())


class ComputesInHalf(LossBase):
    """Overflows float16."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, log_p) + (log_q.half() * 6e4).sum(dim=1).float() * 1e-6


class WeighsTheLabel(LossBase):
    """Counts twice where the label is the first class, and does not declare that it looks at it."""

    def __call__(self, student: Tensor, target: Tensor, temperature: float | Tensor, label: Tensor) -> Tensor:
        return super().__call__(student, target, temperature, label) * (1 + (label == 0))


class CallsItem(LossBase):
    """Waits for the device."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, log_p) * log_q.abs().max().item()


class BranchesOnATensor(LossBase):
    """Waits for the device and breaks the graph."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        per_sample = super().loss(log_q, log_p)
        return per_sample * 2 if per_sample.sum() > 1 else per_sample


class GathersByMask(LossBase):
    """A shape that depends on the data."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        per_sample = super().loss(log_q, log_p)
        return per_sample + per_sample[per_sample > 1].sum() * 0


class AssignsByMask(LossBase):
    """A shape that depends on the data, in disguise."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        per_sample = super().loss(log_q, log_p)
        copy = torch.zeros_like(per_sample)
        copy[per_sample > -1] = per_sample
        return copy


class BreaksTheGraph(LossBase):
    """Leaves the compiled graph."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().loss(log_q, log_p)


class GoesThroughNumPy(LossBase):
    """Leaves the device."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, torch.from_numpy(log_p.numpy()))


class MakesConstantsOnTheCPU(LossBase):
    """Leaves the device."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, log_p) * torch.ones(len(log_q))


class WeighsByRow(LossBase):
    """Later samples weigh more."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, log_p) * torch.arange(len(log_q), device=log_q.device)


class LeavesLogSpace(LossBase):
    """The logarithm of an underflowed softmax."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q.exp().log(), log_p)


class RootOfZero(LossBase):
    """A norm, whose derivative at zero does not exist."""

    zero_at_teacher = True

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return (log_q - log_p).square().sum(dim=1).sqrt()


class NotZeroAtTheTeacher(LossBase):
    """Cross-entropy passed off as a divergence."""

    zero_at_teacher = True

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return -(log_p.exp() * log_q).sum(dim=1)


class DetachesHalfItsGradient(LossBase):
    """The value is right, the gradient is not."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        per_sample = super().loss(log_q, log_p)
        return per_sample * per_sample.detach()


class DetachesItsGradient(LossBase):
    """Gives no gradient."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q.detach(), log_p)


class WritesIntoItsTarget(LossBase):
    """Changes a cached tensor in place."""

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        return super().loss(log_q, log_p.sub_(1e-3))


class RemembersInSecret(LossBase):
    """State that no checkpoint sees."""

    def __init__(self) -> None:
        self.calls = 0

    def loss(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        self.calls += 1
        return super().loss(log_q, log_p) * self.calls


class OneTemperatureOnly(LossBase):
    """Takes the mean of per-sample temperatures, squared."""

    def __call__(self, student: Tensor, target: Tensor, temperature: float | Tensor, label: Tensor) -> Tensor:
        scale = temperature.sum() if isinstance(temperature, Tensor) else temperature
        return self.loss((student / scale).log_softmax(dim=1), target)


class LeavesTheReservationAlone(LossBase):
    """Wants a reservation and gives it no gradient."""

    wants_reservation: ClassVar[bool] = True

    def __call__(self, student: Tensor, target: Tensor, temperature: float | Tensor, label: Tensor) -> Tensor:
        return super().__call__(student[:, :-1], target, temperature, label)


class MisspelsItsTarget(LossBase):
    """Names a target space that does not exist."""

    target_space = "logit"  # type: ignore[assignment]


@dataclass(frozen=True)
class DefaultOfTheWrongType(LossBase):
    """A default that no recipe could give."""

    power: int = 0.5  # type: ignore[assignment]


class MeanCrossEntropy:
    """Gives every sample the mean over the batch, the unlabeled included."""

    def __call__(self, student: Tensor, label: Tensor) -> Tensor:
        per_sample = nn.functional.cross_entropy(student, label, reduction="none")
        return per_sample.mean().expand_as(per_sample)


class ForgetsItsWeights(LayerPairs):
    """A statistic of a batch of features that counts every sample."""

    batch_statistic: ClassVar[bool] = True

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], weight: Tensor) -> Tensor:
        return sum((one.mean() - other.mean()).square() for one, other in zip(student, teacher, strict=True))


class MovingTarget(nn.Module):
    """A label loss with a running mean of its values as state."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(()))

    def forward(self, student: Tensor, label: Tensor) -> Tensor:
        per_sample = nn.functional.cross_entropy(student, label, reduction="none")
        before = self.mean.clone()
        self.mean.lerp_(per_sample.detach().mean(), 0.1)
        return per_sample * (1 + before)


BROKEN_LOSSES: list[tuple[ComponentType, type[Any], str]] = [
    ("loss", ReducesTheBatch, "one_loss_a_sample"),
    ("loss", ComputesInDouble, "one_loss_a_sample"),
    ("loss", MixesSamples, "weight_zero_is_gradient_zero"),
    ("loss", ComputesInHalf, "finite_in_half_precision"),
    ("loss", WeighsTheLabel, "depends_on_the_label_as_declared"),
    ("loss", CallsItem, "no_host_sync"),
    ("loss", BranchesOnATensor, "no_host_sync"),
    ("loss", GathersByMask, "no_host_sync"),
    ("loss", AssignsByMask, "no_host_sync"),
    ("loss", BranchesOnATensor, "compiles_without_graph_breaks"),
    ("loss", BreaksTheGraph, "compiles_without_graph_breaks"),
    ("loss", GoesThroughNumPy, "follows_the_device"),
    ("loss", MakesConstantsOnTheCPU, "follows_the_device"),
    ("loss", WeighsByRow, "equivariant_to_batch_order"),
    ("loss", LeavesLogSpace, "finite_at_extreme_logits"),
    ("loss", RootOfZero, "zero_at_the_teacher"),
    ("loss", NotZeroAtTheTeacher, "zero_at_the_teacher"),
    ("loss", DetachesHalfItsGradient, "gradient_is_right"),
    ("loss", DetachesItsGradient, "gradient_is_right"),
    ("loss", WritesIntoItsTarget, "leaves_its_inputs_alone"),
    ("loss", RemembersInSecret, "keeps_its_state_in_the_checkpoint"),
    ("loss", OneTemperatureOnly, "takes_a_temperature_per_sample"),
    ("loss", LeavesTheReservationAlone, "accepts_an_abstaining_student"),
    ("loss", MisspelsItsTarget, "declares_what_it_needs"),
    ("loss", DefaultOfTheWrongType, "builds_from_a_recipe"),
    ("feature_loss", ForgetsItsWeights, "weight_zero_is_gradient_zero"),
    ("label_loss", MeanCrossEntropy, "skips_unlabeled_samples"),
    ("label_loss", MeanCrossEntropy, "weight_zero_is_gradient_zero"),
]
