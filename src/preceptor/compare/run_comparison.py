"""A comparison from its plan to its result; called again after a stop, or with a larger plan, it goes on."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import yaml

from preceptor.compare.answers import measured_images
from preceptor.compare.assemble import assemble
from preceptor.compare.comparison import Cell, Comparison, cells
from preceptor.compare.comparison_csv import save_students
from preceptor.compare.comparison_result import RESULT_FILE, ComparisonResult
from preceptor.compare.launchers import Launcher, collect, watching
from preceptor.compare.parallel import processes
from preceptor.compare.passes import Pass, divide, epochs_done, largest_pass, train_pass
from preceptor.errors import InputError, Interrupted
from preceptor.files import check_writable, write_whole
from preceptor.result_files import write_result
from preceptor.run.doctor import Finding, ProblemsFound, quick_look
from preceptor.run.folder import read_run
from preceptor.run.resume import run_state
from preceptor.run.set_up import RunContext, set_up_together, settings_digest
from preceptor.run.together import pass_of
from preceptor.training.checkpoint import SECONDS_BETWEEN
from preceptor.training.device import choose_device, deterministic

PLAN_FILE = "plan.yaml"


class ComparisonProgress(Protocol):
    """An observer of a comparison's progress."""

    def start(self, name: str, images: int) -> None:
        """Training begins; each of ``images`` is trained on by all students of its pass."""

    def advance(self, images: int) -> None:
        """``images`` more have been trained on."""

    def finished(self, done: Pass, students: int) -> None:
        """The students of a pass are trained; ``students`` are all of the comparison."""


def run_comparison(
    plan: Comparison,
    out: Path,
    *,
    jobs: int | None = None,
    launcher: Launcher = processes,
    checkpoint_seconds: float = SECONDS_BETWEEN,
    on_finding: Callable[[Finding], None] = lambda finding: None,
    force: bool = False,
    progress: ComparisonProgress | None = None,
) -> ComparisonResult:
    """Train every student of a comparison, measure each once after its last epoch, and write the result.

    Students of one seed and teacher are taught together, as many as fit into memory, and seeds run side by side with
    one thread each. The bits of every run are those of ``preceptor distill`` or ``train`` with its ``run.yaml`` on one
    thread, whatever else is compared, as long as no network is compiled.

    Args:
        plan: see :func:`~preceptor.compare.comparison.comparison`.
        out: folder, empty or absent, or of a comparison: complete runs of the same settings are kept, stopped ones go
            on, missing ones are trained.
        jobs: passes at a time; None: as the launcher sees fit; of processes 1 on a GPU, else by the number of cores.
        launcher: where passes are trained; see :mod:`preceptor.compare.launchers`. Default: processes of this machine.
        checkpoint_seconds: between two checkpoints of each run. Default 60.
        on_finding: called, before the first step, with what the doctor's quick check finds, each once.
        force: train in spite of a problem that it finds. Default False.
        progress: notified of progress.

    Raises:
        ProblemsFound: an InputError too: the quick check found problems, and ``force`` is false.
        InputError: a plan that does not fit the data, or a folder of something else.
        MachineError: no such device, the folder cannot be written, or the process or job of a pass ended before it was
            done; the other passes are trained first.
        Interrupted: by Ctrl-C or SIGTERM, with checkpoints.
    """
    planned = list(cells(plan))
    _check_folder(out, planned)
    left = [cell for cell in planned if run_state(out / cell.place) in ("absent", "stopped")]
    with deterministic(), ExitStack() as stack:
        contexts = _look(planned, left, stack, on_finding, force)
        check_writable(out)
        write_whole({out / PLAN_FILE: yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False).encode()})
        if left:
            _train(left, out, contexts, jobs, launcher, checkpoint_seconds, progress, len(planned))
        by_teacher = {cell.teacher: context for cell, context in contexts if cell.teacher is not None}
        result = assemble(plan, planned, out, by_teacher)
    write_result(result, out / RESULT_FILE)
    save_students(result, out)
    return result


def _check_folder(out: Path, planned: Sequence[Cell]) -> None:
    """Refuse a folder of something else, and a run of other settings where one of the plan's belongs."""
    if out.exists() and not (out / PLAN_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: not empty, and no comparison: choose another --out")
    for cell in planned:
        folder = out / cell.place
        if run_state(folder) != "absent":
            before, _ = read_run(folder)
            if settings_digest(before) != settings_digest(cell.config.model_dump(mode="json", exclude_none=True)):
                raise InputError(f"{folder}: holds a run of other settings: choose another --out, or remove that run")


def _look(
    planned: Sequence[Cell],
    left: Sequence[Cell],
    stack: ExitStack,
    on_finding: Callable[[Finding], None],
    force: bool,
) -> list[tuple[Cell, RunContext]]:
    """Set up a run of every recipe and teacher, and look at those that are left, before anything is trained."""
    groups: dict[str | None, list[Cell]] = {}
    for cell in planned:
        group = groups.setdefault(cell.teacher, [])
        if all(cell.recipe != other.recipe for other in group) and (
            not group or pass_of(cell.config) == pass_of(group[0].config)
        ):
            group.append(cell)
    contexts = []
    seen = set()
    problems = None
    for group in groups.values():
        together = set_up_together([cell.config for cell in group], choose_device(group[0].config.device))
        measured_images(group[0].config, together[0].dataset)  # something to measure on, or it ends here
        for cell, context in zip(group, together, strict=True):
            stack.enter_context(closing(context))
            contexts.append((cell, context))
            if not any((other.recipe, other.teacher) == (cell.recipe, cell.teacher) for other in left):
                continue
            diagnosis = quick_look(context)
            for finding in diagnosis.worth_a_look:
                if finding.name == "recipe":  # of several it is to be known which
                    finding = replace(finding, name=f"recipe {cell.recipe}")
                if (cell.teacher, finding.line()) not in seen:
                    seen.add((cell.teacher, finding.line()))
                    on_finding(finding)
            if diagnosis.of("problem"):
                problems = problems or diagnosis
    if problems is not None and not force:
        raise ProblemsFound(problems)
    return contexts


def _train(
    left: Sequence[Cell],
    out: Path,
    contexts: Sequence[tuple[Cell, RunContext]],
    jobs: int | None,
    launcher: Launcher,
    checkpoint_seconds: float,
    progress: ComparisonProgress | None,
    students: int,
) -> None:
    _, context = contexts[0]
    device, dataset = context.train.images.device, context.dataset
    if jobs is None and launcher is processes and device.type == "cuda":
        jobs = 1
    largest = largest_pass(left, dataset.channels, dataset.classes, jobs or 2, device)
    passes = divide(left, largest)
    images = len(context.index)
    report = (
        (lambda images: None)
        if progress is None
        else watching(progress.advance, lambda: images * sum(epochs_done(one, out) for one in passes))
    )
    if progress is not None:
        progress.start("comparison", sum(group[0].config.training.epochs * images for group in passes))
    calls = [partial(train_pass, one, out, checkpoint_seconds) for one in passes]
    try:
        collect(
            launcher(calls, jobs, report),
            lambda number, _: None if progress is None else progress.finished(passes[number], students),
        )
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(f"stopped, with checkpoints: give the same command again to go on ({out})") from error
