"""Optuna's study of a tuning: in a journal of JSON lines that several processes share and that survives their end."""

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from filelock import FileLock, Timeout

from preceptor.compare.space import Range, Space, Value, grid
from preceptor.compare.tune_result import TrialResult
from preceptor.errors import InputError, first_line, unknown_name
from preceptor.extras import import_extra

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["median", "hyperband", "none"]

JOURNAL_FILE = "journal.jsonl"
TRIALS = "trials"
"""The folder of the trials' runs, in that of the study."""

# Attributes of a trial in the journal: why it failed; the trial whose settings it takes up; which it is of those that
# are planned from the beginning: the defaults, a point of a grid.
_REASON, _AGAIN, _PLANNED = "reason", "again", "planned"
_DEFAULTS = "defaults"


def check_installed() -> None:
    """`MachineError` without Optuna."""
    import_extra("optuna", "tune", "tuning")


def check_names(sampler: str, pruner: str) -> None:
    """`InputError` for an unknown sampler or pruner."""
    for kind, name, known in (("sampler", sampler, get_args(Sampler)), ("pruner", pruner, get_args(Pruner))):
        if name not in known:
            raise unknown_name(kind, name, known)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's log lines on the terminal and its warnings of what it calls experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


def open_study(folder: Path, plan: Mapping[str, Any] | None = None) -> "Study":
    """The study of a folder; a new one is of this ``plan``.

    Raises:
        InputError: a study of another plan, of which each part that differs is named, or a journal that is damaged.
    """
    import optuna

    path = folder / JOURNAL_FILE
    try:
        backend = _backend(path)
        storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(study_name="tune", storage=storage, direction="maximize", load_if_exists=True)
        before = study.user_attrs.get("plan")
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(f"{path}: damaged ({first_line(error)}): choose another --out") from error
    if plan is not None and before is None:
        study.set_user_attr("plan", dict(plan))
    elif plan is not None and before != plan:
        differing = [name for name in plan if not isinstance(before, dict) or before.get(name) != plan[name]]
        raise InputError(f"{folder}: was begun with another {' and another '.join(differing)}: choose another --out")
    return study


def _backend(path: Path) -> Any:
    """Optuna's journal, in which a process that is killed while it writes does no harm to the others."""
    from optuna.storages.journal import JournalFileBackend

    # The system releases it when its holder is killed; for Optuna's own lock the others would wait half a minute.
    lock: Any = FileLock(path.with_name(".journal.lock"))

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            with lock:
                _cut_torn_line(path)
                super().append_logs(logs)

    return Journal(str(path), lock_obj=lock)


def _cut_torn_line(path: Path) -> None:
    """Cut off the last line where a kill left it without its end: with the next one it would make no JSON."""
    with path.open("rb+") as file:
        file.seek(max(0, file.seek(0, SEEK_END) - 1))
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def between_trials(folder: Path) -> FileLock:
    """A lock of the search: within it nobody else begins a trial, or takes one up."""
    return FileLock(folder / ".next.lock")


def enqueue_planned(study: "Study", defaults: Mapping[str, Value] | None, space: Space, sampler: str) -> None:
    """Put the defaults first, then every point of a grid, unless the journal has them."""
    planned = {} if defaults is None else {_DEFAULTS: dict(defaults)}
    if sampler == "grid":
        planned |= {f"grid {n}": point for n, point in enumerate(grid(space)) if point != defaults}
    known = {trial.user_attrs.get(_PLANNED) for trial in study.get_trials(deepcopy=False)}
    for name, point in planned.items():
        if name not in known:
            study.enqueue_trial(point, {_PLANNED: name})


def take_up(study: "Study", folder: Path) -> int:
    """Enqueue again the trials whose processes have ended in their midst, and mark them as failed.

    It is enqueued first: a process that ends between the two would lose it. Held by :func:`between_trials`.

    Returns:
        How many trials do run, in this process or another.
    """
    from optuna.trial import TrialState

    def trials() -> "list[FrozenTrial]":
        return study.get_trials(deepcopy=False)

    enqueued = {trial.user_attrs.get(_AGAIN) for trial in trials()}
    running = 0
    for trial in [one for one in trials() if one.state == TrialState.RUNNING]:
        try:
            with _trial_lock(folder, trial.number):
                if trials()[trial.number].state == TrialState.RUNNING:  # it has not ended only just now
                    if trial.number not in enqueued:
                        kept = {name: value for name, value in trial.user_attrs.items() if name == _PLANNED}
                        point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                        study.enqueue_trial(point, {**kept, _AGAIN: trial.number})
                    study.tell(trial.number, state=TrialState.FAIL)
                _trial_lock_file(folder, trial.number).unlink()
        except Timeout:  # its process lives
            running += 1
    return running


