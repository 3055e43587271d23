"""The result of tuning: every trial, the best one, and the honest comparison with the defaults."""

from collections.abc import Mapping
from typing import Any, Literal

from preceptor.compare.differences import Difference
from preceptor.compare.measure import Measure
from preceptor.config import FrozenModel

RESULT_FILE = "tune.json"


class TrialResult(FrozenModel):
    """One trial.

    Attributes:
        number: also that of its folder, ``trials/NNN``.
        state: complete, pruned before its last epoch, or failed.
        held_out: accuracy on the held-out training images after the last epoch trained; None where it failed.
        epochs: of those measured.
        settings: its point of the space.
        is_default: whether these are the defaults.
        reason: why it failed.
        seconds: from its beginning to its end.
        folder: of its run, within that of the study; None of a pruned trial, whose folder is removed.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    held_out: float | None
    epochs: int
    settings: dict[str, Any]
    is_default: bool
    reason: str | None
    seconds: float
    folder: str | None


class FinalResult(FrozenModel):
    """The best settings and the defaults with new seeds.

    Attributes:
        measured_on, samples: images that nothing was chosen by, and how many.
        seeds: of the runs of both.
        tuned, default: accuracies; None where no run is complete. The same where the defaults were best.
        difference: of tuned to default, with its corrected interval; None where a run failed or they are the same.
        folder: of the comparison, within that of the study.
    """

    measured_on: str
    samples: int
    seeds: list[int]
    tuned: Measure | None
    default: Measure | None
    difference: Difference | None
    folder: str


class TuneResult(FrozenModel):
    """The result file of tuning.

    Attributes:
        data, held_out_images: the data set, and how many training images the trials are measured on.
        space: by dotted key, as text.
        sampler, pruner: how trials are chosen and ended early.
        trials: in the order of their numbers.
        best: the number of the complete trial that is highest on the held-out images, the earliest of equals.
        importance: share of the spread of the held-out accuracy that each setting explains among the complete trials,
            the largest first, by Optuna's fANOVA (Hutter, Hoos, Leyton-Brown, 2014, "An Efficient Approach for
            Assessing Hyperparameter Importance"); None where trials are too few or too alike.
        final: None where no final seeds were asked for.
        versions: packages and machine.
    """

    data: str
    held_out_images: int
    space: dict[str, str]
    sampler: str
    pruner: str
    trials: list[TrialResult]
    best: int
    importance: dict[str, float] | None
    final: FinalResult | None
    versions: Mapping[str, str]

    @property
    def best_trial(self) -> TrialResult:
        """The trial whose settings ``best.yaml`` holds."""
        return next(trial for trial in self.trials if trial.number == self.best)
