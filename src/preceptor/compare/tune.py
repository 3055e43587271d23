"""Tuning: settings chosen on held-out training images, then compared with the defaults on images never chosen by."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from preceptor.compare.launchers import Launcher
from preceptor.compare.parallel import processes
from preceptor.compare.space import Space, as_text, checked_space, configured, corners, grid
from preceptor.compare.tune_final import compare_with_defaults
from preceptor.compare.tune_result import RESULT_FILE, FinalResult, TrialResult, TuneResult
from preceptor.compare.tune_study import (
    JOURNAL_FILE,
    check_installed,
    check_names,
    finished_trials,
    importance,
    quiet_optuna,
)
from preceptor.compare.tune_trials import Search, TuneOptions, TuneProgress, run_trials
from preceptor.context import UNLABELED
from preceptor.errors import InputError, Interrupted
from preceptor.files import check_writable, remains, write_whole
from preceptor.result_files import write_result
from preceptor.run.config import RunConfig
from preceptor.run.doctor import Finding
from preceptor.run.folder import versions
from preceptor.run.lock import held
from preceptor.run.set_up import RunContext, set_up_together
from preceptor.run.train import look
from preceptor.training.device import choose_device, deterministic

if TYPE_CHECKING:
    from optuna import Study

BEST_FILE = "best.yaml"
"""The best settings, as ``preceptor distill --config`` takes them."""

TRIALS_BY_DEFAULT = 20


def tune(
    config: RunConfig,
    space: Space,
    out: Path,
    options: TuneOptions = TuneOptions(),  # noqa: B008
    *,
    launcher: Launcher = processes,
    on_finding: Callable[[Finding], None] = lambda finding: None,
    progress: TuneProgress | None = None,
) -> TuneResult:
    """Choose settings by the accuracy on the held-out training images after the last epoch, never the best one.

    The first trial has the configuration's own settings, where the space contains them. All trials have the
    configuration's seed, and none looks at the test set: of the best settings and of the configuration as it is
    ``final_seeds`` students with further seeds are measured there, once each.

    Args:
        config: the settings of all trials.
        space: by dotted key the values to choose from; see :func:`~preceptor.compare.space.parse_space`.
        out: folder, empty or absent, or of the same search, which goes on: trials in whose midst it was stopped are
            made again. More trials than before are added to those there are. Where the search is running, in another
            process or on another machine that sees the folder, its trials are shared.
        options: how to search.
        launcher: where trials are made; see :mod:`preceptor.compare.launchers`. Default: processes of this machine.
        on_finding: called, before the first trial, with what the doctor's quick check finds.
        progress: notified of progress.

    Raises:
        ProblemsFound: an InputError too: the quick check found problems, and ``force`` is false.
        InputError: a space that does not fit the configuration, nothing held out, no test set for the final seeds, a
            folder of another search, or no trial that is complete.
        MachineError: Optuna is missing, the folder cannot be written, or processes or jobs of trials ended before they
            were done, with no trial to show for it; what one of several leaves undone, the others do.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    check_installed()
    check_names(options.sampler, options.pruner)
    space = checked_space(config, space)
    trials = _number_of_trials(options, space)
    if options.final_seeds < 0:
        raise InputError(f"final seeds are {options.final_seeds}; expected 0 or more")
    _check_folder(out)
    images, held_out = _look(config, space, options, on_finding)
    check_writable(out)
    search = Search(config, space, out, trials, options, images)
    with quiet_optuna():
        try:
            study = search.begin()
            run_trials(search, study, launcher, progress)
        except (Interrupted, KeyboardInterrupt) as error:
            raise Interrupted(f"stopped: give the same command again to go on ({out})") from error
        return _finish(search, study, launcher, progress, held_out)


def _finish(
    search: Search, study: "Study", launcher: Launcher, progress: TuneProgress | None, held_out: int
) -> TuneResult:
    """Compare the best settings with the defaults, and write all down; one process after the other."""
    out, options = search.out, search.options
    with held(out, wait=True):
        best, tuned = _choose(search, study)
        settings = yaml.safe_dump(tuned.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
        write_whole({out / BEST_FILE: settings.encode()})
        final = compare_with_defaults(search, tuned, launcher, progress) if options.final_seeds else None
        result = _result(search, study, best, final, held_out)
        write_result(result, out / RESULT_FILE)
    return result


def _look(
    config: RunConfig, space: Space, options: TuneOptions, on_finding: Callable[[Finding], None]
) -> tuple[int, int]:
    """The doctor's quick check of the configuration; how many images are trained on and held out.

    Every recipe and student of the space is set up too, so that none is refused only in the midst of a search.
    """
    choices = [{key: value} for key in ("recipe", "student") if key in space for value in corners(space[key])]
    configs = [config, *(configured(config, choice) for choice in choices)]
    with deterministic(), ExitStack() as stack:
        contexts = set_up_together(configs, choose_device(config.device))
        for context in contexts:
            stack.enter_context(closing(context))
        context = contexts[0]
        _check_images(context, options)
        look(context, on_finding, options.force)
        return len(context.index), len(context.held_out)


def _number_of_trials(options: TuneOptions, space: Space) -> int:
    if options.trials is not None and options.trials < 1:
        raise InputError(f"trials are {options.trials}; expected 1 or more")
    if options.sampler != "grid":
        return options.trials or TRIALS_BY_DEFAULT
    points = sum(1 for _ in grid(space))
    if options.trials not in (None, points):
        raise InputError(f"trials are {options.trials}: the grid has {points} points: leave the number out")
    return points


def _check_folder(out: Path) -> None:
    """Refuse a folder of something else, and one from somebody else whose links lead what is written anywhere."""
    for path in out.iterdir() if out.is_dir() else ():
        if path.is_symlink():
            raise InputError(f"{path}: a link, and a search makes none: remove it")
    if (out / JOURNAL_FILE).is_file() or not out.exists():
        return
    if not out.is_dir() or {path for path in out.iterdir() if path.suffix != ".lock"} - set(remains(out)):
        raise InputError(f"{out}: not empty, and no search: choose another --out")


def _check_images(context: RunContext, options: TuneOptions) -> None:
    """There must be something to choose by, and something else to measure on."""
    labels = context.train.labels.cpu()[context.held_out]
    if not bool((labels != UNLABELED).any()):
        raise InputError("no labeled training image is held out to choose settings by: set validation above 0")
    test = context.dataset.test
    if options.final_seeds and (test is None or not bool((test.labels != UNLABELED).any())):
        raise InputError(
            f"{context.dataset.name} has no test set to measure the best settings on: add one, or --final-seeds 0, "
            "and trust no number"
        )


def _choose(search: Search, study: "Study") -> tuple[TrialResult, RunConfig]:
    """The complete trial that is highest on the held-out images, the earliest of equals, and its configuration."""
    trials = finished_trials(study, search.out)
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        reason = next((trial.reason for trial in trials if trial.reason), "")
        raise InputError(f"no trial is complete: {reason}: choose another space, and another --out")
    best = max(complete, key=lambda trial: (trial.held_out or 0.0, -trial.number))
    return best, configured(search.config, best.settings)


def _result(search: Search, study: "Study", best: TrialResult, final: FinalResult | None, held_out: int) -> TuneResult:
    from optuna import __version__

    return TuneResult(
        data=search.config.data,
        held_out_images=held_out,
        space=as_text(search.space),
        sampler=search.options.sampler,
        pruner=search.options.pruner,
        trials=finished_trials(study, search.out),
        best=best.number,
        importance=importance(study),
        final=final,
        versions={**versions(), "optuna": __version__},
    )
