"""Several runs whose students are taught together from one pass over the data; each leaves the folder of a run."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from preceptor.errors import InputError
from preceptor.run.cache_plan import resolve_teacher
from preceptor.run.config import RunConfig
from preceptor.run.folder import RUN_FILE
from preceptor.run.lock import held
from preceptor.run.open_run import OpenRun, begin, held_for_a_run
from preceptor.run.resume import check_same, go_back, reopen, stopped_run
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, set_up_together, training_steps
from preceptor.run.teachers import LoadedTeacher
from preceptor.run.train import RunResult, complete, look
from preceptor.training import Callback, Student
from preceptor.training.checkpoint import SECONDS_BETWEEN
from preceptor.training.checks import check_students
from preceptor.training.compile import check_compile
from preceptor.training.device import choose_device, deterministic

TEACHER_SETTINGS = (
    "teacher",
    "teacher_output",
    "teacher_normalization",
    "ensemble_weights",
    "cache",
    "cache_top_k",
)
"""What a run without a teacher has no use for."""

OWN = {"recipe", "student", "audit", "scores", "training"}
"""Settings in which runs that are taught together may differ; of the training it is the optimizer and the schedule."""

SAME_TRAINING = ("epochs", "batch_size", "mixup", "cutmix")
"""Settings of the training in which they may not: the batches follow from them."""


def pass_of(config: RunConfig) -> str:
    """Equal for runs that can be taught together, if they have the same teacher or none."""
    same = [getattr(config.training, name) for name in SAME_TRAINING]
    return str((config.model_dump_json(exclude={*OWN, *TEACHER_SETTINGS}), *same))


def teacher_of(config: RunConfig) -> str | None:
    """Equal for runs of the same teacher; None for a run that has none.

    A teacher of features is run otherwise than one of logits alone, and rounds otherwise: the two are told apart.
    """
    if not config.teachers and config.cache is None:
        return None
    features = any(term.feature_loss is not None for term in config.recipe.terms.values())
    return str((config.model_dump_json(include=set(TEACHER_SETTINGS)), features))


def run_together(
    configs: Mapping[Path, RunConfig],
    callbacks: Sequence[Callback] = (),
    *,
    checkpoint_seconds: float = SECONDS_BETWEEN,
    force: bool = False,
) -> list[RunResult]:
    """Train the students of several runs together, or go on with those that were stopped.

    The bits of each are those of a run of its own with as many threads (where neither network is compiled): students
    share batches and teacher outputs, nothing else. After a stop all go on from the newest checkpoint that all have.

    Args:
        configs: by folder: absent, empty, or of the same run, stopped. Equal by :func:`pass_of`, and of one teacher.
        callbacks: of the training.
        checkpoint_seconds: between two checkpoints. Default 60.
        force: train in spite of a problem that the doctor's quick check finds. Default False.

    Raises:
        StudentFailed: an InputError too: one student cannot be trained on; its folder says so, and the others can go
            on without it from their checkpoints, or from the beginning where they have none.
        InputError: as of ``run`` and ``resume``; settings that do not fit together.
        MachineError: no such device, or a folder cannot be written.
        Interrupted: by Ctrl-C or SIGTERM, with a checkpoint.
    """
    first = next(iter(configs.values()))
    teachers = {teacher_of(config) for config in configs.values()} - {None}
    if len({pass_of(config) for config in configs.values()}) > 1:
        raise InputError(f"runs taught together may differ in {', '.join(sorted(OWN))} alone: train the others apart")
    if len(teachers) > 1:
        raise InputError("runs taught together have one teacher, of logits or of features: train the others apart")
    device = choose_device(first.device)
    with deterministic(), ExitStack() as stack:
        contexts = set_up_together(list(configs.values()), device)
        for context in contexts:
            stack.enter_context(closing(context))
        opened, teacher = [], None
        for (folder, config), context in zip(configs.items(), contexts, strict=True):
            check_compile(config.compile, device, config.training)
            run, teaches = _open(folder, config, context, stack, force)
            opened.append(run)
            teacher = teacher or teaches
        latest = go_back(opened, device)
        return complete(opened, teacher, callbacks, checkpoint_seconds, latest.state)


def _open(
    folder: Path, config: RunConfig, context: RunContext, stack: ExitStack, force: bool
) -> tuple[OpenRun, LoadedTeacher | None]:
    """A run, new or stopped, its folder held, and its teacher where it needs one."""
    name = str(folder)
    if (folder / RUN_FILE).is_file():
        stack.enter_context(held(folder))
        _, record = stopped_run(folder)
        check_same(folder, record, context)
        run = reopen(folder, config, context, name)
        return run, resolve_teacher(config, context)
    scores = resolve_selection(config, context)
    teacher = resolve_teacher(config, context)
    check_students([Student(name, context.network, context.loss)], training_steps(config, context))
    diagnosis = look(context, lambda finding: None, force)
    stack.enter_context(held_for_a_run(folder))
    return begin(config, context, teacher, scores, folder, diagnosis, forced=force, name=name), teacher
