"""What is done when a pupil ceases to be finite: go back to where it was sound, and find the step that spoilt it.

While all is well this costs a copy of each pupil's state and one question to the device a few times an epoch, and
nothing in a step. What is not finite once stays so; so a reading that finds a pupil unsound goes back to the copy and
takes the steps since then again, one by one. All that is drawn follows from (seed, epoch, step), so on the same
hardware they are the same steps, and what comes of them is, bit for bit, what would have come without the detour.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from preceptor.data import Normalization
from preceptor.training.failure import FailureContext, FailureReport, NotFinite, OnNonfinite
from preceptor.training.locate import examine
from preceptor.training.step import Step, take
from preceptor.training.student import Seat

STEPS_BETWEEN_COPIES = 32
"""At least so many steps lie between two copies of a pupil's state within an epoch."""

ON_DEVICE = 2**30
"""Copies of up to so many bytes a pupil stay on its device; larger ones go to the CPU's memory."""

MOST_SKIPPED = 0.05
"""The share of an epoch's steps that may be skipped; at least one may, unless the epoch has no other."""

LOWERED_TO = 0.1
"""What a learning rate that is lowered is multiplied by."""

MOST_LOWERED = 3
"""How often it may be lowered in a training."""


@dataclass(frozen=True)
class Setting:
    """What a failure is recorded with.

    Attributes:
        seed: of the training.
        samples: of the training set.
        precision: of the students.
        normalize: of the students.
    """

    seed: int
    samples: int
    precision: Literal["fp32", "bf16"]
    normalize: Normalization


@dataclass(frozen=True)
class _Copy:
    """A sound state of a pupil, when so many steps of the epoch are done."""

    steps: int
    state: Mapping[str, Any]


