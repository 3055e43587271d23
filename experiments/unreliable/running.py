"""Students of one setting and seed: every recipe at every learning rate, in comparisons of one seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from jaxtyping import Int
from torch import Tensor

from experiments.unreliable.preparation import TEACHER_FILE, Prepared
from preceptor.audit import audit, write_audit
from preceptor.audit.advice import Situation
from preceptor.audit.files import JSON_FILE
from preceptor.compare.answers import read_answers
from preceptor.compare.comparison import comparison
from preceptor.compare.comparison_result import ArmResult
from preceptor.compare.run_comparison import run_comparison
from preceptor.errors import InputError
from preceptor.files import read_json
from preceptor.loss import DistillationLoss
from preceptor.run import resolve

AUDITED = "safe-audited"
"""Recipe safe limited by the verdicts of an audit that knows the teacher's accuracy on trusted data."""

DROP_RANDOM = "drop-random"
"""Control of drop-wrong: as many images are dropped, drawn at random."""

RECIPES = (
    "none",
    "kd",
    "safe",
    AUDITED,
    "drop-wrong",
    DROP_RANDOM,
    "label-revision-kl",
    "ka-ps",
    "ka-dtd",
    "cmkd",
    "corrected-cmkd",
    "dist",
)
RATES = (0.1, 0.2, 0.05)
"""The first wins ties."""

RATE = "training.learning_rate"

Rates = Mapping[str, Sequence[float]]
"""By recipe, the learning rates to train it at."""


@dataclass(frozen=True)
class TrainedStudent:
    """One student.

    Attributes:
        recipe, rate: its recipe and learning rate.
        held_out: accuracy on the held-out fifth of the students' images, against the labels that were given.
        accuracy, ece: on the test set, whose labels are right.
        folder: its run.
    """

    recipe: str
    rate: float
    held_out: float
    accuracy: float
    ece: float
    folder: Path

    def predicted(self, images: int) -> Int[Tensor, " n"]:
        """Its answers on the test images."""
        answers = read_answers(self.folder, images)
        if answers is None:
            raise InputError(
                f"{self.folder}: its answers on {images} test images are missing: remove it, and run again"
            )
        return answers.predicted


def teach(prepared: Prepared, rates: Rates, out: Path) -> list[TrainedStudent]:
    """Train a student of every recipe at each of its rates; those that are trained already are kept.

    A student that diverges is left out.

    Args:
        prepared: the setting and seed.
        rates: by recipe.
        out: folder of this setting and seed.
    """
    students = []
    arms = {f"{recipe} at {rate}": (recipe, rate) for recipe, own in rates.items() for rate in own}
    # Two comparisons: where some images have no label, students without a teacher learn from the labeled ones alone.
    for taught, folder in ((False, out / "alone"), (True, out / "taught")):
        group = {name: arm for name, arm in arms.items() if uses_teacher(arm[0]) == taught}
        if group:
            plan = comparison(
                {name: {**_settings(recipe, prepared), RATE: rate} for name, (recipe, rate) in group.items()},
                run=prepared.config(taught),
                teachers=[prepared.folder / TEACHER_FILE] if taught else [],
                seeds=[prepared.seed],
            )
            result = run_comparison(plan, folder, jobs=1, force=True)
            students += [_student(arm, *group[arm.recipe], folder) for arm in result.arms]
    return students


def choose_rates(
    students: Sequence[Sequence[TrainedStudent]], recipes: Sequence[str], rates: Sequence[float] = RATES
) -> dict[str, float]:
    """Of each recipe the rate that did best on held-out images, the mean over settings and seeds.

    One setting and seed hold out too few images to choose by. The first rate wins ties. A recipe that diverged
    somewhere at every rate has none.

    Args:
        students: one list a setting and seed, of every recipe at every rate.
        recipes, rates: by name; learning rates.
    """
    chosen = {}
    for recipe in recipes:
        held_out = {
            rate: [one.held_out for own in students for one in own if (one.recipe, one.rate) == (recipe, rate)]
            for rate in rates
        }
        complete = {rate: values for rate, values in held_out.items() if len(values) == len(students)}
        if complete:
            chosen[recipe] = max(complete, key=lambda rate: fmean(complete[rate]))
    return chosen


def at_rate(students: Sequence[Sequence[TrainedStudent]], recipe: str, rate: float | None) -> list[TrainedStudent]:
    """The students of a recipe at a rate, one a seed; none where one diverged."""
    own = [one for seed in students for one in seed if (one.recipe, one.rate) == (recipe, rate)]
    return own if len(own) == len(students) else []


def uses_teacher(recipe: str) -> bool:
    """Whether a recipe queries the teacher."""
    return recipe in (AUDITED, DROP_RANDOM) or DistillationLoss.from_recipe(recipe).uses_teacher


def _settings(recipe: str, prepared: Prepared) -> dict[str, str | float]:
    """Those in which a recipe's runs differ from the others."""
    if recipe == AUDITED:
        return {"recipe": "safe", "audit": str(audited(prepared))}
    if recipe == DROP_RANDOM:
        kept = prepared.measures["agreement"]
        return {"recipe": "drop-wrong", "recipe.selection.name": "random", "recipe.selection.keep": kept}
    return {"recipe": recipe}


AUDIT_FOLDER = "audit"


def audited(prepared: Prepared) -> Path:
    """The folder of an audit of the students' images, made once."""
    folder = prepared.folder / AUDIT_FOLDER
    if not (folder / JSON_FILE).is_file():
        config = {**prepared.config(True), "teacher": prepared.folder / TEACHER_FILE, "recipe": "kd"}
        write_audit(audit(resolve(config), teacher_accuracy=prepared.measures["accuracy_on_test"]), folder)
    return folder


def situation(prepared: Prepared) -> Situation:
    """What the audit says of the students' images."""
    advice: dict[str, Situation] = read_json(audited(prepared) / JSON_FILE)["advice"]
    return advice["situation"]


def _student(arm: ArmResult, recipe: str, rate: float, out: Path) -> TrainedStudent:
    assert arm.held_out is not None, "a fifth is held out"
    return TrainedStudent(
        recipe=recipe,
        rate=rate,
        held_out=arm.held_out.mean,
        accuracy=arm.accuracy.mean,
        ece=arm.ece.mean,
        folder=out / arm.folders[0],
    )
