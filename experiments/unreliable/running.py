"""Students of one setting and seed: every recipe at every learning rate, in comparisons of one seed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from jaxtyping import Int
from torch import Tensor

from experiments.unreliable.preparation import TEACHER_FILE, Prepared
from preceptor.audit import advise, audit, write_audit
from preceptor.compare.answers import read_answers
from preceptor.compare.comparison import comparison
from preceptor.compare.comparison_result import ArmResult
from preceptor.compare.run_comparison import run_comparison
from preceptor.errors import InputError
from preceptor.files import read_json, write_whole
from preceptor.loss import DistillationLoss
from preceptor.run import resolve

AUDITED = "safe-audited"
"""Recipe safe limited by the verdicts of an audit that knows the teacher's accuracy on trusted data."""

RECIPES = (
    "none",
    "kd",
    "safe",
    AUDITED,
    "drop-wrong",
    "label-revision-kl",
    "ka-ps",
    "ka-dtd",
    "cmkd",
    "corrected-cmkd",
    "dist",
)
RATES = (0.2, 0.1, 0.05)
"""The first wins ties: in trainings this short the largest does best, unless a recipe diverges."""

RATE = "training.learning_rate"


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


def teach(prepared: Prepared, recipes: Sequence[str], rates: Sequence[float], out: Path) -> list[TrainedStudent]:
    """Train a student of every recipe at every rate; those that are trained already are kept.

    A student that diverges is left out.

    Args:
        prepared: the setting and seed.
        recipes, rates: by name; learning rates.
        out: folder of this setting and seed.
    """
    students = []
    # Two comparisons: where some images have no label, students without a teacher learn from the labeled ones alone.
    for taught, folder in ((False, out / "alone"), (True, out / "taught")):
        group = [recipe for recipe in recipes if uses_teacher(recipe) == taught]
        if group:
            plan = comparison(
                {recipe: _settings(recipe, prepared) for recipe in group},
                run=prepared.config(taught),
                teachers=[prepared.folder / TEACHER_FILE] if taught else [],
                vary={RATE: rates},
                seeds=[prepared.seed],
            )
            result = run_comparison(plan, folder, jobs=1, force=True)
            students += [_student(arm, folder) for arm in result.arms]
    return students


def chosen(
    students: Sequence[Sequence[TrainedStudent]], recipe: str, rates: Sequence[float] = RATES
) -> list[TrainedStudent]:
    """Of a recipe's students those of the rate that did best on held-out images, the mean over seeds.

    One seed holds out too few images to choose by. The first rate wins ties.

    Args:
        students: one list a seed.
        recipe: its name.
        rates: learning rates.

    Returns:
        one student a seed; none where no rate has a student of every seed.
    """
    by_rate = [[one for own in students for one in own if (one.recipe, one.rate) == (recipe, rate)] for rate in rates]
    complete = [own for own in by_rate if len(own) == len(students)]
    return max(complete, key=lambda own: fmean(one.held_out for one in own), default=[])


def uses_teacher(recipe: str) -> bool:
    """Whether a recipe queries the teacher."""
    return recipe == AUDITED or DistillationLoss.from_recipe(recipe).uses_teacher


def _settings(recipe: str, prepared: Prepared) -> dict[str, str]:
    """Those in which a recipe's runs differ from the others."""
    return {"recipe": "safe", "audit": str(audited(prepared))} if recipe == AUDITED else {"recipe": recipe}


AUDIT_FOLDER, ADVICE_FILE = "audit", "advice.json"


def audited(prepared: Prepared) -> Path:
    """The folder of an audit of the students' images, made once; beside its files the recipe that it advises."""
    folder = prepared.folder / AUDIT_FOLDER
    if not (folder / ADVICE_FILE).is_file():
        config = {**prepared.config(True), "teacher": prepared.folder / TEACHER_FILE, "recipe": "kd"}
        result = audit(resolve(config), teacher_accuracy=prepared.measures["accuracy_on_test"])
        write_audit(result, folder)
        write_whole({folder / ADVICE_FILE: json.dumps(advise(result).recipe).encode()})
    return folder


def advised(prepared: Prepared) -> str:
    """The recipe that an audit advises."""
    recipe: str = read_json(audited(prepared) / ADVICE_FILE)
    return recipe


def _student(arm: ArmResult, out: Path) -> TrainedStudent:
    assert arm.held_out is not None, "a fifth is held out"
    return TrainedStudent(
        recipe=arm.recipe,
        rate=arm.settings[RATE],
        held_out=arm.held_out.mean,
        accuracy=arm.accuracy.mean,
        ece=arm.ece.mean,
        folder=out / arm.folders[0],
    )
