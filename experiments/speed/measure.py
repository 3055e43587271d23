"""Variants measured in turns, so that other load on the machine affects them alike."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

from experiments.speed.baseline_loop import BaselineLoop
from experiments.speed.cases import ALONE, BASELINE, Case, Variant, random_data
from experiments.speed.machine import this_machine
from experiments.speed.our_loop import RUN, STUDENT_SEED, TEACHER_SEED, Bench, OurLoop, Teachers
from experiments.speed.result import CaseResult, Row, SpeedResult, Spread, speedup
from preceptor.data import ImageSet
from preceptor.models import seeded_model
from preceptor.teachers import NetworkTeacher
from preceptor.training import Compile
from preceptor.training.device import deterministic

WARM_UP_ROUNDS = 2
"""Before those that count: the first compiles, the second finds everything in place."""


class Loop(Protocol):
    """A loop to measure.

    Attributes:
        precision: of the student, and whether it is compiled.
        warnings: to report of it.
    """

    precision: str
    warnings: list[str]

    def round(self) -> float:
        """Do a round's steps; the seconds it took."""

    def close(self) -> None:
        """Free everything."""


class BenchProgress(Protocol):
    """An observer of the measurement's progress, for example a bar."""

    def start(self, name: str, images: int) -> None:
        """A case begins that will process ``images``."""

    def advance(self, images: int) -> None:
        """``images`` more are done."""


def in_turns(
    loops: Mapping[str, Loop], rounds: int, done: Callable[[str], None], warm_up: int = WARM_UP_ROUNDS
) -> dict[str, list[float]]:
    """Seconds of every round of every loop, those of the warm-up first.

    In every round each loop has its turn; the first to go changes from round to round.
    """
    names = list(loops)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(loops[name].round())
            done(name)
    return seconds


def measure(
    cases: Sequence[Case],
    variants: Sequence[Variant],
    *,
    rounds: int,
    device: torch.device,
    compile: Compile = "auto",  # noqa: A002
    command: str = "",
    progress: BenchProgress | None = None,
) -> SpeedResult:
    """Measure all variants on all cases.

    Args:
        cases: pairs at batch sizes.
        variants: with the baseline.
        rounds: that count, at least 1; quartiles need 5 or more.
        device: where to train.
        compile: networks; see ``training.Compile``.
        command: that makes the result again.
        progress: notified of progress.
    """
    started = time.perf_counter()
    with deterministic():  # its settings are read at the first matrix product, which may be the baseline's
        machine = this_machine(device)
    results = []
    for case in cases:
        if progress is not None:
            count = sum(variant.reason_to_leave_out(device) is None for variant in variants)
            progress.start(str(case), case.images * count * (WARM_UP_ROUNDS + rounds))
        results.append(_measure_case(case, variants, rounds, device, compile, progress))
    return SpeedResult(
        command=command,
        machine=machine,
        compile=compile,
        run_epochs=RUN.epochs,
        cases=results,
        seconds=time.perf_counter() - started,
    )


def _measure_case(
    case: Case,
    variants: Sequence[Variant],
    rounds: int,
    device: torch.device,
    compile: Compile,  # noqa: A002
    progress: BenchProgress | None,
) -> CaseResult:
    reasons = {variant.name: variant.reason_to_leave_out(device) for variant in variants}
    measured = [variant for variant in variants if reasons[variant.name] is None]
    data = random_data(case)
    train = ImageSet(data.train.images.to(device), data.train.labels.to(device))
    bench = Bench(case, data, train, device, compile)
    with tempfile.TemporaryDirectory(prefix="preceptor-bench-") as folder:
        teachers = Teachers(bench, Path(folder))
        loops = {variant.name: _loop(variant, bench, teachers) for variant in measured}
        try:
            seconds = in_turns(loops, rounds, lambda _: progress.advance(case.images) if progress else None)
        finally:
            for loop in loops.values():
                loop.close()
            teachers.close()
    return CaseResult(
        pair=case.pair.name,
        image=(case.pair.channels, case.pair.side, case.pair.side),
        classes=case.pair.classes,
        batch_size=case.batch_size,
        batches=case.batches,
        rounds=rounds,
        rows=[_row(variant, bench, teachers, loops[variant.name], seconds) for variant in measured],
        left_out={name: reason for name, reason in reasons.items() if reason is not None},
    )


def _loop(variant: Variant, bench: Bench, teachers: Teachers) -> Loop:
    if variant.source != "baseline":
        return OurLoop(bench, variant, teachers.of(variant))
    pair = bench.case.pair
    teacher, student = (
        seeded_model(name, channels=pair.channels, classes=pair.classes, seed=seed)
        for name, seed in ((pair.teacher, TEACHER_SEED), (pair.student, STUDENT_SEED))
    )
    return BaselineLoop(bench.case, bench.data, teacher, student, bench.device)


def _row(variant: Variant, bench: Bench, teachers: Teachers, loop: Loop, seconds: dict[str, list[float]]) -> Row:
    counted = {name: rounds[WARM_UP_ROUNDS:] for name, rounds in seconds.items()}
    own, students = counted[variant.name], variant.students
    teacher = None if variant.source == "baseline" else teachers.of(variant)
    return Row(
        variant=variant.name,
        about=variant.about,
        student=loop.precision,
        teacher=str(teacher.report) if isinstance(teacher, NetworkTeacher) else None,
        students=students,
        seconds=own,
        first_seconds=seconds[variant.name][0],
        images_per_second=Spread.of([bench.case.images * students / taken for taken in own]),
        to_baseline=speedup(own, students, counted[BASELINE]),
        to_alone=speedup(own, students, counted[ALONE]) if ALONE in counted else None,
        notes=loop.warnings,
    )
