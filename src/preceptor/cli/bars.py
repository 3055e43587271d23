"""Bars of verbs that train many students."""

from collections.abc import Iterable
from pathlib import Path

from preceptor.compare.passes import Pass
from preceptor.compare.tune_result import TrialResult
from preceptor.run.progress import ImageBar
from preceptor.run.resume import run_entries


class ComparisonBar(ImageBar):
    """A bar over all images, and a line for each student."""

    def __init__(self, out: Path, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._out, self._done = out, 0

    def finished(self, done: Pass, students: int) -> None:
        for cell in done:
            self._done += 1
            last = run_entries(self._out / cell.place)[-1]
            measured = last.get("test") or last.get("validation") or {}
            result = f"{measured['accuracy']:.2%}" if "accuracy" in measured else f"failed: {last.get('message')}"
            self.line(f"{self._done} of {students}: {cell.place.relative_to('runs')}: {result}")


class TuneBar(ComparisonBar):
    """A bar over all images, and a line for each trial, then for each student of the final comparison."""

    def trial(self, trial: TrialResult, best: float | None, done: int, trials: int) -> None:
        so_far = "" if best is None else f", best so far {100 * best:.2f} %"
        self.line(f"trial {done} of {trials}: {_outcome(trial)}{so_far}: {_settings(trial)}")


def _outcome(trial: TrialResult) -> str:
    if trial.held_out is None:
        return f"failed ({trial.reason})"
    held_out = f"{100 * trial.held_out:.2f} % held out"
    return held_out if trial.state == "complete" else f"pruned after epoch {trial.epochs} at {held_out}"


def _settings(trial: TrialResult) -> str:
    names = short(trial.settings)
    return ", ".join(f"{names[key]}={shown(value)}" for key, value in trial.settings.items())


def short(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key, or all of it where two are alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def shown(value: object) -> str:
    """A setting's value with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
