"""The first steps of a run, taken on a copy: the scale of each loss term, and how long a step takes."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.loss import DistillationLoss
from preceptor.models.layout import to_memory_format
from preceptor.run.config import RunConfig
from preceptor.run.doctor.data_checks import few
from preceptor.run.doctor.finding import Finding
from preceptor.run.set_up import RunContext
from preceptor.teachers.base import Teacher
from preceptor.training import Batch, Student
from preceptor.training.batches import batches_of, plan_epoch
from preceptor.training.precision import resolve_precision
from preceptor.training.student import Seat
from preceptor.training.teacher_feed import TeacherFeed

BATCHES_LOOKED_AT = 8
"""A term that teaches nothing in the first batch may do so in the next ones: in so many it is looked for."""

FAR_APART = 100
"""Gradients of terms that count at the same time are far apart from this ratio on."""

WARM_UP = 3
TIMED_STEPS = 10
TIMED_SECONDS = 5.0
"""Steps that do not count, steps that do, and when it is enough of them."""


@dataclass(frozen=True)
class TermScale:
    """How large a term is before the student has learnt anything.

    Attributes:
        name: of the term.
        progress: share of training done when it was looked at.
        batch: in which it was; the first, or the first in which it teaches, or the last looked at.
        loss: its value, as weighted in the total.
        gradient: Euclidean norm of its gradient with respect to all logits of the student.
    """

    name: str
    progress: float
    batch: int
    loss: float
    gradient: float


def scales_on(
    distillation_loss: DistillationLoss,
    student: Float[Tensor, "batch outputs"],
    teacher: Float[Tensor, "batch classes"] | None,
    label: Int[Tensor, " batch"],
    index: Int[Tensor, " batch"],
    *,
    progress: float = 0.0,
    batch: int = 0,
) -> list[TermScale]:
    """The scale on one batch of every term that counts then.

    Args:
        chain: whose terms.
        student: logits.
        teacher: logits; None where no term needs them.
        label, index: of the samples.
        progress: share of training done, 0 to 1.
        batch: its number.
    """
    logits = student.detach().float().requires_grad_()
    terms = distillation_loss(logits, teacher, label, index=index, progress=progress)
    found = []
    for name in (name for name, term in distillation_loss.terms.items() if term.is_active(progress)):
        loss = terms.losses[name]
        slope = (
            torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)[0] if loss.requires_grad else None
        )
        size = 0.0 if slope is None else float(slope.double().norm())
        found.append(TermScale(name, progress, batch, float(loss.detach()), size))
    return found


def loss_finding(scales: list[TermScale]) -> Finding:
    """Whether every term teaches something, and none drowns another that counts at the same time."""
    finite = [scale for scale in scales if max(abs(scale.loss), scale.gradient) < float("inf")]
    numbers = {"terms": [asdict(scale) for scale in finite]}
    if len(finite) < len(scales):
        found = f"not finite on the first batch: {few([scale.name for scale in scales if scale not in finite])}"
        return Finding("loss scale", "problem", found, "check the teacher's logits and the term's options", numbers)
    shown = ", ".join(f"{scale.name} {scale.loss:.4g} (gradient {scale.gradient:.3g})" for scale in scales)
    silent = [scale.name for scale in scales if scale.gradient == 0]
    if silent:
        found = f"{few(silent)} teaches nothing in the first {BATCHES_LOOKED_AT} batches: {shown}"
        remedy = "see whether any sample is what its 'where' asks for, and whether its weight is meant"
        return Finding("loss scale", "warning", found, remedy, numbers)
    for progress in sorted({scale.progress for scale in scales}):
        together = sorted((s for s in scales if s.progress == progress), key=lambda scale: scale.gradient)
        least, most = together[0], together[-1]
        if most.gradient > FAR_APART * least.gradient:
            ratio = most.gradient / least.gradient
            found = f"the gradient of {most.name} is {ratio:,.0f} times that of {least.name}: {shown}"
            remedy = f"if that is not meant, change their weights (recipe.terms.{least.name}.weight=...)"
            return Finding("loss scale", "warning", found, remedy, numbers)
    return Finding("loss scale", "ok", f"on the first batch: {shown}", "", numbers)


class FirstSteps:
    """Takes the first steps of a run as the loop would, on a copy of student and chain.

    Args:
        config: of the run.
        material: of the run, its selection settled; left as it is.
        teacher: what it says; None when the recipe needs none.
    """

    def __init__(self, config: RunConfig, material: RunContext, teacher: Teacher | None) -> None:
        self._config, self._material = config, material
        self.device = material.train.images.device
        pupil = Student("copy", deepcopy(material.student), deepcopy(material.loss))
        self._lectern = TeacherFeed(teacher, [pupil.loss], len(material.train))
        self.seat = Seat(pupil, config.training, self.device, len(material.train))
        self._bf16 = resolve_precision(config.precision, self.device) == "bf16"

    @property
    def times(self) -> list[float]:
        """The shares of training done at which a term begins to count."""
        return sorted({term.since for term in self.seat.pupil.loss.terms.values()})

    def scales(self) -> list[TermScale]:
        """The scale of each term, at each time at which one begins to count."""
        return [scale for progress in self.times for scale in self._scales_at(progress)]

    def step_seconds(self) -> tuple[float, int]:
        """Seconds that a step takes, uncompiled, at the time when most terms count; and how many were timed."""
        terms = self.seat.pupil.loss.terms.values()
        busiest = max(self.times, key=lambda progress: sum(term.is_active(progress) for term in terms))
        with self._drawing():
            steps = self._steps(busiest)
            for _ in islice(steps, WARM_UP):
                pass
            started, done = self._clock(), 0
            for _ in islice(steps, TIMED_STEPS):
                done += 1
                if time.perf_counter() - started > TIMED_SECONDS:
                    break
            return (self._clock() - started) / done, done

    def _scales_at(self, progress: float) -> list[TermScale]:
        loss, kept = self.seat.pupil.loss, dict[str, TermScale]()
        with self._drawing():
            for number, batch, signal in islice(self._batches(progress), BATCHES_LOOKED_AT):
                logits = self._logits(batch).detach()
                found = scales_on(loss, logits, signal, batch.label, batch.index, progress=progress, batch=number)
                kept |= {scale.name: scale for scale in found if kept.get(scale.name) is None or _silent(kept, scale)}
                if all(scale.gradient != 0 for scale in kept.values()):
                    break
        return list(kept.values())

    def _steps(self, progress: float) -> Iterator[None]:
        while True:
            for _, batch, signal in self._batches(progress):
                self.seat.learn(self._logits(batch), signal, batch, progress)
                yield

    def _batches(self, progress: float) -> Iterator[tuple[int, Batch, Tensor | None]]:
        """The batches of the epoch of that time with the teacher's word, a smaller last one left out."""
        made, training = self._material, self._config.training
        epoch = min(int(progress * training.epochs), training.epochs - 1)
        plan = plan_epoch(
            made.positions, made.rule, batch_size=training.batch_size, seed=self._config.seed, epoch=epoch
        )
        self._lectern.begin_epoch(plan)
        heard = self.seat.pupil.loss.uses_teacher_at(progress)
        for number, batch in enumerate(batches_of(plan, made.train, made.rule, asked=self._lectern.asked)):
            if number == 0 or len(batch.label) == training.batch_size:
                yield number, batch, self._lectern.signal(batch, number) if heard else None

    def _logits(self, batch: Batch) -> Tensor:
        images = to_memory_format(self._material.dataset.normalization(batch.images))
        with torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else nullcontext():
            logits: Tensor = self.seat.run(images)
        return logits

    def _drawing(self) -> AbstractContextManager[object]:
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _silent(kept: dict[str, TermScale], scale: TermScale) -> bool:
    return kept[scale.name].gradient == 0
