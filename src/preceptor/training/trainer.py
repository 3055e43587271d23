"""The loop: one pass over the data and one teacher signal for a class of pupils."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.models.layout import to_memory_format
from preceptor.teachers.base import Teacher
from preceptor.training.batches import Batch, batches_of, plan_epoch, steps_in_epoch
from preceptor.training.callbacks import Callback, CheckpointHook, IncompatibleCheckpoint, Silent, TrainState
from preceptor.training.compile import Compile, Precision, check_compile, resolve_precision, student_runner
from preceptor.training.config import TrainingConfig
from preceptor.training.epoch_metrics import EpochRecord
from preceptor.training.failure import FailureReport, OnNonfinite
from preceptor.training.guard import NonFiniteGuard, Setting
from preceptor.training.prefetch import prefetched
from preceptor.training.step import Step, draws_at, take
from preceptor.training.student import Seat, Student, check_times, part
from preceptor.training.teacher_feed import TeacherFeed

READINGS_PER_EPOCH = 8
"""How often an epoch the tallies are read for the watcher; each reading waits for the device."""


def fit(
    pupils: Sequence[Student],
    train: ImageSet,
    positions: Int[Tensor, " given"],
    rule: CropFlip,
    normalize: Normalization,
    training: TrainingConfig,
    *,
    teacher: Teacher | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    compile: Compile = "auto",  # noqa: A002
    device: torch.device | None = None,
    watcher: Callback | None = None,
    keeper: CheckpointHook | None = None,
    start: TrainState | None = None,
    on_nonfinite: OnNonfinite = "stop",
    on_failure: Callable[[FailureReport], None] | None = None,
    overlap: bool = False,
) -> Iterator[list[EpochRecord]]:
    """Train a class of pupils; yields one record a pupil after each epoch.

    Every pupil meets the same batches, the same views and the same teacher signal, so that recipes are
    compared pairwise; what one pupil learns or draws does not touch another. The pupils end as they are after
    the last epoch: none is picked.

    Args:
        pupils: students with their chains; trained in place, on the device.
        train: all training images and labels.
        positions: which of them to use, on the CPU.
        rule: the augmentation; the teacher sees the same views as the students.
        normalize: of the students; the teacher brings its own.
        protocol: epochs, batch size, optimizer.
        teacher: needed when a chain needs teacher logits; on the device. In which precision it computes is its own
            affair. A cache is looked up many batches ahead.
        seed: of order, views and whatever the students draw (dropout).
        precision: "auto" (default) is "bf16", that is autocast, where the device has units for it, else "fp32"; losses
            are computed in fp32 either way.
        compile: the students: "auto" (default) when the run is long enough to pay for it, "never", "always", or
            "graph" to capture their passes as CUDA graphs.
        device: where to train; None is where ``train`` is. Images on the CPU go to it batch by batch.
        watcher: told about progress.
        keeper: may keep any moment between two steps.
        start: such a moment of a training with the same arguments on the same hardware, to go on from; the bits are
            then those of one that was never stopped. None is the beginning.
        on_nonfinite: what to do for a pupil when a loss, a gradient or its weights are not finite after a step; the
            others are not affected. "stop" (default) ends the training. "skip" leaves the step out: its weights,
            momentum and running statistics are as before it, and the epoch's record counts it; up to 5 % of an epoch's
            steps (at least one). "lower" begins the epoch again at a tenth of the learning rate, which stays a tenth
            of the schedule's; up to three times. Beyond that either stops.
        on_failure: told of every such step, with all it takes to take it again, before anything is done about it.
        overlap: on a GPU, make the next batch and the teacher's signal on a stream of their own while the students take
            this one. Default False, since no measurement yet says where it pays (``benchmarks/gpu/tuning.py`` does).

    Raises:
        InputError: no samples, a chain without its teacher or with a selection that is not fitted, a term in whose
            time no step begins, or a student that declines nearly everything.
        IncompatibleCheckpoint: an InputError too: ``start`` is a moment of another training.
        NotFinite: an InputError too: a step is not finite, and the training stops; it says where it goes wrong first.
        MachineError: CUDA graphs on another device.
    """
    device = device or train.images.device
    check_fit(pupils, positions, training, compile, device)
    if teacher is None and any(pupil.loss.uses_teacher for pupil in pupils):
        raise InputError("a chain needs teacher logits: give a teacher")
    if teacher is not None and not isinstance(teacher, Teacher):
        raise InputError(
            f"teacher: a {type(teacher).__name__}, which says nothing of images by position and view: give "
            "NetworkTeacher(network, normalize), or whatever else has the methods of Teacher"
        )
    steps = steps_in_epoch(len(positions), training.batch_size)
    lectern = TeacherFeed(teacher, [pupil.loss for pupil in pupils], len(train))
    settled = resolve_precision(precision, device)
    setting = Setting(seed, len(train), settled, normalize)
    room = _Classroom(pupils, training, lectern, device, setting, on_nonfinite, on_failure)
    room.prepare(train, positions, rule, compile)
    watcher = watcher or Silent()
    watcher.begin(training.epochs, steps, len(positions))
    begun, first = (0, 0) if start is None else room.resume(start)
    if begun > training.epochs or first >= steps:
        raise IncompatibleCheckpoint(
            f"epoch {begun + 1}, step {first + 1} of {training.epochs} epochs of {steps} steps"
        )
    for epoch in range(begun, training.epochs):
        started = time.perf_counter()
        plan = plan_epoch(positions, rule, batch_size=training.batch_size, seed=seed, epoch=epoch)
        lectern.begin_epoch(plan)
        batches = partial(batches_of, plan, train, rule, device=device, asked=lectern.asked)
        room.go_through(batches, epoch, range(first, steps), watcher, keeper, overlap)
        seconds = time.perf_counter() - started
        images = len(positions) - plan.bounds[first][0]
        yield [seat.end_epoch(epoch + 1, images / seconds, seconds) for seat in room.seats]
        first = 0
        if keeper is not None:
            keeper.after_step(partial(room.moment, epoch + 1, 0))


def check_fit(
    pupils: Sequence[Student],
    positions: Int[Tensor, " given"],
    training: TrainingConfig,
    compile: Compile,  # noqa: A002
    device: torch.device,
) -> None:
    """Make sure that pupils can be trained so, as far as it can be told without the teacher; as :func:`fit`.

    Raises:
        InputError: fewer than two samples, or a term in whose time no step begins.
        MachineError: CUDA graphs on another device.
    """
    if len(positions) < 2:
        raise InputError(f"{len(positions)} training samples: at least 2 are needed")
    check_times(pupils, training.epochs * steps_in_epoch(len(positions), training.batch_size))
    check_compile(compile, device)


class _Classroom:
    """The pupils in their seats, and what all of them are shown and told."""

    def __init__(
        self,
        pupils: Sequence[Student],
        training: TrainingConfig,
        lectern: TeacherFeed,
        device: torch.device,
        setting: Setting,
        on_nonfinite: OnNonfinite,
        on_failure: Callable[[FailureReport], None] | None,
    ) -> None:
        self.training, self.lectern, self.device, self.setting = training, lectern, device, setting
        self.seats = [Seat(pupil, training, device, setting.samples) for pupil in pupils]
        self.rescue = NonFiniteGuard(self.seats, setting, on_nonfinite, on_failure)

    def prepare(self, train: ImageSet, positions: Tensor, rule: CropFlip, compile: Compile) -> None:  # noqa: A002
        """Settle how each student is run, which takes a batch of the usual size."""
        steps = self.training.epochs * steps_in_epoch(len(positions), self.training.batch_size)
        if compile == "never" or len(positions) < self.training.batch_size:
            return
        some = positions[: self.training.batch_size].to(train.images.device)
        images = to_memory_format(self.setting.normalize(train.images[some].to(self.device)))
        for seat in self.seats:
            with self._drawing():
                seat.run = student_runner(seat.pupil.student, images, steps, compile, self.setting.precision)

    def resume(self, start: TrainState) -> tuple[int, int]:
        """Go on from a moment: at which epoch, and which step of it."""
        try:
            for seat in self.seats:
                seat.resume(start.pupils[seat.pupil.name])
            self.rescue.resume(start.pupils)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            if out_of_memory(error):
                raise
            raise IncompatibleCheckpoint(f"does not fit student and recipe ({first_line(error)})") from error
        return start.epoch, start.step

    def go_through(
        self,
        batches: "_Batches",
        epoch: int,
        numbers: range,
        watcher: Callback,
        keeper: CheckpointHook | None,
        overlap: bool,
    ) -> None:
        """One epoch, or what is left of it; every pupil is sound at its end."""
        steps = numbers.stop
        read_every = max(1, steps // READINGS_PER_EPOCH)
        for seat in self.seats:
            seat.begin_epoch(new=numbers.start == 0)
        self.rescue.begin_epoch(steps, partial(self._steps, batches, epoch, steps), numbers.start)
        with self._drawing():
            made = self._steps(batches, epoch, steps, numbers.start)
            for step in prefetched(made, self.device) if overlap else made:
                number = step.number
                self._teach(step)
                watcher.step(epoch + 1, len(step.batch.label))
                if keeper is not None and number + 1 < steps:
                    keeper.after_step(partial(self.moment, epoch, number + 1))
                if number % read_every == read_every - 1:
                    self._read(number + 1, watcher)
            self.rescue.make_sure(steps)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that the clock is right

    def _teach(self, step: Step) -> None:
        """Every pupil takes the step."""
        for seat in self.seats:
            take(step, seat, self.setting.precision)

    def _step(self, batch: Batch, number: int, epoch: int, steps: int) -> Step:
        """One batch, one teacher signal and one seed of what the pupils draw (dropout)."""
        progress = (epoch + number / steps) / self.training.epochs
        heard = any(seat.pupil.loss.uses_teacher_at(progress) for seat in self.seats)
        with part("teacher"):
            signal = self.lectern.signal(batch, number) if heard else None
        with part("batch"):
            images = to_memory_format(self.setting.normalize(batch.images))
        draws = draws_at(self.setting.seed, epoch, number)
        return Step(epoch, number, progress, draws, batch, images, signal)

    def _steps(self, batches: "_Batches", epoch: int, steps: int, first: int) -> Iterator[Step]:
        """The steps of an epoch from a number on."""
        shown = batches(first=first)
        for number in range(first, steps):
            with part("batch"):
                batch = next(shown)
            yield self._step(batch, number, epoch, steps)

    def moment(self, epoch: int, step: int) -> TrainState:
        """Where the training stands, all pupils sound, after so many epochs and so many steps of the next one."""
        if step > 0:
            self.rescue.make_sure(step)
        pupils = {seat.pupil.name: {**seat.state(), **self.rescue.extra_state(seat, step)} for seat in self.seats}
        return TrainState(epoch, step, pupils)

    def _drawing(self) -> AbstractContextManager[object]:
        """Within it torch's global generators may be drawn from without anybody else noticing."""
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def _read(self, done: int, watcher: Callback) -> None:
        """Tell the losses; what is not finite is looked after first."""
        losses = self._losses()
        wild = not all(math.isfinite(loss) for terms in losses.values() for loss in terms.values())
        if wild or self.rescue.copy_is_due(done):
            self.rescue.make_sure(done, keep=True)
        for name, terms in (self._losses() if wild else losses).items():
            watcher.losses(name, terms)

    def _losses(self) -> dict[str, dict[str, float]]:
        """Of each pupil that has taken a step of this epoch; waits for the device."""
        return {seat.pupil.name: seat.tally.mean_losses() for seat in self.seats if seat.tally.samples}


class _Batches(Protocol):
    """The batches of an epoch, from one on."""

    def __call__(self, *, first: int) -> Iterator[Batch]: ...
