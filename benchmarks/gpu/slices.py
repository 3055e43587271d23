"""Long trainings in slices: each call goes on where the state file of the one before stands.

The loop trains from the first epoch to the last; until it can begin in the midst of a training, one is made of
stretches of a fixed number of epochs, each a training of its own: with its place in the whole protocol's schedule, with
the optimizer that the one before left, and with orders and views of its own seed. Stretches end at fixed epochs and not
by the clock, so that a training ends in the same bits however often it was stopped.
"""

import io
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.job import Clock, note_progress
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.errors import InputError
from preceptor.files import write_whole
from preceptor.teachers.base import Teacher
from preceptor.training import Compile, Precision, Student, TrainingConfig, fit
from preceptor.training.device import deterministic

STATE_FILE = "state.pt"
ENOUGH = 1.3
"""A stretch is begun while so many times the seconds of the longest so far are left."""


@dataclass(frozen=True)
class Course:
    """A training, as ``fit`` takes it.

    Attributes:
        pupils, train, positions, rule, normalize, protocol, teacher, seed, precision, compile: see ``fit``.
        deterministic: whether torch keeps to algorithms that give the same bits each time.
        about: whatever else tells this training from another, such as fingerprints of data and teacher.
    """

    pupils: Sequence[Student]
    train: ImageSet
    positions: Tensor
    rule: CropFlip
    normalize: Normalization
    training: TrainingConfig
    teacher: Teacher | None = None
    seed: int = 0
    precision: Precision = "auto"
    compile: Compile = "never"
    deterministic: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What a state file must be of, to go on from."""
        settings = {
            "pupils": [pupil.name for pupil in self.pupils],
            "training": self.training.model_dump(mode="json"),
            "images": len(self.positions),
            "seed": self.seed,
            "precision": self.precision,
            "deterministic": self.deterministic,
            **self.about,
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain


@dataclass(frozen=True)
class Stand:
    """How far a training is.

    Attributes:
        done: epochs.
        of: epochs of the whole.
        records: of every epoch so far, one a pupil.
    """

    done: int
    of: int
    records: list[list[dict[str, Any]]]

    @property
    def over(self) -> bool:
        """Whether the last epoch is behind it."""
        return self.done == self.of


def slice_of_training(course: Course, folder: Path, clock: Clock, *, unit: int) -> Stand:
    """Train on from the state file in a folder, until the last epoch or until the time is up.

    At least one stretch is trained whatever the clock says, unless all are. A call that is killed loses the stretch it
    is in.

    Args:
        course: with its pupils as they are before the first epoch; they end as they are after the last one trained.
        folder: of the state file.
        clock: no stretch begins that would hardly end in time.
        unit: epochs a stretch, but for the last one.

    Raises:
        InputError: a state file of another training, or a chain with a term that counts in a part of training only.
    """
    _check_untimed(course.pupils)
    state = _begun(course, folder / STATE_FILE, unit)
    longest = 0.0
    while state["done"] < course.training.epochs and (not longest or clock.left() > ENOUGH * longest):
        started = time.monotonic()
        state = _stretched(course, state, unit)
        _save(folder / STATE_FILE, state)
        note_progress(folder, state["done"], course.training.epochs, "epochs")
        longest = max(longest, time.monotonic() - started)
    return Stand(state["done"], course.training.epochs, state["records"])


class _Stretch(TrainingConfig):
    """Some epochs of a longer protocol, as a protocol of their own."""

    _rates: tuple[float, ...] = PrivateAttr(())
    _carried: Sequence[Mapping[str, Any]] = PrivateAttr(())
    _optimizers: list[torch.optim.SGD] = PrivateAttr(default_factory=list)

    @staticmethod
    def of(whole: TrainingConfig, first: int, epochs: int, carried: Sequence[Mapping[str, Any]]) -> "_Stretch":
        """The epochs from ``first`` on; ``carried`` holds the states of the optimizers, none before the first epoch."""
        stretch = _Stretch(**{**whole.model_dump(), "epochs": epochs})
        stretch._rates = _rates(whole)[first : first + epochs + 1]
        stretch._carried = carried
        return stretch

    def optimizer(self, modules: list[nn.Module]) -> torch.optim.SGD:
        made = super().optimizer(modules)
        if self._carried:
            made.load_state_dict(dict(self._carried[len(self._optimizers)]))
        self._optimizers.append(made)
        return made

    def scheduler(self, optimizer: torch.optim.Optimizer) -> LRScheduler:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = self.learning_rate
        return _AsPlanned(optimizer, self._rates)

    def states(self) -> list[dict[str, Any]]:
        """Of the optimizers, in the order of the pupils."""
        return [optimizer.state_dict() for optimizer in self._optimizers]


class _AsPlanned(LRScheduler):
    """A schedule that is known epoch by epoch."""

    def __init__(self, optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
        self.rates = rates
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        return [self.rates[self.last_epoch]] * len(self.base_lrs)


def _rates(training: TrainingConfig) -> tuple[float, ...]:
    """The learning rate of every epoch, and the one that would come next."""
    optimizer = training.optimizer([nn.Linear(1, 1)])
    scheduler = training.scheduler(optimizer)
    rates = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(training.epochs):
        optimizer.step()
        scheduler.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return tuple(rates)


def _check_untimed(pupils: Sequence[Student]) -> None:
    for pupil in pupils:
        for name, term in pupil.loss.terms.items():
            if (term.since, term.until) != (0, 1):
                raise InputError(
                    f"pupil {pupil.name!r}: term {name!r} counts in a part of training only, and a slice does not know "
                    "which part of the training it is: train this recipe in one go"
                )


def _begun(course: Course, path: Path, unit: int) -> dict[str, Any]:
    """The state to go on from, the pupils brought to it."""
    identity = {**course.identity, "unit": unit}
    if not path.is_file():
        return {"of": identity, "done": 0, "optimizers": [], "records": []}
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    differing = sorted(key for key in {*identity, *state["of"]} if identity.get(key) != state["of"].get(key))
    if differing:
        raise InputError(
            f"{path}: is of a training with other {', '.join(differing)}: give another folder or remove it"
        )
    for pupil, (student, loss) in zip(course.pupils, state["weights"], strict=True):
        pupil.student.load_state_dict(student)
        pupil.loss.load_state_dict(loss)
    return state


def _stretched(course: Course, state: Mapping[str, Any], unit: int) -> dict[str, Any]:
    """The state after one more stretch."""
    first = state["done"]
    stretch = _Stretch.of(course.training, first, min(unit, course.training.epochs - first), state["optimizers"])
    epochs = fit(
        course.pupils,
        course.train,
        course.positions,
        course.rule,
        course.normalize,
        stretch,
        teacher=course.teacher,
        seed=course.seed * 1_000_003 + first,
        precision=course.precision,
        compile=course.compile,
    )
    with deterministic() if course.deterministic else nullcontext():
        records = [[{**asdict(record), "epoch": first + record.epoch} for record in epoch] for epoch in epochs]
    return {
        "of": {**course.identity, "unit": unit},
        "done": first + stretch.epochs,
        "weights": [(pupil.student.state_dict(), pupil.loss.state_dict()) for pupil in course.pupils],
        "optimizers": stretch.states(),
        "records": [*state["records"], *records],
    }


def _save(path: Path, state: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_whole({path: content.getvalue()})
