"""Measures variants in turns, so that whatever else the machine does meets them alike."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

from preceptor.data import ImageSet
from preceptor.models import seeded_model
from preceptor.speed.baseline_loop import PeerLoop
from preceptor.speed.machine import this_machine
from preceptor.speed.our_loop import RUN, STUDENT_SEED, Bench, OurLoop
from preceptor.speed.our_teachers import TEACHER_SEED, Teachers
from preceptor.speed.pairs import Case, made_up
from preceptor.speed.result import CaseResult, Row, SpeedResult, Spread, times_as_fast
from preceptor.speed.variants import ALONE, PEER, Variant, reason_to_leave_out
from preceptor.teachers import NetworkTeacher
from preceptor.training import Compile
from preceptor.training.device import deterministic

WARM_UP_ROUNDS = 2
"""Before those that count: the first compiles, the second finds everything in place."""


class Loop(Protocol):
    """What takes part.

    Attributes:
        means: by which the student computes.
        warned: what there is to be said of it.
    """

    means: str
    warned: list[str]

    def round(self) -> float:
        """Do a round's steps; the seconds it took."""

    def close(self) -> None:
        """Let go of everything."""


class Callback(Protocol):
    """Told how measuring goes."""

    def begin_case(self, name: str, images: int) -> None:
        """A case begins; so many images will have gone through it at its end."""

    def advance(self, images: int) -> None:
        """So many more have."""


class Unwatched:
    """A watcher that does nothing."""

    def begin_case(self, name: str, images: int) -> None:
        """Nothing."""

    def advance(self, images: int) -> None:
        """Nothing."""


def in_turns(
    loops: Mapping[str, Loop], rounds: int, told: Callable[[str], None], warm_up: int = WARM_UP_ROUNDS
) -> dict[str, list[float]]:
    """Seconds of every round of every loop, those of the warm-up first.

    In every round each loop has its turn; who begins changes from round to round.
    """
    names = list(loops)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(loops[name].round())
            told(name)
    return seconds


def measure(
    cases: Sequence[Case],
    variants: Sequence[Variant],
    *,
    rounds: int,
    device: torch.device,
    compile: Compile = "auto",  # noqa: A002
    command: str = "",
    watcher: Callback | None = None,
) -> SpeedResult:
    """Measure all variants on all cases.

    Args:
        cases: pairs at batch sizes.
        variants: the baseline among them.
        rounds: that count, at least 1; 5 or more give quartiles a meaning.
        device: where to train.
        compile: networks; see ``training.Compile``.
        command: that makes the result again.
        watcher: told about progress.
    """
    started = time.perf_counter()
    with deterministic():  # what it sets is read at the first matrix product, which may be the baseline
        machine = this_machine(device)
    watcher = watcher or Unwatched()
    found = [_measure_case(case, variants, rounds, device, compile, watcher) for case in cases]
    return SpeedResult(
        command=command,
        machine=machine,
        compile=compile,
        run_epochs=RUN.epochs,
        cases=found,
        seconds=time.perf_counter() - started,
    )


def _measure_case(
    case: Case,
    variants: Sequence[Variant],
    rounds: int,
    device: torch.device,
    compile: Compile,  # noqa: A002
    watcher: Callback,
) -> CaseResult:
    reasons = {variant.name: reason_to_leave_out(variant, device) for variant in variants}
    left = [variant for variant in variants if reasons[variant.name] is None]
    watcher.begin_case(str(case), case.images * len(left) * (WARM_UP_ROUNDS + rounds))
    material = made_up(case)
    train = ImageSet(material.train.images.to(device), material.train.labels.to(device))
    bench = Bench(case, material, train, device, compile)
    with tempfile.TemporaryDirectory(prefix="preceptor-bench-") as folder:
        teachers = Teachers(bench, Path(folder))
        loops = {variant.name: _loop(variant, bench, teachers) for variant in left}
        try:
            seconds = in_turns(loops, rounds, lambda _: watcher.advance(case.images))
        finally:
            for loop in loops.values():
                loop.close()
            teachers.close()
    rows = [_row(variant, bench, teachers, loops[variant.name], seconds) for variant in left]
    return CaseResult(
        pair=case.pair.name,
        image=(case.pair.channels, case.pair.side, case.pair.side),
        classes=case.pair.classes,
        batch_size=case.batch_size,
        batches=case.batches,
        rounds=rounds,
        rows=rows,
        left_out={name: reason for name, reason in reasons.items() if reason is not None},
    )


def _loop(variant: Variant, bench: Bench, teachers: Teachers) -> Loop:
    if variant.source != "peer":
        return OurLoop(bench, variant, teachers.of(variant))
    pair = bench.case.pair
    teacher, student = (
        seeded_model(name, channels=pair.channels, classes=pair.classes, seed=seed)
        for name, seed in ((pair.teacher, TEACHER_SEED), (pair.student, STUDENT_SEED))
    )
    return PeerLoop(bench.case, bench.material, teacher, student, bench.device)


def _row(variant: Variant, bench: Bench, teachers: Teachers, loop: Loop, seconds: dict[str, list[float]]) -> Row:
    counted = {name: taken[WARM_UP_ROUNDS:] for name, taken in seconds.items()}
    own, students = counted[variant.name], variant.students
    teacher = None if variant.source == "peer" else teachers.of(variant)
    return Row(
        variant=variant.name,
        about=variant.about,
        student=loop.means,
        teacher=str(teacher.report) if isinstance(teacher, NetworkTeacher) else None,
        students=students,
        seconds=own,
        first_seconds=seconds[variant.name][0],
        images_per_second=Spread.of([bench.case.images * students / taken for taken in own]),
        to_peer=times_as_fast(own, students, counted[PEER]),
        to_alone=times_as_fast(own, students, counted[ALONE]) if ALONE in counted else None,
        notes=loop.warned,
    )
