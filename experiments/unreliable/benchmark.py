"""The benchmark from its settings to its result: teachers, then setting by setting, seeds side by side."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from experiments.unreliable.preparation import Prepared, prepare
from experiments.unreliable.result import BenchmarkResult, SettingResult, setting_result
from experiments.unreliable.running import RATES, RECIPES, Rates, TrainedStudent, choose_rates, teach
from experiments.unreliable.settings import TUNED_ON, Setting
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
    rates: Rates
    out: Path

    def __call__(self, number: int, counter: Counter) -> list[TrainedStudent]:
        own = self.prepared[number]
        return teach(own, self.rates, self.out / own.setting.name / f"seed-{own.seed}")


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
        seeds: of students' images, weights and order; teachers are the same for all. Settings have further ones of
            their own (``more_seeds``), by which no learning rate is chosen.
        recipes: by name, `none` and `kd` among them: the others are compared with these.
        rates: learning rates, of which held-out images of some settings choose, see ``TUNED_ON``; the first of equals.
        jobs: processes of one thread each at a time; None is :func:`~preceptor.compare.parallel.default_jobs`.
        result: file to write; None is ``result.json`` in the folder.
    """
    needed = tuple((name, spec) for name, spec in teachers.items() if name in {one.teacher for one in settings})
    if needed:
        run_seeds(_Teachers(needed, out / "teachers"), range(len(needed)), _ignored, jobs)
    run = _Run(out, jobs)
    done: dict[str, SettingResult] = {}
    started = time.perf_counter()
    for source in dict.fromkeys(one.source for one in settings):
        of_source = [one for one in settings if one.source == source]
        tuned_on = [one for one in of_source if one.name in TUNED_ON] or of_source
        every = dict.fromkeys(recipes, tuple(rates))
        tuned = [run.students(one, every, seeds) for one in tuned_on]
        chosen = choose_rates([own for students in tuned for own in students], recipes, rates)
        at_chosen = {name: (rate,) for name, rate in chosen.items()}
        for setting in [*tuned_on, *(one for one in of_source if one not in tuned_on)]:
            own = [*seeds, *range(max(seeds) + 1, max(seeds) + 1 + setting.more_seeds)]
            students = run.students(setting, at_chosen, own)  # those trained already are only read
            done[setting.name] = setting_result(setting, run.prepared(setting, own), students, recipes, chosen)
            content = BenchmarkResult(
                seeds=list(seeds),
                rates=list(rates),
                settings=[done[one.name] for one in settings if one.name in done],
                versions=versions(),
            )
            write_result(content, result or out / "result.json")
            minutes = (time.perf_counter() - started) / 60
            _tell(f"{setting.name}: {len(done)} of {len(settings)} settings in {minutes:.0f} min")
    return content


@dataclass(frozen=True)
class _Run:
    """Where and how students are trained."""

    out: Path
    jobs: int | None

    def prepared(self, setting: Setting, seeds: Sequence[int]) -> tuple[Prepared, ...]:
        """A setting, prepared for every seed."""
        source = read_source(setting.source)
        make = partial(prepare, source=source, teachers=self.out / "teachers", out=self.out / "settings")
        with one_thread():  # as students are trained: the outputs' bits may depend on it
            return tuple(make(setting, seed) for seed in seeds)

    def students(self, setting: Setting, rates: Rates, seeds: Sequence[int]) -> list[list[TrainedStudent]]:
        """Students of a setting, one list a seed."""
        students = _Students(self.prepared(setting, seeds), rates, self.out / "students")
        return run_seeds(students, range(len(seeds)), _ignored, self.jobs)


def _ignored(images: int) -> None:
    """Progress is told by setting."""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
