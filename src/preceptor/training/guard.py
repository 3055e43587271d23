"""The non-finite guard: a step with a non-finite loss, gradient or weight is found, reported, and dealt with.

While all is finite it costs one question to the device a few times an epoch and a copy of the state now and then.
Non-finite values stay non-finite, so a check every so often misses nothing. When it fails, training goes back to the
last finite copy and takes the steps since then again, one by one. Everything random in a step follows from (seed,
epoch, step), so on the same hardware these are the same steps, bit for bit.
"""

import warnings
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from preceptor.training.callbacks import Callback
from preceptor.training.distributed import alone
from preceptor.training.failure import FailureContext, FailureReport, FaultLocation, NotFinite, OnNonfinite, copied
from preceptor.training.locate import locate_non_finite

if TYPE_CHECKING:
    from preceptor.training.step import Step
    from preceptor.training.student import StudentTrainer
    from preceptor.training.trainer import Trainer

STEPS_BETWEEN_COPIES = 32
"""Least number of steps between two copies of the state within an epoch."""

ON_DEVICE = 2**28
"""Copies of networks of up to this many bytes stay on the device; larger ones go to the CPU's memory."""

MOST_SKIPPED = 0.05
"""Share of an epoch's steps that may be skipped; at least one, unless the epoch has no other."""


class NonFiniteGuard(Callback):
    """Deals with steps that are not finite, student by student; the other students are not touched.

    Args:
        policy: "raise" (default) ends the training. "skip" leaves the step out: weights, optimizer and running
            statistics are as before it, and the epoch's record counts it; beyond 5 % of an epoch's steps it raises.
        on_failure: called with a report of every such step, before anything is done about it.

    Raises:
        NotFinite: from training, see ``policy``.
    """

    def __init__(
        self, policy: OnNonfinite = "raise", on_failure: Callable[[FailureReport], None] | None = None
    ) -> None:
        self.policy, self.on_failure = policy, on_failure
        self._epoch = 0
        self._checked = 0
        self._done = 0
        self._copies: dict[str, tuple[int, Any]] = {}

    def on_epoch_start(self, trainer: "Trainer", epoch: int, first: int) -> None:
        self._epoch, self._checked, self._done = epoch, first, first
        for student in trainer.students:
            self._keep(student, first)

    def on_step_end(self, trainer: "Trainer", step: "Step") -> None:
        self._done = step.number + 1
        if trainer.logs_after(step) or self._done == step.steps:
            self.on_state(trainer)
            for student in trainer.students:
                if self._done - self._copies[student.name][0] >= STEPS_BETWEEN_COPIES:
                    self._keep(student, self._done)

    def on_state(self, trainer: "Trainer") -> None:
        """Check: a checkpoint must hold finite states."""
        if self._done == self._checked:
            return
        finite = torch.stack([student.is_finite() for student in trainer.students]).tolist()
        for student, is_finite in zip(trainer.students, finite, strict=True):
            if not is_finite:
                self._retake(trainer, student)
        self._checked = self._done

    def _retake(self, trainer: "Trainer", student: "StudentTrainer") -> None:
        """Take the steps since the last copy again, each time without what was not finite."""
        start, state = self._copies[student.name]
        student.load_state_dict(copied(state, student.device))
        steps = islice(trainer.steps_from(self._epoch, start), self._done - start)
        finite = [self._take(trainer, student, step) for step in steps]
        if all(finite):
            warnings.warn(
                f"student {student.name!r} was not finite after step {self._done}, but is when the steps since {start} "
                "are taken again: this device does not give the same bits each time; training goes on from these",
                stacklevel=2,
            )

    def _take(self, trainer: "Trainer", student: "StudentTrainer", step: "Step") -> bool:
        """Take a step. If it is not finite, report it, apply the policy and return False."""
        before = copied(student.state_dict())
        student.train_step(step)
        if bool(student.is_finite()):
            return True
        limit = self._limit_reached(before, step.steps)
        action: OnNonfinite = "raise" if limit else self.policy
        context = FailureContext.of(trainer, student, step, action)
        student.load_state_dict(copied(before, student.device))
        step = step.of_all_rows()
        with alone():  # what is at fault may be in one process's rows, and only it would look further
            fault = FaultLocation("divided") if student.result is not None else locate_non_finite(step, student)
            report = FailureReport(context, fault, step, before)
        if self.on_failure is not None:
            self.on_failure(report)
        if action == "raise":
            raise NotFinite(report.line() + limit, student.name)
        student.load_state_dict(copied(before, student.device))
        warnings.warn(f"step left out: {report.line()}", stacklevel=2)
        student.metrics.skipped += 1
        if step.number % student.config.accumulate == 0:
            student.optimizer.zero_grad()  # as the first of its group would have, which no other step does
        # A step left out must not be met again when a later one of this epoch fails.
        self._keep(student, step.number + 1)
        return False

    def _limit_reached(self, before: Mapping[str, Any], steps: int) -> str:
        """Why the policy may do no more; empty while it may."""
        most = min(steps - 1, max(1, int(MOST_SKIPPED * steps)))
        if self.policy == "skip" and before["metrics"]["skipped"] >= most:
            return f"; {most} steps of this epoch were skipped already, which is the limit"
        return ""

    def _keep(self, student: "StudentTrainer", steps: int) -> None:
        large = sum(parameter.nbytes for parameter in student.student.network.parameters()) > ON_DEVICE
        self._copies[student.name] = steps, copied(student.state_dict(), torch.device("cpu") if large else None)
