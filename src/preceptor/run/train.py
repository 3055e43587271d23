"""One run: everything is checked, a student trained and measured, a run folder written."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from preceptor.errors import InputError
from preceptor.metrics import Metrics
from preceptor.models import save_student
from preceptor.models.features import ImageModel
from preceptor.models.store import save_weights
from preceptor.run.cache_plan import resolve_teacher
from preceptor.run.config import RunConfig
from preceptor.run.doctor import Diagnosis, Finding, ProblemsFound, quick_look
from preceptor.run.folder import (
    RunFolder,
    check_free,
)
from preceptor.run.lock import check_unheld
from preceptor.run.measuring import MetricsFiles, measure
from preceptor.run.open_run import CHECKPOINT_FOLDER, FAILURE_FOLDER, OpenRun, begin, held_for_a_run
from preceptor.run.own_parts import NO_PARTS, OwnParts
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, set_up, training_steps
from preceptor.run.teachers import LoadedTeacher
from preceptor.teachers import TeacherCheck
from preceptor.training import (
    Callback,
    FailureReport,
    NonFiniteGuard,
    NotFinite,
    Student,
    StudentFailed,
    Trainer,
    TrainingData,
    TrainState,
)
from preceptor.training.checkpoint import SECONDS_BETWEEN, STUDENT, CheckpointCallback, stopping_on_signals
from preceptor.training.checks import check_students
from preceptor.training.compile import check_compile
from preceptor.training.device import choose_device, deterministic
from preceptor.training.distributed import from_first, rank
from preceptor.training.failure import save_failure
from preceptor.training.profiler import Profiler


@dataclass(frozen=True)
class RunResult:
    """The result of a run; None where it has no teacher, held-out images, test set, fitted selection or cache.

    Attributes:
        teacher: how the teacher does on the training images.
        validation: on the held-out training images, after the last epoch.
        test: on the test set, used once after the last epoch.
        training_images: number trained on.
        distilled_samples: number of these that are distilled.
        unused_samples: number of these that neither the teacher nor a label teaches, as the recipe leaves them out.
        cached: number of entries that the run added to its cache.
    """

    folder: Path
    teacher: TeacherCheck | None
    validation: Metrics | None
    test: Metrics | None
    training_images: int
    distilled_samples: int | None
    unused_samples: int
    cached: int | None


def run(
    config: RunConfig,
    out: Path,
    callbacks: Sequence[Callback] = (),
    *,
    profile: bool = False,
    checkpoint_seconds: float = SECONDS_BETWEEN,
    on_finding: Callable[[Finding], None] = lambda finding: None,
    force: bool = False,
    with_test: bool = True,
    own: OwnParts = NO_PARTS,
) -> RunResult:
    """Train a student as configured and write its folder.

    Within :func:`~preceptor.training.distributed.process_group` all processes train it together.

    Everything that can be checked is checked before the folder is made. The student is the one after the last epoch,
    saved before anything is measured. The test set is used once, at the end.

    Args:
        config: its settings.
        out: its folder, empty or absent.
        callbacks: of the training, such as a progress bar.
        profile: write where the time of some steps went (``training.profiler``) into the folder.
        checkpoint_seconds: between two checkpoints, from which :func:`preceptor.run.resume` goes on. Default 60.
        on_finding: called, before the first step, with each problem or warning of the doctor's quick check;
            ``run.yaml`` keeps them too.
        force: train in spite of a problem that this check finds, as of a teacher whose classes are in another order.
            Default False: nothing is written then.
        with_test: measure on the test set; False where settings are still being chosen. Default True.
        own: Python objects in place of what the configuration names.

    Raises:
        ProblemsFound: an InputError too: the quick check found problems, and ``force`` is false.
        InputError: anything wrong with the configuration, the data, the teacher or the folder.
        MachineError: no such device, or the folder cannot be written.
        NotFinite: an InputError too: a step was not finite; which, and where, is in the folder.
        Interrupted: by Ctrl-C or SIGTERM, with a checkpoint.
    """
    device = choose_device(config.device)
    if rank() == 0:
        check_unheld(out)
        check_free(out)
    if isinstance(config.cache, Path) and config.cache.resolve() == out.resolve():
        raise InputError(f"{out}: is given for the run and for its cache: give them a folder each")
    with deterministic(), _new_cache_removed(config.cache), closing(set_up(config, device, own)) as context:
        scores = resolve_selection(config, context)
        teacher = resolve_teacher(config, context)
        check_students([Student(STUDENT, context.network, context.loss)], training_steps(config, context))
        check_compile(config.compile, device, config.training)
        diagnosis = look(context, on_finding, force)
        with held_for_a_run(out):
            begun = replace(begin(config, context, teacher, scores, out, diagnosis, forced=force), with_test=with_test)
            extra = [*callbacks, Profiler(out)] if profile and rank() == 0 else callbacks
            (result,) = complete([begun], teacher, extra, checkpoint_seconds)
            return result


def look(context: RunContext, on_finding: Callable[[Finding], None], force: bool) -> Diagnosis:
    """The doctor's quick check before a run; arguments and error as of :func:`run`."""
    diagnosis = quick_look(context)
    for finding in diagnosis.worth_a_look:
        on_finding(finding)
    if diagnosis.of("problem") and not force:
        raise ProblemsFound(diagnosis)
    return diagnosis