class NonFiniteGuard:
    """Keeps sound states of the pupils, and goes back to them.

    Args:
        seats: of the pupils.
        setting: of the training.
        policy: what to do about a step that is not finite.
        report: told of every such step before anything is done about it; None is nobody.
    """

    def __init__(
        self,
        seats: Sequence[Seat],
        setting: Setting,
        policy: OnNonfinite,
        report: Callable[[FailureReport], None] | None,
    ) -> None:
        self._seats, self._setting, self._policy, self._report = seats, setting, policy, report
        self._copies: dict[str, _Copy] = {}
        self._begun: dict[str, _Copy] = {}

    def resume(self, pupils: Mapping[str, Any]) -> None:
        """Take over from a moment in the middle of an epoch what the pupils were when it began."""
        for seat in self._seats:
            begun = pupils[seat.pupil.name].get("begun")
            if begun is not None:
                self._begun[seat.pupil.name] = _Copy(int(begun["steps"]), seat.fitting(copied(begun["state"])))

    def begin_epoch(self, steps: int, again: Callable[[int], Iterator[Step]], first: int) -> None:
        """An epoch of so many steps begins, or goes on at a step; ``again`` makes its steps from a number on."""
        self._steps, self._again = steps, again
        self._sound_at = first
        for seat in self._seats:
            self._keep(seat, first)
            if first == 0 or seat.pupil.name not in self._begun:
                self._begun[seat.pupil.name] = self._copies[seat.pupil.name]

    def extra_state(self, seat: Seat, steps: int) -> dict[str, Any]:
        """What a moment in the middle of an epoch must hold besides the pupil's own state."""
        needed = self._policy == "lower" and steps > 0
        return {"begun": vars(self._begun[seat.pupil.name])} if needed else {}

    def copy_is_due(self, done: int) -> bool:
        """Whether the last copies are so old, when so many steps of the epoch are done, that it is time for others."""
        return done - min(kept.steps for kept in self._copies.values()) >= STEPS_BETWEEN_COPIES

    def make_sure(self, done: int, keep: bool = False) -> None:
        """All pupils are sound when so many steps of the epoch are done; those that are not are made so, as the policy
        says. Waits for the device.

        Raises:
            NotFinite: one is not, and the policy is to stop, or has done what it may.
        """
        if done != self._sound_at:
            sound = torch.stack([seat.sound() for seat in self._seats]).tolist()
            for seat, fine in zip(self._seats, sound, strict=True):
                if not fine:
                    self._go_back(seat, done)
        self._sound_at = done
        for seat in self._seats:
            if keep and done - self._copies[seat.pupil.name].steps >= STEPS_BETWEEN_COPIES:
                self._keep(seat, done)

    def _go_back(self, seat: Seat, done: int) -> None:
        """Take the steps since the last copy again, each time without what spoilt them."""
        start = self._copies[seat.pupil.name]
        _put_back(seat, start.state)
        next_step: int | None = start.steps
        found = False
        while next_step is not None:
            next_step = self._take_again(seat, next_step, done)
            found = found or next_step is not None
        if not found:
            warnings.warn(
                f"pupil {seat.pupil.name!r} was not finite after step {done}, but is when the steps since "
                f"{start.steps} are taken again: this device does not give the same bits each time; training goes on "
                "from these",
                stacklevel=2,
            )

    def _take_again(self, seat: Seat, first: int, done: int) -> int | None:
        """Take steps one by one: None when all went well, else the step to go on with when one did not."""
        for step in self._again(first):
            if step.number >= done:
                break
            before = copied(seat.state())
            take(step, seat, self._setting.precision)
            if not bool(seat.sound()):
                return self._act(seat, step, before)
        return None

    def _act(self, seat: Seat, step: Step, before: Mapping[str, Any]) -> int:
        """Report a step that is not finite and do what the policy says; the step to go on with."""
        action = "stop" if self._exhausted(before) else self._policy
        _put_back(seat, before)
        failure = self._failure(seat, step, before, action)
        if self._report is not None:
            self._report(failure)
        if action == "stop":
            raise NotFinite(failure.line() + self._limit_in_words())
        if action == "skip":
            return self._skip(seat, step, before, failure)
        return self._lower(seat, failure)

    def _skip(self, seat: Seat, step: Step, before: Mapping[str, Any], failure: FailureReport) -> int:
        _put_back(seat, before)
        seat.tally.skipped += 1
        self._keep(seat, step.number + 1)
        warnings.warn(f"step left out: {failure.line()}", stacklevel=2)
        return step.number + 1

    def _lower(self, seat: Seat, failure: FailureReport) -> int:
        begun = self._begun[seat.pupil.name]
        _put_back(seat, begun.state)
        seat.lower(LOWERED_TO)
        self._keep(seat, begun.steps)
        self._begun[seat.pupil.name] = self._copies[seat.pupil.name]
        rate = seat.optimizer.param_groups[0]["lr"]
        warnings.warn(f"epoch begun again with learning rate {rate:g}: {failure.line()}", stacklevel=2)
        return begun.steps

    def _exhausted(self, before: Mapping[str, Any]) -> bool:
        """Whether the policy has done what it may."""
        if self._policy == "lower":
            return bool(before["lowered"] >= MOST_LOWERED)
        return self._policy == "skip" and bool(before["tally"]["skipped"] >= self._most_skipped)

    @property
    def _most_skipped(self) -> int:
        return min(self._steps - 1, max(1, int(MOST_SKIPPED * self._steps)))

    def _limit_in_words(self) -> str:
        if self._policy == "lower":
            return f"; the learning rate was lowered {MOST_LOWERED} times already, which is the most"
        if self._policy == "skip":
            return f"; {self._most_skipped} steps of this epoch were skipped already, which is the most"
        return ""

    def _failure(self, seat: Seat, step: Step, before: Mapping[str, Any], action: OnNonfinite) -> FailureReport:
        setting = self._setting
        assert seat.outputs is not None, "it has taken the step"
        occasion = FailureContext(
            pupil=seat.pupil.name,
            epoch=step.epoch + 1,
            step=step.number + 1,
            steps=self._steps,
            seed=setting.seed,
            draws=step.draws,
            progress=step.progress,
            samples=setting.samples,
            outputs=seat.outputs,
            precision=setting.precision,
            normalization=setting.normalize,
            action=action,
        )
        fault = examine(step, seat, setting.precision)
        return FailureReport(occasion, fault, step.batch, step.heard_by(seat.pupil.loss), before)

    def _keep(self, seat: Seat, steps: int) -> None:
        state = seat.state()
        place = torch.device("cpu") if _size(state) > ON_DEVICE else None
        self._copies[seat.pupil.name] = _Copy(steps, copied(state, place))


def copied(state: Any, device: torch.device | None = None) -> Any:
    """A copy of a state, all its tensors copied too, on a device or where they are."""
    if isinstance(state, Tensor):
        return state.detach().to(device or state.device, copy=True)
    if isinstance(state, dict):
        twin = copy.copy(state)  # an ordered one of torch's keeps its version numbers
        for name, value in state.items():
            twin[name] = copied(value, device)  # not by update, which adds to a counter's counts
        return twin
    if isinstance(state, (list, tuple)):
        return type(state)(copied(value, device) for value in state)
    return state


def _put_back(seat: Seat, state: Mapping[str, Any]) -> None:
    """The pupil as it was; the state stays a copy of its own."""
    seat.resume(copied(state, seat.device))


def _size(state: Any) -> int:
    """Bytes of all tensors in a state."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(_size(value) for value in state.values())
    return sum(_size(value) for value in state) if isinstance(state, (list, tuple)) else 0
