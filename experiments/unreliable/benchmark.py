"""The benchmark from its settings to its result: teachers, then setting by setting, seeds side by side."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from experiments.unreliable.preparation import Prepared, prepare
from experiments.unreliable.result import BenchmarkResult, SettingResult, setting_result
from experiments.unreliable.running import RATES, RECIPES, TrainedStudent, teach
from experiments.unreliable.settings import Setting
from experiments.unreliable.sources import SOURCES
from experiments.unreliable.teachers import TEACHERS, TeacherSpec, train_teacher
from preceptor.compare.parallel import Counter, run_seeds
from preceptor.result_files import write_result
from preceptor.run import versions
from preceptor.threads import one_thread

read_source = cache(lambda name: SOURCES[name]())
"""A source by name, read once a process."""


@dataclass(frozen=True)
class _Teachers:
    """Trains one of several teachers, in a process of its own."""

    specs: tuple[tuple[str, TeacherSpec], ...]
    out: Path

    def __call__(self, number: int, counter: Counter) -> None:
        name, spec = self.specs[number]
        started = time.perf_counter()
        train_teacher(name, spec, read_source(spec.source), self.out)
        _tell(f"teacher {name}: {time.perf_counter() - started:.0f} s")


@dataclass(frozen=True)
class _Students:
    """Teaches the students of one seed, in a process of its own."""

    prepared: tuple[Prepared, ...]
    recipes: tuple[str, ...]
    rates: tuple[float, ...]
    out: Path

    def __call__(self, number: int, counter: Counter) -> list[TrainedStudent]:
        own = self.prepared[number]
        return teach(own, self.recipes, self.rates, self.out / own.setting.name / f"seed-{own.seed}")


def run_benchmark(
    settings: Sequence[Setting],
    out: Path,
    *,
    teachers: Mapping[str, TeacherSpec] = TEACHERS,
    seeds: Sequence[int] = (0, 1, 2),
    recipes: Sequence[str] = RECIPES,
    rates: Sequence[float] = RATES,
    jobs: int | None = None,
    result: Path | None = None,
) -> BenchmarkResult:
    """Prepare and run settings; the result file is written after every one.

    Args:
        settings: to run, in order.
        out: folder of teachers, prepared settings and students.
        teachers: by name, those of the settings among them.
        seeds: of students' images, weights and order; teachers are the same for all.
        recipes: by name, `none` and `kd` among them: the others are compared with these.
        rates: learning rates, of which held-out images choose; the first of equals.
        jobs: processes of one thread each at a time; None is :func:`~preceptor.compare.parallel.default_jobs`.
        result: file to write; None is ``result.json`` in the folder.
    """
    needed = tuple((name, spec) for name, spec in teachers.items() if name in {one.teacher for one in settings})
    if needed:
        run_seeds(_Teachers(needed, out / "teachers"), range(len(needed)), _ignored, jobs)
    done: list[SettingResult] = []
    started = time.perf_counter()
    for setting in settings:
        source = read_source(setting.source)
        make = partial(prepare, source=source, teachers=out / "teachers", out=out / "settings")
        with one_thread():  # as students are trained: the outputs' bits may depend on it
            prepared = tuple(make(setting, seed) for seed in seeds)
        students = _Students(prepared, tuple(recipes), tuple(rates), out / "students")
        trained = run_seeds(students, range(len(seeds)), _ignored, jobs)
        done.append(setting_result(setting, prepared, trained, recipes, rates))
        content = BenchmarkResult(seeds=list(seeds), rates=list(rates), settings=done, versions=versions())
        write_result(content, result or out / "result.json")
        minutes = (time.perf_counter() - started) / 60
        left = minutes / len(done) * (len(settings) - len(done))  # settings are sized to cost about the same
        _tell(
            f"{setting.name}: {len(done)} of {len(settings)} settings in {minutes:.0f} min, about {left:.0f} min left"
        )
    return content


def _ignored(images: int) -> None:
    """Progress is told by setting."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
