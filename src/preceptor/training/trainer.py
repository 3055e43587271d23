"""The trainer: several students in one pass over the data, with one teacher query a batch."""

import time
import warnings
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from preceptor.data.randomness import own_generators
from preceptor.errors import first_line, out_of_memory
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.training.batch_norm import synchronized_batch_norms
from preceptor.training.batches import Batch, TrainingData, steps_in_epoch
from preceptor.training.callbacks import Callback, IncompatibleCheckpoint, TrainState
from preceptor.training.checks import check_training
from preceptor.training.compile import (
    FORWARD_AND_BACKWARD,
    Compile,
    CompiledForBatches,
    compiling_pays,
    forward_flops,
)
from preceptor.training.config import TrainingConfig
from preceptor.training.distributed import data_parallel, gathered, seconds_waited, slow_process, waiting, world_size
from preceptor.training.feature_setup import set_up_features
from preceptor.training.guard import NonFiniteGuard
from preceptor.training.metrics import EpochRecord
from preceptor.training.mixing import mix
from preceptor.training.precision import Precision, resolve_precision
from preceptor.training.profiler import profiled
from preceptor.training.sharding import divided
from preceptor.training.step import Step, rng_seed
from preceptor.training.student import Student, StudentTrainer
from preceptor.training.teacher_feed import TeacherFeed

LOGS_PER_EPOCH = 8
"""How often an epoch losses are read and logged; each reading waits for the device."""


