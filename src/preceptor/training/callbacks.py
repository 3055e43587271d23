"""Callbacks of the trainer, and the training state that a checkpoint holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.errors import InputError

if TYPE_CHECKING:
    from preceptor.training.metrics import EpochRecord
    from preceptor.training.step import Step
    from preceptor.training.trainer import Trainer


class Callback:
    """Called by the trainer while it trains; every method does nothing unless overridden.

    Callbacks run in the order in which the trainer was given them. What one raises ends the training.
    """

    def on_train_start(self, trainer: "Trainer") -> None:
        """Before the first step; on a resume before the first that is left."""

    def on_epoch_start(self, trainer: "Trainer", epoch: int, first: int) -> None:
        """An epoch (counted from 0) begins, or goes on at step ``first``."""

    def on_step_end(self, trainer: "Trainer", step: "Step") -> None:
        """Every student has taken the step. Must not wait for the device in every step."""

    def on_log(self, trainer: "Trainer", losses: Mapping[str, Mapping[str, float]]) -> None:
        """A few times an epoch: mean losses of the epoch so far, by student and term."""

    def on_state(self, trainer: "Trainer") -> None:
        """The training state is about to be taken, perhaps in the middle of an epoch."""

    def on_epoch_end(self, trainer: "Trainer", records: "list[EpochRecord]") -> None:
        """An epoch is over; one record a student."""

    def on_entry(self, folder: Path, entry: Mapping[str, Any]) -> None:
        """A run has added a line to its ``metrics.jsonl``: an epoch, a failure, at last its result."""

    def on_train_end(self, trainer: "Trainer") -> None:
        """After the last epoch, or when an error ends the training."""


class EpochRecords(Callback):
    """Keeps the records of every epoch in ``epochs``: a list an epoch, one record a student."""

    def __init__(self) -> None:
        self.epochs: list[list[EpochRecord]] = []

    def on_epoch_end(self, trainer: "Trainer", records: "list[EpochRecord]") -> None:
        self.epochs.append(records)


@dataclass(frozen=True)
class TrainState:
    """The state of a training between two steps, from which it goes on in the same bits as if it had never stopped.

    Attributes:
        epoch: completed epochs.
        step: completed steps of the next one.
        students: state dictionaries by name. Their tensors are still in use: copy or write them before the next step.
    """

    epoch: int
    step: int
    students: dict[str, Any]


class StudentFailed(InputError):
    """A student cannot be trained on; the others of its trainer can.

    Args:
        message: what is wrong.
        student: its name.
    """

    def __init__(self, message: str, student: str) -> None:
        super().__init__(message)
        self.student = student

    def __reduce__(self) -> tuple[type["StudentFailed"], tuple[str, str]]:
        """As it comes back from another process."""
        return type(self), (str(self), self.student)


class IncompatibleCheckpoint(InputError):
    """A training state of another training."""
