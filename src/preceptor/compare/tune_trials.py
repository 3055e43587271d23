"""The trials of a tuning: each a run, reported epoch by epoch, in one process or shared by several."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from preceptor.compare.launchers import Launcher, collect, watching
from preceptor.compare.parallel import Counter, Report
from preceptor.compare.run_comparison import ComparisonProgress
from preceptor.compare.space import Dimension, as_text, configured, corners, defaults_in
from preceptor.compare.tune_result import TrialResult
from preceptor.compare.tune_study import (
    TRIALS,
    Pruner,
    Sampler,
    begun,
    between_trials,
    drawn,
    enqueue_planned,
    epochs_done,
    fail,
    finished_trials,
    make_pruner,
    next_trial,
    open_study,
    place_of,
    quiet_optuna,
    take_up,
    trials_left,
)
from preceptor.errors import InputError, MachineError
from preceptor.run.config import RunConfig
from preceptor.run.resume import run_entries
from preceptor.run.set_up import settings_digest
from preceptor.run.train import run
from preceptor.training import Callback, StudentFailed, Trainer
from preceptor.training.checkpoint import SECONDS_BETWEEN

if TYPE_CHECKING:
    from optuna import Study, Trial


_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class TuneOptions:
    """How to search.

    Attributes:
        trials: how many, stopped ones not counted. Default 20, of a grid all points; fewer of a grid are refused.
        sampler: "tpe" (Optuna's own default), "random", or "grid": every combination.
        pruner: ends a trial early that is worse than others were after as many epochs: "median" (Optuna's own default),
            "hyperband", "none".
        jobs: runs at a time, of one thread each. Default None: one in the search, whose later trials learn from the
            earlier ones, and as many as suit the cores in the final comparison.
        final_seeds: runs of the best settings and of the defaults for the final comparison; 0 leaves it out. Default 3.
        checkpoint_seconds: between two checkpoints of a run. Default 60.
        force: train in spite of a problem that the doctor's quick check finds. Default False.
    """

    trials: int | None = None
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    jobs: int | None = None
    final_seeds: int = 3
    checkpoint_seconds: float = SECONDS_BETWEEN
    force: bool = False


class TuneProgress(ComparisonProgress, Protocol):
    """An observer of tuning, and of the final comparison after it."""

    def trial(self, trial: TrialResult, best: float | None, done: int, trials: int) -> None:
        """A trial has ended, ``done`` of ``trials`` have; ``best`` is the highest accuracy of the complete ones."""


@dataclass(frozen=True)
class Search:
    """A search, by each of the processes that share it.

    Attributes:
        images: that a trial trains on.
    """

    config: RunConfig
    space: dict[str, Dimension]
    out: Path
    trials: int
    options: TuneOptions
    images: int

    @property
    def epochs(self) -> int:
        """The most that a trial trains."""
        one = self.space.get("training.epochs")
        return self.config.training.epochs if one is None else max(int(str(end)) for end in corners(one))

    def begin(self) -> "Study":
        """Open the journal, or begin it; what is left of stopped trials is removed, and they are enqueued again."""
        settings = settings_digest(self.config.model_dump(mode="json", exclude_none=True))
        kind = "grid" if self.options.sampler == "grid" else "not a grid"
        with between_trials(self.out):
            study = open_study(self.out, {"configuration": settings, "space": as_text(self.space), "sampler": kind})
            take_up(study, self.out)
            kept = {str(place_of(number)) for number in begun(study)}
            for folder in (self.out / TRIALS).glob("*"):
                if str(folder.relative_to(self.out)) not in kept:
                    shutil.rmtree(folder, ignore_errors=True)
            if trials_left(study, self.trials):
                enqueue_planned(study, defaults_in(self.config, self.space), self.space, self.options.sampler)
        return study

    def left(self, study: "Study") -> tuple[int, int]:
        """How many trials nobody has begun, and how many run, in any process."""
        with between_trials(self.out):
            running = take_up(study, self.out)
            return trials_left(study, self.trials), running

    def make_trials(self, counter: Counter) -> None:
        """Make trials until none is left."""
        with quiet_optuna():
            study = open_study(self.out)
            study.pruner = make_pruner(self.options.pruner, self.epochs)
            while True:
                with next_trial(study, self.out, self.trials, self.config.seed, self.options.sampler) as trial:
                    if trial is None:
                        return
                    self._make(study, trial, counter)
                counter.flush()

    def _make(self, study: "Study", trial: "Trial", counter: Counter) -> None:
        folder = self.out / place_of(trial.number)
        point = drawn(trial, self.space)
        try:
            config = configured(self.config, point)
        except InputError as error:  # of three settings that do not go together, say
            fail(study, trial, str(error))
            return
        shutil.rmtree(folder, ignore_errors=True)
        options, callbacks = self.options, [counter, _Pruning(trial, folder)]
        try:
            result = run(
                config, folder, callbacks, checkpoint_seconds=options.checkpoint_seconds, force=True, with_test=False
            )
        except StudentFailed as error:
            fail(study, trial, str(error))
        except _Pruned:
            from optuna.trial import TrialState

            shutil.rmtree(folder, ignore_errors=True)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            assert result.validation is not None, "_check_images looked"
            trial.report(result.validation.accuracy, config.training.epochs)
            study.tell(trial, result.validation.accuracy)


class _Pruned(Exception):
    """A trial is not worth its remaining epochs."""


class _Pruning(Callback):
    """Tells the study how a trial does, epoch by epoch, and ends it where its pruner says so."""

    def __init__(self, trial: "Trial", folder: Path) -> None:
        self._trial, self._folder = trial, folder

    def on_epoch_start(self, trainer: Trainer, epoch: int, first: int) -> None:
        """The epoch before is on disk by now, measured."""
        if epoch > 0:
            self._trial.report(run_entries(self._folder)[-1]["validation_accuracy"], epoch)
            if self._trial.should_prune():
                raise _Pruned


def run_trials(search: Search, study: "Study", launcher: Launcher, progress: TuneProgress | None) -> None:
    """Make the trials that are left, beside other processes that do, and wait for theirs.

    Raises:
        MachineError: a worker ended before it was done, and no trial has ended since it was launched.
    """
    left, running = search.left(study)
    report = _reporting(search, study, progress, left)
    while left or running:
        if left:
            jobs = min(search.options.jobs or 1, left)
            before = len(finished_trials(study, search.out))
            try:
                collect(launcher([search.make_trials] * jobs, jobs, report))
            except MachineError:  # the others have made its trials again, or will
                if len(finished_trials(study, search.out)) == before:
                    raise
        else:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        report(0)
        left, running = search.left(study)


def _reporting(search: Search, study: "Study", progress: TuneProgress | None, left: int) -> Report:
    """Tells the observer of images, and of every trial that has ended since."""
    if progress is None:
        return lambda images: None
    progress.start("trials", left * search.epochs * search.images)
    seen = {trial.number for trial in finished_trials(study, search.out)}
    advance = watching(progress.advance, lambda: search.images * epochs_done(study))

    def report(images: int) -> None:
        advance(images)
        trials = finished_trials(study, search.out)
        best = max((trial.held_out or 0.0 for trial in trials if trial.state == "complete"), default=None)
        for trial in trials:
            if trial.number not in seen:
                seen.add(trial.number)
                progress.trial(trial, best, len(seen), search.trials)

    return report
