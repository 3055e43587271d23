"""A protocol run: teachers that are not there yet, then a comparison of recipes for every pair."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from preceptor.compare.comparison import comparison
from preceptor.compare.comparison_result import ArmResult, ComparisonResult
from preceptor.compare.run_comparison import ComparisonProgress, run_comparison
from preceptor.config import FrozenModel
from preceptor.errors import InputError
from preceptor.protocols.protocol import Pair, Protocol
from preceptor.result_files import write_result
from preceptor.run import resolve, run, versions
from preceptor.run.folder import read_run
from preceptor.run.resume import resume, run_state
from preceptor.training import Callback

RESULT_FILE = "reproduced.json"
LABELS_ALONE = "none"


class RecipeResult(FrozenModel):
    """A recipe beside what was published; accuracies after the last epoch, 0 to 1.

    Attributes:
        recipe: its name.
        accuracy: one a seed.
        mean, deviation: over the seeds.
        published: as reported, 0 to 1; None where nothing was found.
    """

    recipe: str
    accuracy: list[float]
    mean: float
    deviation: float | None
    published: float | None


class PairResult(FrozenModel):
    """A pair: its teacher, one for all seeds, and the recipes."""

    teacher: str
    student: str
    teacher_accuracy: float | None
    teacher_published: float | None
    recipes: list[RecipeResult]


class ProtocolResult(FrozenModel):
    """The result file; complete pairs alone are in it."""

    protocol: str
    caveats: list[str]
    pairs: list[PairResult]
    versions: dict[str, str]


def run_protocol(
    name: str,
    protocol: Protocol,
    out: Path,
    *,
    pairs: Sequence[str] = (),
    recipes: Sequence[str] = (),
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    teacher_bar: Callable[[str], AbstractContextManager[Callback | None]] = lambda name: nullcontext(),
    pair_bar: Callable[[Path], AbstractContextManager[ComparisonProgress | None]] = lambda folder: nullcontext(),
) -> ProtocolResult:
    """Train what is missing and write the result file after every pair; called again, it goes on.

    Args:
        name: of the protocol, for the result file.
        protocol: what to do.
        out: folder of teachers (``teachers/NETWORK``) and comparisons (``TEACHER-STUDENT``).
        pairs: names of those to run. Default all.
        recipes: beside labels alone. Default the protocol's.
        seeds: default the protocol's.
        settings: of all runs, before all others: where the data are, the device.
        jobs: passes at a time; see :func:`~preceptor.compare.run_comparison.run_comparison`.
        teacher_bar: a callback of a teacher's training, by its name, within a context.
        pair_bar: the same of a comparison, by its folder.

    Raises:
        InputError: an unknown pair or recipe, settings that do not fit, or a folder that holds runs of others.
        MachineError: as of a run.
        Interrupted: by Ctrl-C or SIGTERM, with checkpoints.
    """
    shared, done = {**protocol.run, **(settings or {})}, []
    for pair in protocol.chosen(pairs):
        teacher, students = _teacher(protocol, pair, shared, out, teacher_bar), out / pair.name
        names = (LABELS_ALONE, *(recipes or protocol.recipes))
        plan = comparison(
            {one: {"recipe": one, **pair.settings, **pair.recipes.get(one, {})} for one in names},
            run={**shared, "student": pair.student},
            teachers=[teacher],
            seeds=protocol.seeds if seeds is None else seeds,
            baseline=LABELS_ALONE,
        )
        with pair_bar(students) as progress:
            done.append(pair_result(pair, run_comparison(plan, students, jobs=jobs, progress=progress)))
        content = ProtocolResult(protocol=name, caveats=list(protocol.caveats), pairs=done, versions=versions())
        write_result(content, out / RESULT_FILE)
    return content


def pair_result(pair: Pair, result: ComparisonResult) -> PairResult:
    """A comparison beside what was published for the pair."""
    return PairResult(
        teacher=pair.teacher,
        student=pair.student,
        teacher_accuracy=result.teachers[0].accuracy if result.teachers else None,
        teacher_published=_share(pair.published.get("teacher")),
        recipes=[_recipe_result(pair, arm) for arm in result.arms],
    )


def _recipe_result(pair: Pair, arm: ArmResult) -> RecipeResult:
    reported = pair.published.get("student" if arm.recipe == LABELS_ALONE else arm.recipe)
    measured = arm.accuracy
    return RecipeResult(
        recipe=arm.recipe,
        accuracy=measured.values,
        mean=measured.mean,
        deviation=measured.deviation,
        published=_share(reported),
    )


def _share(per_cent: float | None) -> float | None:
    return None if per_cent is None else round(per_cent / 100, 6)


def _teacher(
    protocol: Protocol,
    pair: Pair,
    shared: Mapping[str, Any],
    out: Path,
    bar: Callable[[str], AbstractContextManager[Callback | None]],
) -> Path | str:
    """The folder of a pair's teacher, trained if need be; or the name of a network with pretrained weights."""
    if protocol.pretrained_teachers:
        return pair.teacher
    folder = out / "teachers" / pair.teacher
    config = resolve({**shared, "student": pair.teacher}, protocol.teacher.items())
    state = run_state(folder)
    if state != "absent":
        before, _ = read_run(folder)
        if resolve(before) != config:
            raise InputError(f"{folder}: holds a teacher of other settings: choose another --out, or remove it")
    if state != "complete":
        with bar(pair.teacher) as callback:
            callbacks = [] if callback is None else [callback]
            run(config, folder, callbacks) if state == "absent" else resume(folder, callbacks)
    return folder
