"""Students of one setting and seed: every recipe at every learning rate, and what came of them."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from experiments.unreliable.preparation import Prepared
from preceptor.context import predicted_class
from preceptor.data import load_dataset
from preceptor.loss import DistillationLoss
from preceptor.metrics import calibration_error
from preceptor.metrics.agreement import copied_error
from preceptor.metrics.logits import network_logits
from preceptor.metrics.scores import softmax_response
from preceptor.models import load_student
from preceptor.result_files import read_result, write_result
from preceptor.run import resolve, run

RECIPES = (
    "none",
    "kd",
    "drop-wrong",
    "label-revision-kl",
    "ka-ps",
    "ka-dtd",
    "ka-lsr",
    "cmkd",
    "corrected-cmkd",
    "dist",
    "lr",
    "dtd-flsw",
)
RATES = (0.1, 0.05, 0.2)
"""The first wins ties."""

STUDENT_FILE = "measures.json"


class StudentRow(BaseModel):
    """One student.

    Attributes:
        recipe, rate: its recipe and learning rate.
        held_out: accuracy on the held-out tenth of the students' images, against the labels that were given.
        accuracy, ece: on the test set, whose labels are right.
        copied: of the teacher's errors on the test set, the share that the student repeats; None of no error.
        mended: of these errors, the share that the student gets right.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    rate: float
    held_out: float
    accuracy: float
    ece: float
    copied: float | None
    mended: float | None


def teach(
    prepared: Prepared,
    recipes: Sequence[str],
    rates: Sequence[float],
    out: Path,
    report: Callable[[StudentRow], None] = lambda row: None,
) -> list[StudentRow]:
    """Train a student of every recipe at every rate; those that are measured already are read.

    Args:
        prepared: the setting and seed.
        recipes, rates: by name; learning rates.
        out: folder of this setting and seed.
        report: called with every student.
    """
    rows = []
    for recipe in recipes:
        for rate in rates:
            rows.append(_student(prepared, recipe, rate, out / f"{recipe}-{rate:g}"))
            report(rows[-1])
    return rows


def chosen(rows: Sequence[StudentRow], recipe: str) -> StudentRow:
    """Of a recipe's students the one whose rate did best on the held-out images; the first of equals."""
    return max((row for row in rows if row.recipe == recipe), key=lambda row: row.held_out)


def uses_teacher(recipe: str) -> bool:
    """Whether a recipe queries the teacher."""
    return DistillationLoss.from_recipe(recipe).uses_teacher


def _student(prepared: Prepared, recipe: str, rate: float, folder: Path) -> StudentRow:
    if (folder / STUDENT_FILE).is_file():
        return read_result(StudentRow, folder / STUDENT_FILE)
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process left: a student takes seconds
    config = resolve(prepared.config(uses_teacher(recipe)), [("recipe", recipe), ("training.learning_rate", rate)])
    result = run(config, folder, force=True)
    assert result.validation is not None, "a tenth is held out"
    row = measured(prepared, recipe, rate, folder, result.validation.accuracy)
    write_result(row, folder / STUDENT_FILE)
    return row


def measured(prepared: Prepared, recipe: str, rate: float, folder: Path, held_out: float) -> StudentRow:
    """A trained student on the setting's test images, beside its teacher."""
    test = load_dataset(prepared.config(uses_teacher(recipe))["data"]).test
    assert test is not None, "every setting has test images"
    network, card = load_student(folder)
    logits = network_logits(network, card.normalization(), test.images)
    right = predicted_class(logits) == test.labels
    copied = copied_error(logits, prepared.teacher_on_test.float(), test.labels)
    errors = ~copied.isnan()
    some = bool(errors.any())
    return StudentRow(
        recipe=recipe,
        rate=rate,
        held_out=held_out,
        accuracy=float(right.double().mean()),
        ece=calibration_error(softmax_response(logits), right),
        copied=float(copied[errors].mean()) if some else None,
        mended=float(right[errors].double().mean()) if some else None,
    )