class Trainer:
    """Trains one or several students on the same batches, in the same views, with the same teacher outputs.

    So recipes are compared pairwise; what one student learns or draws does not touch another. The students end as they
    are after the last epoch (their moving average with ``config.ema``): none is picked. Within
    :func:`~preceptor.training.distributed.process_group` each process takes its rows of every batch, and all end with
    the same students; the batch size is that of all together.

    Args:
        students: networks with their losses, trained in place on the data's device; unique names.
        teacher: needed when a loss uses one. Its precision is its own affair. A logit cache is looked up ahead.
        data: inputs, labels, the samples to train on, the augmentation.
        config: epochs, batch size, optimizer, schedule.
        callbacks: called in order. Unless a :class:`NonFiniteGuard` is among them, one that raises comes first.
        seed: of order, views and whatever the students draw (dropout).
        precision: of the students: "auto" (default) is bf16 autocast where the device has units for it, else fp32;
            losses are computed in fp32 either way.
        compile: of the students, see ``training.Compile``.
        shard: divide weights, gradients and optimizer state of each student among the processes, for students that
            are too large for one; one process alone holds all. Default False: every process does.

    Attributes:
        students: a :class:`StudentTrainer` each.
        steps: batches an epoch.

    Raises:
        InputError: a loss without its teacher or with a selection that is not fitted, a student's own training of other
            epochs, batch size or mixing, a term in whose time span no step begins, a feature loss whose layers or
            shapes do not fit, a teacher without the features that are compared, mixing with inputs, a loss or a teacher
            that do not allow it, fewer samples a batch than processes.
        MachineError: CUDA graphs on another device.
    """

    def __init__(
        self,
        students: Sequence[Student],
        teacher: Teacher | None,
        data: TrainingData,
        config: TrainingConfig,
        callbacks: Iterable[Callback] = (),
        *,
        seed: int = 0,
        precision: Precision = "auto",
        compile: Compile = "auto",  # noqa: A002
        shard: bool = False,
    ) -> None:
        self.data, self.config, self.seed, self.device = data, config, seed, data.device
        self.steps = steps_in_epoch(len(data.index), config.batch_size)
        shard = shard and world_size() > 1
        check_training(students, teacher, data, config, compile, shard=shard)
        self.callbacks = list(callbacks)
        if not any(isinstance(callback, NonFiniteGuard) for callback in self.callbacks):
            self.callbacks.insert(0, NonFiniteGuard())
        for student in students:
            student.to(self.device)
        results: list[nn.Module | None] = [None] * len(students)
        if shard:
            results = [student.network for student in students]
            students = [
                Student(one.name, divided(one.network, self.device), one.loss, one.training_config) for one in students
            ]
        models, self.teacher = set_up_features(students, teacher, data, seed)
        self.feed = TeacherFeed(self.teacher, [student.loss for student in students], data)
        self.students = [
            StudentTrainer(
                student,
                model,
                student.training_config or config,
                steps=self.steps,
                samples=len(data),
                precision=resolve_precision(precision, self.device, student.network),
                device=self.device,
                result=result,
            )
            for student, model, result in zip(students, models, results, strict=True)
        ]
        if world_size() > 1 and not shard:
            self._distribute()
        elif world_size() == 1:
            self._compile(compile)
        self._position = (0, 0)

    def fit(self, state: TrainState | None = None) -> None:
        """Train to the end.

        Args:
            state: of a training with the same arguments on the same hardware, to go on from; the bits are then those of
                one that never stopped. None begins.

        Raises:
            IncompatibleCheckpoint: an InputError too: ``state`` is of another training.
            NotFinite: an InputError too: a step is not finite, see :class:`NonFiniteGuard`.
            InputError: a student that abstains on nearly everything.
        """
        if state is not None:
            self._load(state)
        try:
            with synchronized_batch_norms([student.student.network for student in self.students]):
                self._train()
        finally:
            self._call("on_train_end")
            for student in self.students:
                student.model.remove_hooks()
        for student in self.students:
            student.keep_average()

    def _train(self) -> None:
        self._call("on_train_start")
        for epoch in range(self._position[0], self.config.epochs):
            first = self._position[1]
            started, waited = time.perf_counter(), seconds_waited()
            for student in self.students:
                student.begin_epoch(new=first == 0)
            self._call("on_epoch_start", epoch, first)
            with own_generators(self.device):
                for step in self.steps_from(epoch, first):
                    for student in self.students:
                        student.train_step(step)
                    # A state taken from here on goes on with the next step.
                    self._position = (epoch, step.number + 1)
                    self._call("on_step_end", step)
                    if self.logs_after(step):
                        with waiting():
                            losses = {student.name: student.metrics.mean_losses() for student in self.students}
                        self._call("on_log", losses)
            if world_size() > 1:
                self._name_slow_process(time.perf_counter() - started - (seconds_waited() - waited))
            records = self._end_epoch(epoch, first, time.perf_counter() - started)
            self._position = (epoch + 1, 0)
            self._call("on_epoch_end", records)

    def _name_slow_process(self, worked: float) -> None:
        told = slow_process(worked)
        if told is not None:
            warnings.warn(told, stacklevel=2)

    def steps_from(self, epoch: int, first: int) -> Iterator[Step]:
        """The steps of an epoch from a number on; the same whenever they are made."""
        plan = self.data.plan(self.config.batch_size, self.seed, epoch)
        self.feed.begin_epoch(plan)
        batches = self.data.batches(plan, queried=self.feed.queried, first=first)
        for number in range(first, self.steps):
            with profiled("batch"):
                batch = mix(next(batches), self.config, self.seed, epoch, number)
            progress = (epoch + number / self.steps) / self.config.epochs
            uses_teacher = any(student.student.loss.uses_teacher_at(progress) for student in self.students)
            with profiled("teacher"):
                teacher = self._teacher_output(batch, number) if uses_teacher else None
            yield Step(epoch, number, self.steps, progress, rng_seed(self.seed, epoch, number), batch, teacher)

    def _teacher_output(self, batch: Batch, number: int) -> TeacherOutput | None:
        """Of the whole batch, though each process queries its teacher on its own rows alone."""
        own, size = self.feed.output(batch, number), len(batch.label)
        if own is None:
            return None
        return TeacherOutput(
            gathered(own.logits, size), {name: gathered(one, size) for name, one in own.features.items()}
        )

    def state(self) -> TrainState:
        """The state between two steps; finite, as the guard sees to it."""
        self._call("on_state")
        return TrainState(*self._position, {student.name: student.state_dict() for student in self.students})

    @property
    def completed_steps(self) -> int:
        """Steps taken, over all epochs."""
        return self._position[0] * self.steps + self._position[1]

    def logs_after(self, step: Step) -> bool:
        """Whether losses are read and logged after a step."""
        every = max(1, self.steps // LOGS_PER_EPOCH)
        return step.number % every == every - 1

    def _call(self, method: str, *arguments: object) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(self, *arguments)

    def _end_epoch(self, epoch: int, first: int, seconds: float) -> list[EpochRecord]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # so that the clock is right
        for student in self.students:
            student.update_result()
        samples = len(self.data.index) - self.config.batch_size * first
        return [student.end_epoch(epoch + 1, samples / seconds, seconds) for student in self.students]

    def _load(self, state: TrainState) -> None:
        if state.epoch > self.config.epochs or state.step >= self.steps:
            raise IncompatibleCheckpoint(
                f"epoch {state.epoch + 1}, step {state.step + 1} of {self.config.epochs} epochs of {self.steps} steps"
            )
        try:
            for student in self.students:
                student.load_state_dict(state.students[student.name])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            if out_of_memory(error):
                raise
            raise IncompatibleCheckpoint(f"does not fit student and recipe ({first_line(error)})") from error
        self._position = (state.epoch, state.step)

    def _distribute(self) -> None:
        probe = self.data.probe(2)
        with own_generators(self.device):
            for student in self.students:
                terms = student.student.loss.terms.values()
                of_outputs = [term for term in terms if term.kind != "feature_loss"]
                steady = len(of_outputs) == len(terms) or any((term.since, term.until) == (0, 1) for term in of_outputs)
                student.forward = data_parallel(student.model, probe, steady=steady)

    def _compile(self, compile: Compile) -> None:  # noqa: A002
        batch_size = self.config.batch_size
        if compile == "never" or len(self.data.index) < batch_size:
            return
        probe, steps = self.data.probe(batch_size), self.config.epochs * self.steps
        for student in self.students:
            if student.config.separates_gradients:
                continue
            if compile == "auto":
                flops = FORWARD_AND_BACKWARD * forward_flops(student.student.network, probe) * steps
                if not compiling_pays("student", flops=flops, steps=steps, device=self.device):
                    continue
            mode = "reduce-overhead" if compile == "graph" else None
            rows = batch_size * self.data.rows_per_sample
            student.forward = CompiledForBatches(student.model, rows, mode)
