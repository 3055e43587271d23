"""Our loop on a case, driven as anybody would drive it: by ``training.fit``, an epoch a round."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from preceptor.data import ImageSet
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.recipes import recipe
from preceptor.speed.clock import seconds_for
from preceptor.speed.pairs import RULE, Case, RunContext
from preceptor.speed.variants import Variant
from preceptor.teachers.base import Teacher
from preceptor.training import PRESETS, Compile, EpochRecord, Student, fit, steps_in_epoch
from preceptor.training.compile import FORWARD_AND_BACKWARD, compiling_pays, forward_flops, resolve_precision
from preceptor.training.device import deterministic

RUN = PRESETS["standard"]
"""The training that a bench measures a piece of: what pays by default depends on how long it is."""

STUDENT_SEED = 2


@dataclass(frozen=True)
class Bench:
    """What our loops on a case have in common.

    Attributes:
        case: what to measure.
        material: of the case, on the CPU.
        train: its images and labels, on the device.
        device: where to train.
        compile: networks; see ``training.Compile``. "auto" decides as for a training as long as :data:`RUN`.
    """

    case: Case
    material: RunContext
    train: ImageSet
    device: torch.device
    compile: Compile

    @property
    def steps(self) -> int:
        """Of the training that is measured a piece of."""
        return RUN.epochs * steps_in_epoch(len(self.train), self.case.batch_size)


def is_compiled(bench: Bench, role: Literal["student", "teacher"], network: nn.Module) -> bool:
    """Whether a network is compiled in a training as long as :data:`RUN`: the rule that runs have by default."""
    if bench.compile in ("never", "always"):
        return bench.compile == "always"
    pair = bench.case.pair
    images = torch.zeros(bench.case.batch_size, pair.channels, pair.side, pair.side, device=bench.device)
    passes = FORWARD_AND_BACKWARD if role == "student" else 1
    flops = passes * forward_flops(network, images) * bench.steps
    return compiling_pays(role, flops=flops, steps=bench.steps, device=bench.device)


class OurLoop:
    """A variant of our loop.

    Args:
        bench: what to measure.
        variant: not the baseline.
        teacher: None for a student alone.

    Attributes:
        means: by which the students compute: precision, and whether compiled.
        warned: what Python warned of meanwhile, such as a network that could not be compiled.
    """

    def __init__(self, bench: Bench, variant: Variant, teacher: Teacher | None) -> None:
        self._device = bench.device
        self._epochs = _epochs(bench, variant, teacher)
        self.means = _means(bench, variant)
        self.warned: list[str] = []

    def round(self) -> float:
        """Seconds for an epoch of the case's batches; the first includes whatever is settled or compiled."""
        with deterministic(), warnings.catch_warnings(record=True) as caught:  # deterministic as every run of ours is
            seconds = seconds_for(lambda: next(self._epochs), self._device)
        self.warned += [told for told in (str(one.message) for one in caught) if told not in self.warned]
        return seconds

    def close(self) -> None:
        """Let go of what the loop holds on the device."""
        self._epochs = iter(())


def _means(bench: Bench, variant: Variant) -> str:
    if variant.fp32:
        return "fp32"
    precision = resolve_precision("auto", bench.device)
    if bench.compile == "graph":
        return f"{precision}, captured"
    student = _pupil(bench.case, "none", 0).student.to(bench.device)
    return f"{precision}, compiled" if is_compiled(bench, "student", student) else precision


def _epochs(bench: Bench, variant: Variant, teacher: Teacher | None) -> Iterator[list[EpochRecord]]:
    case, recipe_name = bench.case, "none" if teacher is None else "kd"
    length = {"batch_size": case.batch_size, "epochs": max(1, bench.steps // case.batches)}
    return fit(
        [_pupil(case, recipe_name, number) for number in range(variant.students)],
        bench.train,
        bench.material.positions[: case.images],
        RULE,
        case.pair.normalization,
        RUN.model_copy(update=length),
        teacher=teacher,
        precision="fp32" if variant.fp32 else "auto",
        compile="never" if variant.fp32 else bench.compile,
    )


def _pupil(case: Case, recipe_name: str, number: int) -> Student:
    pair = case.pair
    student = seeded_model(pair.student, channels=pair.channels, classes=pair.classes, seed=STUDENT_SEED + number)
    return Student(f"{recipe_name}-{number}", student, DistillationLoss(**recipe(recipe_name)))
