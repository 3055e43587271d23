"""Things that are not finite at one sample, in one place of a step."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from preceptor import DistillationLoss
from preceptor.teachers.base import TeacherOutput
from preceptor.training import Student
from tests.training_helpers import untrained_teacher

POSITION = 0


class NanLoss:
    """Cross-entropy, but not a number for one sample."""

    wants_index = True

    def __init__(self, position: int) -> None:
        self.index_cpu = position

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        return torch.where(index == self.index_cpu, torch.nan, cross_entropy(logits, label, reduction="none"))


class NanGradient:
    """Cross-entropy plus the root of nothing for one sample: the loss is finite, its derivative is not."""

    wants_index = True

    def __init__(self, position: int) -> None:
        self.index_cpu = position

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        nothing = torch.where(index == self.index_cpu, logits[:, 0] * 0, 1).sqrt()
        return cross_entropy(logits, label, reduction="none") + nothing


class Fragile:
    """Cross-entropy that is not a number for logits above a limit, so that a lower learning rate helps."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        return torch.where(
            logits.abs().amax(dim=1) > self.limit, torch.nan, cross_entropy(logits, label, reduction="none")
        )


class Root(nn.Module):
    """Adds the root of nothing: what comes back through it is not a number."""

    def forward(self, values: Tensor) -> Tensor:
        return values + (values * 0).abs().sqrt()


class Overflowing(nn.Module):
    """Too large for its type where an image is bright, without any parameter."""

    def forward(self, values: Tensor) -> Tensor:
        return values * 1e38 * 10


class NanTeacher:
    """OutputKind nothing of use of one sample."""

    classes = 10

    def __init__(self, position: int) -> None:
        self.index_cpu, self.live = position, untrained_teacher()

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        logits = self.live.outputs(images, index, view).logits.clone()
        logits[index == self.index_cpu, 3] = torch.nan
        return TeacherOutput(logits)


def linear(*between: nn.Module, seed: int = 0) -> nn.Module:
    """A student without batch normalization, with something between its two layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *between, nn.Linear(16, 10))


def truth_pupil(truth: object, student: nn.Module, name: str = "spoilt") -> Student:
    return Student(name, student, DistillationLoss(label_loss=truth))
