"""A pupil in class: its optimizer, its schedule, its tally, and how it takes a step."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.training.batches import Batch
from preceptor.training.config import TrainingConfig
from preceptor.training.epoch_metrics import EpochMetrics, EpochRecord
from preceptor.training.state import fitting_state

MOST_RESERVED = 0.99
"""A student that reserves more than this, on the mean of an epoch, has collapsed: everything is declined."""


@dataclass
class Student:
    """One student and the chain that teaches it."""

    name: str
    student: nn.Module
    loss: DistillationLoss


@contextmanager
def part(name: str) -> Iterator[None]:
    """Names a part of the step for a profiler, and costs next to nothing when none listens."""
    if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        with torch.profiler.record_function(name):
            yield
    else:
        yield


class Seat:
    """A pupil in class.

    Args:
        pupil: trained in place; moved to the device.
        protocol: of the training.
        device: where it learns.
        samples: of the training set.

    Attributes:
        run: how the student is run; itself, unless something quicker is put in its place.
        outputs: of the student; None before its first step.
        lowered: how often its learning rate was lowered.
    """

    def __init__(self, pupil: Student, training: TrainingConfig, device: torch.device, samples: int) -> None:
        self.pupil, self.device = pupil, device
        pupil.student.to(device).train()
        pupil.loss.to(device)
        pupil.loss.expect_samples(samples)
        self.run: Callable[[Tensor], Tensor] = pupil.student
        self.optimizer = training.optimizer([pupil.student, pupil.loss])
        self.scheduler = training.scheduler(self.optimizer)
        self.tally = EpochMetrics(pupil.loss.abstains)
        self.lowered = 0
        self.outputs: int | None = None
        self._masks = _not_finite(dict(pupil.student.named_buffers()))

    def begin_epoch(self, new: bool = True) -> None:
        """Forget what the tally holds, unless the epoch had begun already."""
        self.pupil.student.train()
        if new:
            self.tally = EpochMetrics(self.pupil.loss.abstains)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training follows from, beside the data and the settings."""
        return {
            "student": self.pupil.student.state_dict(),
            "chain": self.pupil.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "tally": self.tally.state(),
            "lowered": self.lowered,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state of a pupil of the same kind.

        Raises:
            ValueError, LookupError, RuntimeError: it is of another kind.
        """
        state = self.fitting(state)
        self.pupil.student.load_state_dict(state["student"])
        self.pupil.loss.load_state_dict(state["chain"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.tally.resume(state["tally"])
        self.lowered = state["lowered"]

    def fitting(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Such a state, perhaps of another version, as :meth:`resume` takes it.

        Raises:
            ValueError, LookupError: it is of another kind.
        """
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return fitting_state(state, self.state(), parameters)

    def learn(self, logits: Tensor, teacher_logits: Tensor | None, batch: Batch, progress: float) -> None:
        """Take one step from the student's logits."""
        self.outputs = logits.shape[1]
        with part("loss"):
            terms = self.pupil.loss(logits, teacher_logits, batch.label, index=batch.index, progress=progress)
        with part("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            terms.total.backward()
        with part("optimizer"):
            self.optimizer.step()
        self.tally.add(terms, logits, batch.label, gambling=self.pupil.loss.trains_reservation(progress))

    def lower(self, factor: float) -> None:
        """Multiply the learning rate from here on; both schedules go on from the rate that they find."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
        self.lowered += 1

    @torch.no_grad()
    def sound(self) -> Bool[Tensor, ""]:
        """Whether its losses of the epoch so far and all that it has learned are finite. It stays on the device.

        What was not finite once is not later: so this may be asked long after the step that spoilt it.
        """
        values = [*self.tally.losses.values(), *self._learned().values()]
        return torch.nn.utils.get_total_norm(values, torch.inf).isfinite()

    def wild(self) -> list[str]:
        """The names of what it has learned that is not finite; waits for the device."""
        return _not_finite(self._learned())

    def _learned(self) -> dict[str, Tensor]:
        """Parameters and running statistics; not what the student keeps as a mask, which may hold infinities."""
        student, loss = self.pupil.student, self.pupil.loss
        statistics = {
            name: buffer
            for name, buffer in student.named_buffers()
            if buffer.is_floating_point() and name not in self._masks
        }
        learned = {**dict(student.named_parameters()), **statistics, **dict(loss.named_parameters(prefix="chain"))}
        return {name: tensor for name, tensor in learned.items() if tensor.numel()}

    def end_epoch(self, epoch: int, images_per_second: float, seconds: float) -> EpochRecord:
        """The record of the epoch, and a step of the schedule.

        Raises:
            InputError: a student that declines nearly everything.
        """
        losses = self.tally.mean_losses()
        reservation = self.tally.mean_reservation()
        _check_not_collapsed(self.pupil.name, epoch, reservation)
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.scheduler.step()
        return EpochRecord(
            pupil=self.pupil.name,
            epoch=epoch,
            learning_rate=rate,
            total=losses.pop("total"),
            losses=losses,
            train_accuracy=self.tally.accuracy(),
            corrected=self.tally.share("corrected"),
            clamped=self.tally.share("clamped"),
            temperature=self.tally.mean_temperature(),
            reservation=reservation,
            images_per_second=images_per_second,
            seconds=seconds,
            skipped=self.tally.skipped,
            lowered=self.lowered,
        )


def check_times(pupils: Sequence[Student], steps: int) -> None:
    """Refuse a term in whose time no step begins: it would teach nothing, and nobody would notice.

    Raises:
        InputError: there is one; it is named.
    """
    for pupil in pupils:
        for name, term in pupil.loss.terms.items():
            first = math.ceil(term.since * steps)
            if not any(term.is_active(step / steps) for step in (first - 1, first, first + 1) if 0 <= step < steps):
                raise InputError(
                    f"pupil {pupil.name!r}: term {name!r} counts from {term.since:g} to {term.until:g} of training, "
                    f"but none of the {steps} steps begins then: train longer, or give the term more time"
                )


def _check_not_collapsed(pupil: str, epoch: int, reservation: float | None) -> None:
    if reservation is not None and reservation > MOST_RESERVED:
        raise InputError(
            f"pupil {pupil!r}: in epoch {epoch} it reserves {reservation:.1%} of its bets, so it declines to answer "
            "nearly everything: give a larger payoff (above 1 / the teacher's usual confidence, below the number of "
            "classes), a lower temperature, or a longer warm-up on the labels"
        )


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those that are not finite; one transfer from the device."""
    if not tensors:
        return []
    finite = torch.stack([tensor.detach().isfinite().all() for tensor in tensors.values()]).tolist()
    return [name for name, fine in zip(tensors, finite, strict=True) if not fine]
