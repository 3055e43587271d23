"""The result of a study: one row an arm and teacher, paired over seeds, with all it takes to repeat it."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from preceptor.compare.measure import Measure
from preceptor.metrics import PairedDifference, paired_difference
from preceptor.result_files import read_result, write_result


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PairedMeasure(Measure):
    """One measure of an arm and its differences; see :data:`experiments.studies.engine.columns.MEASURES`.

    Attributes:
        difference: paired over seeds, to the same measure of the arm's baseline under the same teacher; for a measure
            by reservation, to softmax response on the same networks. None without a baseline.
        second_difference: the same to the arm's second baseline.
    """

    difference: PairedDifference | None
    second_difference: PairedDifference | None = None

    @classmethod
    def paired(
        cls,
        values: Sequence[float],
        baseline: Sequence[float] | None = None,
        second_baseline: Sequence[float] | None = None,
    ) -> "PairedMeasure":
        """Summarize the values of the seeds; the baselines hold theirs in the same order."""
        return cls(
            **dict(Measure.of(values)),
            difference=None if baseline is None else paired_difference(values, baseline),
            second_difference=None if second_baseline is None else paired_difference(values, second_baseline),
        )


class Recovery(_Frozen):
    """Share of what a bad teacher costs the baseline that an arm wins back.

    ``(accuracy(arm, bad) - accuracy(baseline, bad)) / (accuracy(baseline, clean) - accuracy(baseline, bad))``: 0 is no
    better than the baseline, 1 as good as the baseline with a clean teacher.

    Attributes:
        ratio: of the two means over seeds.
        values: one a seed; None where the bad teacher cost nothing under that seed.
    """

    ratio: float
    values: list[float | None]

    @classmethod
    def of(cls, arm: Sequence[float], baseline: Sequence[float], clean: Sequence[float]) -> "Recovery | None":
        """The ratio from accuracies, one a seed, of arm and baseline with the bad teacher, and with the clean one.

        None when the bad teacher, on average, cost the baseline nothing.
        """
        gains = [a - b for a, b in zip(arm, baseline, strict=True)]
        costs = [c - b for c, b in zip(clean, baseline, strict=True)]
        if fmean(costs) <= 0:
            return None
        values = [gain / cost if cost > 0 else None for gain, cost in zip(gains, costs, strict=True)]
        return cls(ratio=fmean(gains) / fmean(costs), values=values)


class ArmRow(_Frozen):
    """One arm under one kind of teacher, over the seeds.

    Attributes:
        teacher, arm, recipe: names.
        about: what the arm does.
        baseline, second_baseline: the arms its differences are taken to; None for the baseline.
        measures: by name; those that do not apply are left out.
        affected: training images on which the recipe corrects the teacher or gives it no weight, one a seed; None for
            recipes that do neither.
        group: the heading of its table; empty where a teacher has one table only.
        recovery: None where it does not apply, or when the teacher, on average, costs the baseline nothing.
    """

    teacher: str
    arm: str
    recipe: str
    about: str
    baseline: str | None
    measures: dict[str, PairedMeasure]
    affected: list[int] | None
    second_baseline: str | None = None
    group: str = ""
    recovery: Recovery | None = None

    @property
    def accuracy(self) -> PairedMeasure:
        """On the test set after the last epoch, 0 to 1."""
        return self.measures["accuracy"]


class TeacherRow(_Frozen):
    """The teachers of one kind, one a seed.

    Attributes:
        name, about: of the kind, and what was done to it.
        images, wrong_labels: how many training images each learned from, and how many of their labels were wrong.
        accuracy: on the test set.
        accuracy_on_training_images: on the students' images, unaugmented, against the right labels.
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
        title, setting, shows, does_not_show, training_images, noun, columns: as in :class:`Study`.
        config: every setting.
        baseline: the arm differences are taken to, unless a row names another.
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


def save_result(result: StudyResult, path: Path) -> None:
    """Write a result file as JSON, atomically; `MachineError` where it cannot be."""
    write_result(result, path)


def load_result(path: Path) -> StudyResult:
    """Read a result file; `InputError` where it is missing, not JSON, or not a study's result."""
    return read_result(StudyResult, path)
