"""Losses, layers and teachers that are not finite at one sample, in one place of a step."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from preceptor import DistillationLoss
from preceptor.teachers.base import TeacherOutput
from preceptor.training import Student
from tests.training_helpers import untrained_teacher


class NanLoss:
    """Cross-entropy, but nan for one sample or several."""

    wants_index = True

    def __init__(self, *spoilt: int) -> None:
        self.spoilt = torch.tensor(spoilt)

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        return torch.where(torch.isin(index, self.spoilt), torch.nan, cross_entropy(logits, label, reduction="none"))


class NanGradient(NanLoss):
    """Cross-entropy plus the root of zero for the same samples: the loss is finite, its derivative is not."""

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        zero_or_one = torch.where(torch.isin(index, self.spoilt), logits[:, 0] * 0, 1).sqrt()
        return cross_entropy(logits, label, reduction="none") + zero_or_one


class Root(nn.Module):
    """Adds the root of zero: the gradient that comes back through it is nan."""

    def forward(self, values: Tensor) -> Tensor:
        return values + (values * 0).abs().sqrt()


class Overflowing(nn.Module):
    """Overflows wherever an activation is not zero; without parameters."""

    def forward(self, values: Tensor) -> Tensor:
        return values * 1e38 * 10


class NanTeacher:
    """A teacher one of whose logits is nan for one sample."""

    classes = 10

    def __init__(self, spoilt: int) -> None:
        self.spoilt, self.network_teacher = spoilt, untrained_teacher()

    def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        logits = self.network_teacher.outputs(inputs, index, view).logits.clone()
        logits[index == self.spoilt, 3] = torch.nan
        return TeacherOutput(logits)


def linear(*between: nn.Module, seed: int = 0) -> nn.Module:
    """A network without batch normalization, with something between its two layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *between, nn.Linear(16, 10))


def spoilt_student(label_loss: object, network: nn.Module, name: str = "spoilt") -> Student:
    return Student(name, network, DistillationLoss(label_loss=label_loss))