@contextmanager
def _new_cache_removed(folder: Path | str | None) -> Iterator[None]:
    """A refused run leaves no cache behind: the teacher that it is of is likely to be mended."""
    made = isinstance(folder, Path) and not folder.exists()
    try:
        yield
    except ProblemsFound:
        if isinstance(folder, Path) and made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def complete(
    runs: Sequence[OpenRun],
    teacher: LoadedTeacher | None,
    callbacks: Sequence[Callback],
    checkpoint_seconds: float,
    state: TrainState | None = None,
) -> list[RunResult]:
    """Train from a state or from the beginning, then save and measure; the checkpoints go when all is done.

    Several runs differ in recipe, student and optimizer alone: their students are trained together.
    """
    folders = {run.name: run.folder for run in runs}
    for folder in folders.values():
        folder.callbacks = callbacks
    checkpoints = CheckpointCallback(
        {name: folder.path / CHECKPOINT_FOLDER for name, folder in folders.items()}, checkpoint_seconds
    )
    guard = NonFiniteGuard(runs[0].config.on_nonfinite, partial(_write_failure, folders))
    # The metrics of an epoch are on disk before a checkpoint that follows it.
    trainer = _build_trainer(runs, teacher, [guard, *callbacks, MetricsFiles(runs), checkpoints])
    try:
        with stopping_on_signals(checkpoints):
            trainer.fit(state)
    except NotFinite as error:
        failed = next(run for run in runs if run.name == error.student)
        if failed.context.student.card is None:  # a network from Python, which replay could not build
            raise
        path = failed.folder.path
        raise NotFinite(f"{error}; to examine that step again: preceptor replay {path}", error.student) from error
    except StudentFailed as error:
        folders[error.student].append({"event": "failed", "message": str(error)})
        raise
    return from_first(lambda: [_finish(run, teacher) for run in runs])


def _finish(run: OpenRun, teacher: LoadedTeacher | None) -> RunResult:
    """Save a trained student and measure it."""
    context, folder, scores = run.context, run.folder, run.scores
    if context.student.card is None:
        save_weights(folder.path, context.network)
    else:
        save_student(folder.path, context.network, context.student.card)
    validation = measure(context, context.network, context.train, context.held_out)
    test_set = context.dataset.test if run.with_test else None
    test = None if test_set is None else measure(context, context.network, test_set, None)
    images = len(context.index)
    distilled = None if scores is None else int(scores.selected.sum())
    unused = 0 if distilled is None or context.loss.has_unselected_label_loss else images - distilled
    cached = None if teacher is None else teacher.cached()
    result = RunResult(folder.path, context.teacher_check, validation, test, images, distilled, unused, cached)
    folder.append({"event": "end", **asdict(result), "folder": folder.path.name})
    shutil.rmtree(folder.path / CHECKPOINT_FOLDER, ignore_errors=True)
    return result


def _build_trainer(runs: Sequence[OpenRun], teacher: LoadedTeacher | None, callbacks: Sequence[Callback]) -> Trainer:
    """The trainer of runs that are trained together."""
    config, context = runs[0].config, runs[0].context
    students = [
        Student(
            run.name,
            ImageModel(run.context.network, run.context.student.normalization),
            run.context.loss,
            run.config.training,
        )
        for run in runs
    ]
    return Trainer(
        students,
        None if teacher is None else teacher.teacher,
        TrainingData.of_images(context.train, context.index, context.augmentation),
        config.training,
        callbacks,
        seed=config.seed,
        precision=config.precision,
        compile=config.compile,
        shard=config.shard,
    )


def _write_failure(folders: Mapping[str, RunFolder], report: FailureReport) -> None:
    folder = folders[report.context.student]
    event = "failed" if report.context.action == "raise" else "nonfinite"
    folder.append({"event": event, "message": report.line(), **report.record()})
    if rank() == 0:
        save_failure(folder.path / FAILURE_FOLDER, report)
