"""Our loop and its teachers on a case, driven as any user would, an epoch a round."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from experiments.speed.cases import AUGMENTATION, Case, RandomData, Variant
from experiments.speed.machine import seconds_for
from experiments.training import new_student, trainer_of
from preceptor.data import ImageSet
from preceptor.models import seeded_model
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import (
    PRESETS,
    Callback,
    Compile,
    EpochRecord,
    Student,
    Trainer,
    resolve_precision,
    steps_in_epoch,
)
from preceptor.training.compile import FORWARD_AND_BACKWARD, compiling_pays, forward_flops
from preceptor.training.device import deterministic

RUN = PRESETS["standard"]
"""The training of which a bench measures a part: which defaults pay depends on its length."""

STUDENT_SEED, TEACHER_SEED = 2, 1
_SAMPLES_AT_A_TIME = 64


@dataclass(frozen=True)
class Bench:
    """What the variants of our loop on a case share.

    Attributes:
        case: what to measure.
        data: of the case, on the CPU.
        train: its images and labels, on the device.
        device: where to train.
        compile: networks; see ``training.Compile``. "auto" decides as for a training as long as :data:`RUN`.
    """

    case: Case
    data: RandomData
    train: ImageSet
    device: torch.device
    compile: Compile

    @property
    def steps(self) -> int:
        """Of the training of which a part is measured."""
        return RUN.epochs * steps_in_epoch(len(self.train), self.case.batch_size)

    def is_compiled(self, role: Literal["student", "teacher"], network: nn.Module) -> bool:
        """Whether a network is compiled in a training as long as :data:`RUN`: the default rule of runs."""
        if self.compile in ("never", "always"):
            return self.compile == "always"
        pair = self.case.pair
        images = torch.zeros(self.case.batch_size, pair.channels, pair.side, pair.side, device=self.device)
        passes = FORWARD_AND_BACKWARD if role == "student" else 1
        flops = passes * forward_flops(network, images) * self.steps
        return compiling_pays(role, flops=flops, steps=self.steps, device=self.device)

    def student(self, recipe_name: str, number: int) -> Student:
        """A student of the case's architecture; ``number`` sets its weights."""
        pair, name = self.case.pair, f"{recipe_name}-{number}"
        shape = {"channels": pair.channels, "classes": pair.classes}
        return new_student(recipe_name, pair.student, seed=STUDENT_SEED + number, name=name, **shape)


class _EpochIsOver(Exception):
    pass


class _StopAfterEpoch(Callback):
    """Ends ``fit`` after an epoch; the next call goes on with the epoch that follows, compiled code and all."""

    def on_epoch_end(self, trainer: Trainer, records: list[EpochRecord]) -> None:
        raise _EpochIsOver


class OurLoop:
    """A variant of our loop.

    Args:
        bench: what to measure.
        variant: not the baseline.
        teacher: None for a student alone.

    Attributes:
        precision: of the students, and whether they are compiled.
        warnings: of Python meanwhile, such as a network that could not be compiled.
    """

    def __init__(self, bench: Bench, variant: Variant, teacher: Teacher | None) -> None:
        self._device = bench.device
        self._trainer: Trainer | None = _trainer(bench, variant, teacher)
        self.precision = _precision(bench, variant)
        self.warnings: list[str] = []

    def round(self) -> float:
        """Seconds for an epoch of the case's batches; the first includes compiling."""
        with deterministic(), warnings.catch_warnings(record=True) as caught:  # deterministic as every run of ours is
            seconds = seconds_for(self._train_epoch, self._device)
        for message in (str(one.message) for one in caught):
            if message not in self.warnings:
                self.warnings.append(message)
        return seconds

    def close(self) -> None:
        """Free what the loop holds on the device."""
        self._trainer = None

    def _train_epoch(self) -> None:
        assert self._trainer is not None, "the loop is open"
        with suppress(_EpochIsOver):
            self._trainer.fit()


def _precision(bench: Bench, variant: Variant) -> str:
    if variant.fp32:
        return "fp32"
    precision = resolve_precision("auto", bench.device)
    if bench.compile == "graph":
        return f"{precision}, captured"
    network = bench.student("none", 0).network.to(bench.device)
    return f"{precision}, compiled" if bench.is_compiled("student", network) else precision


def _trainer(bench: Bench, variant: Variant, teacher: Teacher | None) -> Trainer:
    case, recipe_name = bench.case, "none" if teacher is None else "kd"
    length = {"batch_size": case.batch_size, "epochs": max(1, bench.steps // case.batches)}
    return trainer_of(
        [bench.student(recipe_name, number) for number in range(variant.students)],
        bench.train,
        bench.data.index[: case.images],
        AUGMENTATION,
        case.pair.normalization,
        RUN.model_copy(update=length),
        callbacks=[_StopAfterEpoch()],
        teacher=teacher,
        precision="fp32" if variant.fp32 else "auto",
        compile="never" if variant.fp32 else bench.compile,
    )


class Teachers:
    """The teachers of a case, made at first use and shared by the variants that want the same one.

    Args:
        bench: what is measured.
        folder: for a cache.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        self._live = cache(self._optimized)
        self._cache: LogitCache | None = None

    def of(self, variant: Variant) -> Teacher | None:
        """The teacher of a variant; None for a student alone."""
        match variant.source:
            case "live":
                return self._live(variant.bf16_teacher, variant.fp32)
            case "cache":
                self._cache = self._cache or filled_cache(self._bench, self._folder)
                return self._cache
            case _:
                return None

    def close(self) -> None:
        """Close the cache's files."""
        if self._cache is not None:
            self._cache.close()

    def _optimized(self, bf16: bool | None, eager: bool) -> NetworkTeacher:
        bench, pair = self._bench, self._bench.case.pair
        network = seeded_model(pair.teacher, channels=pair.channels, classes=pair.classes, seed=TEACHER_SEED)
        teacher = NetworkTeacher(network, pair.normalization, bench.device, classes=pair.classes)
        return teacher.optimize_for_inference(
            bf16=bf16,
            compile=not eager and bench.is_compiled("teacher", teacher.network),
            batch_size=bench.case.batch_size,
            image_size=(pair.side, pair.side),
        )


class _RandomTeacher:
    """Random logits, to fill a cache quickly."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._generator = torch.Generator().manual_seed(TEACHER_SEED)

    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        return TeacherOutput(torch.randn(len(index), self.classes, generator=self._generator))


def filled_cache(bench: Bench, folder: Path) -> LogitCache:
    """A cache as large as the case's data set, with random logits for every view of the images in a round.

    Elsewhere its files have holes, so that it takes little room on the disk.
    """
    case, train = bench.case, bench.data.train
    layout = Layout(samples=len(train), views=AUGMENTATION.count, classes=case.pair.classes)
    names = tuple(f"class {number}" for number in range(case.pair.classes))
    key = CacheKey.of("random", "random", case.pair.normalization, AUGMENTATION, names)
    logits = open_cache(folder, key, layout, _RandomTeacher(case.pair.classes))
    views = torch.arange(AUGMENTATION.count)
    for samples in bench.data.index[: case.images].split(_SAMPLES_AT_A_TIME):
        index = samples.repeat_interleave(AUGMENTATION.count)
        images = train.images[:1].expand(len(index), -1, -1, -1)  # the random teacher looks at none
        logits.query_and_store(images, index, views.repeat(len(samples)))
    return logits
