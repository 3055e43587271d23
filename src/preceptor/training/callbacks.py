"""What wants to know how training goes, for example a progress bar."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from preceptor.errors import InputError


class Callback(Protocol):
    """Told about training while it happens. Nothing it is handed lives on a device."""

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Training begins: so many epochs of so many steps over so many images."""

    def step(self, epoch: int, images: int) -> None:
        """A step over so many images has been issued in this epoch (counted from 1)."""

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """The mean losses of a pupil so far in this epoch; a few times an epoch."""


class Silent:
    """A watcher that does nothing."""

    def begin(self, epochs: int, steps: int, images: int) -> None:
        """Nothing."""

    def step(self, epoch: int, images: int) -> None:
        """Nothing."""

    def losses(self, pupil: str, losses: dict[str, float]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class TrainState:
    """A moment of a training between two steps, from which the same bits follow as if it had never stopped.

    Attributes:
        epoch: epochs that are done.
        step: steps that are done of the next one.
        pupils: by name, what they have become; state dictionaries of torch that are still in use: write them down, or
            copy them, before the next step.
    """

    epoch: int
    step: int
    pupils: dict[str, Any]


class IncompatibleCheckpoint(InputError):
    """A training cannot go on from a moment, which is of another one."""


class CheckpointHook(Protocol):
    """Asked after every step whether to keep the moment; what it raises ends the training."""

    def after_step(self, moment: Callable[[], TrainState]) -> None:
        """A step has been issued, and if it was an epoch's last, the epoch's records have been taken.

        ``moment`` makes the moment, and waits for the device only when what it holds is looked at.
        """
