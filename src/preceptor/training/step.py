"""One step: what all pupils are shown and told in it, and how a pupil takes it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.loss import DistillationLoss
from preceptor.training.batches import Batch
from preceptor.training.student import Seat, part


@dataclass(frozen=True)
class Step:
    """What every pupil is shown and told in one step. All of it follows from (seed, epoch, number) and the data.

    Attributes:
        epoch: counted from 0.
        number: in the epoch, counted from 0.
        progress: share of training done when it begins.
        draws: seed of whatever a student draws in it (dropout).
        batch: as it is shown.
        images: the same normalized, in the layout that is fast.
        signal: the teacher's logits; None when nobody listens.
    """

    epoch: int
    number: int
    progress: float
    draws: int
    batch: Batch
    images: Float[Tensor, "batch channels height width"]
    signal: Float[Tensor, "batch classes"] | None

    def heard_by(self, loss: DistillationLoss) -> Float[Tensor, "batch classes"] | None:
        """The teacher's logits, for a chain that listens now."""
        return self.signal if loss.uses_teacher_at(self.progress) else None


def draws_at(seed: int, epoch: int, number: int) -> int:
    """The seed of what the students draw in a step."""
    return ((seed * 1_000_003 + epoch) * 1_000_003 + number) % 2**63


def logits_in(
    step: Step, run: Callable[[Tensor], Tensor], precision: Literal["fp32", "bf16"]
) -> Float[Tensor, "batch outputs"]:
    """What a student says in a step; draws from torch's global generators."""
    device = step.images.device
    _reseed(step.draws, device)
    with part("student"), _autocast(device, precision):
        return run(step.images)


def take(step: Step, seat: Seat, precision: Literal["fp32", "bf16"]) -> None:
    """One pupil takes the step."""
    logits = logits_in(step, seat.run, precision)
    seat.learn(logits, step.heard_by(seat.pupil.loss), step.batch, step.progress)


def _autocast(device: torch.device, precision: Literal["fp32", "bf16"]) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _reseed(seed: int, device: torch.device) -> None:
    """Like ``torch.manual_seed``, which takes a hundred times as long: too long for every pupil in every step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
