"""The result of a comparison: every recipe over its seeds, beside its teacher and its baseline."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from pydantic import Field

from preceptor.compare.differences import Difference
from preceptor.compare.measure import Measure
from preceptor.config import FrozenModel

RESULT_FILE = "compare.json"
PAGE_FILE = "compare.html"

COVERAGES = tuple(range(5, 101, 5))
"""In per cent; where the risk is measured."""

Meeting = Literal["both_right", "mended", "own_mistake", "copied", "other_mistake"]
"""Teacher and student on one image: both right; the student right alone; the teacher right alone; both wrong with the
same class; both wrong with different ones."""


class TeacherFacts(FrozenModel):
    """A teacher.

    Attributes:
        name, paths, kind: of it.
        images, labeled: training images of the students, and how many have a label.
        training_accuracy, training_confidence: share of the labels that it names, and its mean probability of the class
            it names, on the students' training images as they are; None where it was not asked about them.
        accuracy: on the images measured on; None where it can't answer about them, and ``unasked`` says why.
    """

    name: str
    paths: list[str]
    kind: str
    images: int
    labeled: int
    training_accuracy: float | None
    training_confidence: float | None
    accuracy: float | None
    unasked: str | None = None


class Band(FrozenModel):
    """A number over the seeds."""

    mean: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Band":
        """Of one number a seed."""
        return cls(mean=fmean(values), lowest=min(values), highest=max(values))


class EpochPoint(FrozenModel):
    """An epoch: the total loss, and the accuracy on held-out images, if any."""

    epoch: int
    loss: Band
    held_out: Band | None


class Cost(FrozenModel):
    """What a student cost.

    Attributes:
        seconds: of its own training steps on one thread, without the teacher.
        queried: samples on which the teacher was queried.
        parameters: of the student.
        peak_memory: bytes that the process of its pass held at most, with the data and all students of the pass; on a
            GPU, of its memory.
    """

    seconds: Measure
    queried: Measure
    parameters: int
    peak_memory: int


class FailedRun(FrozenModel):
    """A run that cannot be finished, and why."""

    seed: int
    message: str


class ArmResult(FrozenModel):
    """A recipe with one teacher and one choice of settings, over its seeds.

    Attributes:
        recipe, about, paper: its name in the comparison, and what the recipe says of itself.
        teacher: None of a recipe of labels alone.
        settings: those varied.
        seeds: of the complete runs, in the order of all values here; ``failed`` are the others.
        accuracy, nll, ece, aurc: on the images measured on, shares 0 to 1 and nats. AURC ranks by the largest
            probability.
        held_out: accuracy on the held-out training images; None where there are none.
        difference: in accuracy to the baseline; None of the baseline, and where a run of either failed.
        per_class: accuracy by class, the mean over seeds; None for a class without an image.
        beside_teacher: shares of the images by how teacher and student meet, the mean over seeds; None without answers
            of the teacher.
        risk: error among the surest share of the images, at each of :data:`COVERAGES`, the mean over seeds.
        curve: by epoch.
        folders: of the runs, within that of the comparison.
    """

    recipe: str
    about: str
    paper: str
    teacher: str | None
    settings: dict[str, Any]
    seeds: list[int]
    failed: list[FailedRun]
    accuracy: Measure
    nll: Measure
    ece: Measure
    aurc: Measure
    held_out: Measure | None
    difference: Difference | None
    per_class: list[float | None]
    beside_teacher: dict[Meeting, float] | None
    risk: list[float]
    curve: list[EpochPoint]
    cost: Cost
    folders: list[str]


class ComparisonResult(FrozenModel):
    """The result file of a comparison.

    Attributes:
        data: the data set, as named.
        measured_on, samples: what the students are measured on, once, after the last epoch, and how many images.
        class_names: in the order of ``per_class``.
        baseline: the recipe that differences are taken to.
        compared: the number of differences, for which their intervals are corrected.
        teachers, arms: one each.
        unfinished: recipes without a complete run, and why.
        differing: settings in which the arms' runs differ, by dotted key, a value an arm.
        plan: what was compared.
        versions: packages and machine.
    """

    data: str
    measured_on: str
    samples: int = Field(ge=1)
    class_names: tuple[str, ...]
    baseline: str
    compared: int
    teachers: list[TeacherFacts]
    arms: list[ArmResult]
    unfinished: dict[str, list[FailedRun]]
    differing: dict[str, list[Any]]
    plan: dict[str, Any]
    versions: Mapping[str, str]
