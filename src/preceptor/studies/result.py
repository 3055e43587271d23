"""What a study leaves behind: one row an arm and teacher, paired over seeds, with all it takes to make it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from preceptor.metrics import PairedDifference, mean_and_deviation, paired_difference
from preceptor.result_files import read_result, write_result


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Measure(_Frozen):
    """One measure over the seeds; see :data:`preceptor.studies.columns.MEASURES`.

    Attributes:
        values: one a seed.
        mean: of these.
        deviation: sample standard deviation (n - 1) over seeds; None with one seed.
        difference: paired over seeds, to the same measure of the arm this one is held against under the same teacher;
            for a measure by reservation, to softmax response on the same networks. None where there is nothing to
            compare with.
        also_difference: the same to the second arm this one is held against, for every measure.
    """

    values: list[float]
    mean: float
    deviation: float | None
    difference: PairedDifference | None
    also_difference: PairedDifference | None = None


class Repair(_Frozen):
    """How much of what a bad teacher costs an arm makes good.

    ``(accuracy(arm, bad) - accuracy(baseline, bad)) / (accuracy(baseline, clean) - accuracy(baseline, bad))``: 0 is no
    better than the baseline, 1 as good as the baseline with a clean teacher.

    Attributes:
        ratio: of the two means over seeds.
        values: one a seed; None where the bad teacher cost nothing under that seed.
    """

    ratio: float
    values: list[float | None]


class ArmRow(_Frozen):
    """One arm under one kind of teacher, over the seeds.

    Attributes:
        teacher: the kind's name.
        arm: its name.
        recipe: the recipe's name.
        about: what it does.
        against: the arm its differences are taken to; None for the baseline.
        measures: by name; those that do not apply are not there.
        affected: training_images on which the recipe corrects the teacher, or does not listen to it, one a seed; None for
            recipes that do neither.
        also_against: the second arm that differences are taken to; None for none.
        group: the heading of the table it stands in; empty where a teacher has one table only.
        repair: None where nothing is to be repaired, or when the teacher, on average, costs the baseline nothing.
    """

    teacher: str
    arm: str
    recipe: str
    about: str
    against: str | None
    measures: dict[str, Measure]
    affected: list[int] | None
    also_against: str | None = None
    group: str = ""
    repair: Repair | None = None

    @property
    def accuracy(self) -> Measure:
        """On the test set after the last epoch, 0 to 1."""
        return self.measures["accuracy"]


class TeacherRow(_Frozen):
    """The teachers of one kind, one a seed.

    Attributes:
        name: of the kind.
        about: what was done to it.
        images: how many training images each learned from.
        wrong_labels: how many of their labels were wrong.
        accuracy: on the test set.
        accuracy_on_training_images: on the images the students are given, against the right labels.
        error_by_class: on the same images, share wrong per class; one list a seed, None for a class without image.
    """

    name: str
    about: str
    images: int
    wrong_labels: list[int]
    accuracy: list[float]
    accuracy_on_training_images: list[float]
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
        training_images: images given to each student, with right labels.
        baseline: the arm differences are taken to, unless a row names another.
        noun: what the arms are that are neither baseline nor control.
        columns: of the table.
        teachers: one a kind.
        rows: one an arm, kind of teacher by kind of teacher.
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
    training_images: int
    baseline: str
    noun: str = "correction"
    columns: tuple[str, ...] = ("accuracy", "difference", "affected")
    teachers: list[TeacherRow] = Field(min_length=1)
    rows: list[ArmRow] = Field(min_length=1)
    versions: dict[str, str]
    seconds: float = Field(ge=0)

    @model_validator(mode="after")
    def _one_error_a_class(self) -> "StudyResult":
        count = len(self.class_names)
        for teacher in self.teachers:
            if any(len(errors) != count for errors in teacher.error_by_class):
                raise ValueError(f"teacher {teacher.name}: error_by_class needs one value for each of {count} classes")
        return self

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.rows[0].accuracy.values)

    def rows_of(self, teacher: TeacherRow) -> list[ArmRow]:
        """The rows of a kind of teacher."""
        return [row for row in self.rows if row.teacher == teacher.name]

    def row(self, arm: str, teacher: str | None = None) -> ArmRow:
        """The row of an arm, under the first kind of teacher or the one named."""
        kind = self.teachers[0].name if teacher is None else teacher
        return next(row for row in self.rows if (row.arm, row.teacher) == (arm, kind))


class ExampleImage(_Frozen):
    """An image on which a teacher was confidently wrong. It holds pixels of the data, so no result file holds it.

    Attributes:
        pixels: uint8 array [height, width] or [height, width, 3].
        truth: the right class.
        said: the teacher's probabilities at temperature 1.
        targets: what each correction makes of them at temperature 1, by the correction's name.
        teacher: the name of its kind.
    """

    pixels: Any
    truth: int
    said: list[float]
    targets: dict[str, list[float]]
    teacher: str = ""


def measure(
    values: Sequence[float], against: Sequence[float] | None = None, also_against: Sequence[float] | None = None
) -> Measure:
    """Summarize a measure's seeds; ``against`` and ``also_against`` hold those it is compared with, in that order."""
    mean, deviation = mean_and_deviation(values)
    return Measure(
        values=list(values),
        mean=mean,
        deviation=deviation,
        difference=None if against is None else paired_difference(values, against),
        also_difference=None if also_against is None else paired_difference(values, also_against),
    )


def repair(arm: Sequence[float], baseline: Sequence[float], clean: Sequence[float]) -> Repair | None:
    """The repair ratio from accuracies, one a seed; see :class:`Repair`.

    Args:
        arm: with the bad teacher.
        baseline: with the bad teacher.
        clean: the baseline with the clean teacher.

    Returns:
        None when the bad teacher, on average, cost the baseline nothing.
    """
    gained = [a - b for a, b in zip(arm, baseline, strict=True)]
    lost = [c - b for c, b in zip(clean, baseline, strict=True)]
    if fmean(lost) <= 0:
        return None
    values = [gain / loss if loss > 0 else None for gain, loss in zip(gained, lost, strict=True)]
    return Repair(ratio=fmean(gained) / fmean(lost), values=values)


def value_lists(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Measures of several seeds by name, those that every seed has."""
    return {name: [row[name] for row in rows] for name in rows[0] if all(name in row for row in rows)}


def save_result(result: StudyResult, path: Path) -> None:
    """Write a result file as JSON, beside its place and renamed.

    Raises:
        MachineError: it cannot be written.
    """
    write_result(result, path)


def load_result(path: Path) -> StudyResult:
    """Read a result file.

    Raises:
        InputError: it is missing, not JSON, or not a study's result.
    """
    return read_result(StudyResult, path)