def _trial_lock_file(folder: Path, number: int) -> Path:
    return folder / f".trial-{number:03}.lock"


def _trial_lock(folder: Path, number: int) -> FileLock:
    """Held by the process that makes a trial; the system releases it when the process ends, however it ends."""
    return FileLock(_trial_lock_file(folder, number), blocking=False)


def trials_left(study: "Study", trials: int) -> int:
    """How many of so many trials are neither finished nor running."""
    return max(0, trials - len(begun(study)))


@contextmanager
def next_trial(study: "Study", folder: Path, trials: int, seed: int, sampler: str) -> "Iterator[Trial | None]":
    """The next trial, this process's own within it; None when as many as asked for are finished or running.

    Args:
        study: shared with other processes, of this machine or others.
        folder: of the study.
        trials: asked for.
        seed: of the sampler; with the number of trials begun it gives a seed of its own to each, so that a sampler
            that starts anew after a stop draws nothing twice.
        sampler: its name.
    """
    with ExitStack() as stack:
        with between_trials(folder):
            take_up(study, folder)
            trial = None
            if trials_left(study, trials):
                number = len(study.get_trials(deepcopy=False))
                study.sampler = _sampler(sampler, random.Random(f"{seed} {number}").getrandbits(32))
                trial = study.ask()
                stack.enter_context(_trial_lock(folder, trial.number))
                stack.callback(_trial_lock_file(folder, trial.number).unlink)  # while it is held
        yield trial


def _sampler(name: str, seed: int) -> "BaseSampler":
    """Points of a grid are enqueued: its sampler draws nothing."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed) if name == "tpe" else optuna.samplers.RandomSampler(seed=seed)


def make_pruner(name: str, epochs: int) -> "BasePruner":
    """A pruner with Optuna's own defaults; ``epochs`` are the most that a trial trains."""
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner()
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=epochs)
    return optuna.pruners.NopPruner()


def drawn(trial: "Trial", space: Space) -> dict[str, Value]:
    """The settings that a trial draws."""
    point: dict[str, Value] = {}
    for key, one in space.items():
        if not isinstance(one, Range):
            point[key] = trial.suggest_categorical(key, one)
        elif one.whole:
            point[key] = trial.suggest_int(key, int(one.low), int(one.high), log=one.log)
        else:
            point[key] = trial.suggest_float(key, one.low, one.high, log=one.log)
    return point


def place_of(number: int) -> Path:
    """The folder of a trial's run, within that of the study."""
    return Path(TRIALS, f"{number:03}")


def fail(study: "Study", trial: "Trial", reason: str) -> None:
    """End a trial as failed, for a reason of its own."""
    from optuna.trial import TrialState

    trial.set_user_attr(_REASON, reason)
    study.tell(trial, state=TrialState.FAIL)


def finished_trials(study: "Study", folder: Path) -> list[TrialResult]:
    """Every trial that came to its own end, in the order of their numbers; ``folder`` is that of the study."""
    from optuna.trial import TrialState

    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return [
        TrialResult.model_validate(
            {
                "number": trial.number,
                "state": states[trial.state],
                "held_out": None if trial.state == TrialState.FAIL else trial.value,
                "epochs": trial.last_step or 0,
                "settings": trial.params,
                "is_default": trial.user_attrs.get(_PLANNED) == _DEFAULTS,
                "reason": trial.user_attrs.get(_REASON),
                "seconds": 0.0 if trial.duration is None else trial.duration.total_seconds(),
                "folder": str(place) if (folder / place).is_dir() else None,
            }
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state in states and not _is_lost(trial)
        for place in [place_of(trial.number)]
    ]


def importance(study: "Study") -> dict[str, float] | None:
    """The share of each setting; None where trials are too few or too alike to tell.

    By fANOVA: Optuna's default, PED-ANOVA, finds the few trials of a search equally important in everything.
    """
    import optuna

    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state == optuna.trial.TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return None
    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):
        return None
    total = sum(shares.values())
    return {key: float(share) for key, share in shares.items()} if abs(total - 1) < 1e-6 else None


def epochs_done(study: "Study") -> int:
    """Epochs that all trials have told of."""
    return sum(trial.last_step or 0 for trial in study.get_trials(deepcopy=False))


def begun(study: "Study") -> set[int]:
    """Numbers of the trials that run, or came to their own end."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return {trial.number for trial in trials if trial.state != TrialState.WAITING and not _is_lost(trial)}


def _is_lost(trial: "FrozenTrial") -> bool:
    """Whether its process ended in its midst: it failed, and not for a reason of its own."""
    from optuna.trial import TrialState

    return trial.state == TrialState.FAIL and _REASON not in trial.user_attrs
