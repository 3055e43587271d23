"""What a study leaves behind: one row a recipe, paired over seeds, with everything needed to make it again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from preceptor.config import validated
from preceptor.errors import InputError
from preceptor.evaluation import PairedDifference, mean_and_deviation, paired_difference
from preceptor.files import write_whole


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class RecipeRow(_Frozen):
    """One recipe over the seeds.

    Attributes:
        recipe: its name.
        about: what it does.
        accuracy: on the test set after the last epoch, one a seed, 0 to 1.
        mean: of these.
        deviation: sample standard deviation (n - 1) over seeds; None with one seed.
        difference: to the baseline recipe, paired over seeds; None for the baseline itself.
        touched: samples whose supervision the recipe changes where the teacher is wrong (corrected, or
            dropped), one a seed; None for recipes that do neither.
    """

    recipe: str
    about: str
    accuracy: list[float]
    mean: float
    deviation: float | None
    difference: PairedDifference | None
    touched: list[int] | None


class TeacherRow(_Frozen):
    """The teachers, one a seed.

    Attributes:
        images: how many training images each learned from.
        wrong_labels: how many of their labels were wrong.
        accuracy: on the test set.
        accuracy_on_lessons: on the images the students are given, against the right labels.
        error_by_class: on the same images, share wrong per class; one list a seed, None for a class without image.
    """

    images: int
    wrong_labels: list[int]
    accuracy: list[float]
    accuracy_on_lessons: list[float]
    error_by_class: list[list[float | None]]


class StudyResult(_Frozen):
    """The result file of a study.

    Attributes:
        study: its name.
        title: one line.
        setting: what was done, in sentences.
        shows, does_not_show: what may be concluded, and what not.
        config: every setting.
        class_names: of the data.
        lessons: images given to each student, with right labels.
        baseline: the recipe differences are taken to.
        teacher: the teachers.
        rows: one a recipe.
        versions: packages and machine.
        seconds: wall-clock time of the whole study.
    """

    study: str
    title: str
    setting: str
    shows: str
    does_not_show: str
    config: dict[str, Any]
    class_names: tuple[str, ...]
    lessons: int
    baseline: str
    teacher: TeacherRow
    rows: list[RecipeRow]
    versions: dict[str, str]
    seconds: float = Field(ge=0)

    @model_validator(mode="after")
    def _one_error_a_class(self) -> "StudyResult":
        if any(len(errors) != len(self.class_names) for errors in self.teacher.error_by_class):
            raise ValueError(f"teacher.error_by_class needs one value for each of {len(self.class_names)} classes")
        return self

    def row(self, recipe: str) -> RecipeRow:
        """The row of a recipe."""
        return next(row for row in self.rows if row.recipe == recipe)


class Exhibit(_Frozen):
    """An image on which a teacher was confidently wrong. It holds pixels of the data, so no result file holds it.

    Attributes:
        pixels: uint8 array [height, width] or [height, width, 3].
        truth: the right class.
        said: the teacher's probabilities at temperature 1.
        targets: what each correction makes of them at temperature 1, by the correction's name.
    """

    pixels: Any
    truth: int
    said: list[float]
    targets: dict[str, list[float]]


def recipe_row(
    recipe: str, about: str, accuracy: Sequence[float], baseline: Sequence[float] | None, touched: list[int] | None
) -> RecipeRow:
    """Summarise a recipe's seeds; ``baseline`` is None for the baseline itself."""
    mean, deviation = mean_and_deviation(accuracy)
    difference = None if baseline is None else paired_difference(accuracy, baseline)
    return RecipeRow(
        recipe=recipe,
        about=about,
        accuracy=list(accuracy),
        mean=mean,
        deviation=deviation,
        difference=difference,
        touched=touched,
    )


def save_result(result: StudyResult, path: Path) -> None:
    """Write a result file as JSON, beside its place and renamed.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_whole({path: (result.model_dump_json(indent=1) + "\n").encode()})


def load_result(path: Path) -> StudyResult:
    """Read a result file.

    Raises:
        InputError: it is missing, not JSON, or not a study's result.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable result file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return validated(StudyResult, content, str(path))
