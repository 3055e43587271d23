"""A study as data: its teachers, its arms, how each is trained, and the columns of its table."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from experiments.studies.engine.columns import COLUMNS
from preceptor.data import Dataset
from preceptor.errors import InputError, unknown_name
from preceptor.loss import DistillationLoss
from preceptor.recipes import read_recipe, recipe
from preceptor.training import Precision, TrainingConfig


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TeacherKind(_Settings):
    """How a teacher is made; each seed trains one of every kind.

    Attributes:
        name, about: short, for tables; what was done to it.
        rate: share of the labels swapped in each class of a confusable pair; 0 leaves every label right.
        epochs: of its training, on a schedule of that length; None is the study's ``teacher_training``.
    """

    name: str
    about: str
    rate: float = Field(default=0.0, ge=0, le=1)
    epochs: int | None = Field(default=None, ge=1)


class Arm(_Settings):
    """One way to train a student.

    Attributes:
        name: short, for tables.
        recipe, overrides: by name, and changes to it by dotted key.
        about: what it does; None is the recipe's own description.
        baseline, second_baseline: the arms its differences are taken to; None is the study's baseline, and no second.
        group: arms of one group share a table under this heading.
    """

    name: str
    recipe: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    about: str | None = None
    baseline: str | None = None
    second_baseline: str | None = None
    group: str = ""

    def loss(self) -> DistillationLoss:
        """A new loss each time: it may have parameters, and a selection that is fitted."""
        return DistillationLoss(**recipe(self.recipe, self.overrides))

    @property
    def description(self) -> str:
        """What the arm does."""
        return self.about if self.about is not None else read_recipe(self.recipe).about


def arms_of(*recipes: str) -> tuple[Arm, ...]:
    """One arm a recipe, unchanged and under its name."""
    return tuple(Arm(name=name, recipe=name) for name in recipes)


class Study(_Settings):
    """The settings of a study.

    Attributes:
        name, title: for the result file.
        setting: what was done, in sentences.
        shows, does_not_show: what may be concluded, and what not.
        data, data_root: a data set by name, and its folder; None as for ``RunConfig``.
        pairs: classes whose labels are swapped; None finds the most confusable ones in the training images.
        teachers: the kinds of teacher; every arm meets every kind.
        held_out: share of the training images that no teacher learns from; selections may be fitted on them.
        unseen: students learn from held-out images rather than from the teacher's own.
        training_images: training images of each student, stratified, with right labels.
        teacher, student: architectures.
        teacher_training, student_training: how each is trained.
        augment: use the data set's augmentation.
        arms: the rows.
        baseline: the arm that differences are taken to.
        noun: what the arms are that are neither baseline nor control: "correction".
        recovery: the kind of teacher that the recovery ratio compares with; None for no such ratio.
        columns: of the table, in order; see :mod:`experiments.studies.engine.columns`.
        seeds: each draws labels, split, subset, weights, order and views anew.
        precision: "fp32" or "bf16".
    """

    name: str
    title: str
    setting: str
    shows: str
    does_not_show: str
    data: str
    data_root: Path | None = None
    pairs: tuple[tuple[int, int], ...] | None = None
    teachers: tuple[TeacherKind, ...] = Field(min_length=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)
    unseen: bool = False
    training_images: int = Field(ge=2)
    teacher: str
    student: str
    teacher_training: TrainingConfig
    student_training: TrainingConfig
    augment: bool = True
    arms: tuple[Arm, ...] = Field(min_length=1)
    baseline: str = "kd"
    noun: str = "correction"
    recovery: str | None = None
    columns: tuple[str, ...] = ("accuracy", "difference", "affected")
    seeds: tuple[int, ...] = Field(min_length=1)
    precision: Precision = "fp32"

    def baseline_of(self, arm: Arm) -> str | None:
        """The arm that this one's differences are taken to; None for the baseline itself."""
        if arm.baseline is not None:
            return arm.baseline
        return None if arm.name == self.baseline else self.baseline

    def training_of(self, kind: TeacherKind) -> TrainingConfig:
        """How a teacher of this kind is trained."""
        return self.teacher_training.model_copy(update={} if kind.epochs is None else {"epochs": kind.epochs})

    def arms_for(self, kind: TeacherKind) -> tuple[Arm, ...]:
        """The arms to train under a kind of teacher: those without a teacher are trained once, under the first."""
        if kind == self.teachers[0]:
            return self.arms
        return tuple(arm for arm in self.arms if arm.loss().uses_teacher)

    def images_trained_on(self, dataset: Dataset) -> int:
        """Images over all seeds: those of every teacher, and the batches that the students of a teacher share."""
        pool = len(dataset.train) - round(self.held_out * len(dataset.train))
        of_teachers = sum(pool * self.training_of(kind).epochs for kind in self.teachers)
        passes = sum(bool(self.arms_for(kind)) for kind in self.teachers)
        return len(self.seeds) * (of_teachers + passes * self.training_images * self.student_training.epochs)

    def check(self) -> None:
        """Find what is wrong before anything is trained.

        Raises:
            InputError: two things share a name, a name is unknown, or a recipe cannot be built.
        """
        arms = [arm.name for arm in self.arms]
        kinds = [kind.name for kind in self.teachers]
        for what, names in (("arms", arms), ("teachers", kinds)):
            if len(set(names)) < len(names):
                raise InputError(f"study {self.name}: two {what} share a name in {names}; rename one of them")
        if self.baseline not in arms:
            raise InputError(f"study {self.name}: the baseline {self.baseline!r} is not among its arms: {arms}")
        if self.recovery is not None and self.recovery not in kinds:
            raise unknown_name(f"teacher for the recovery ratio of study {self.name}", self.recovery, kinds)
        for column in self.columns:
            if column not in COLUMNS:
                raise unknown_name(f"column in study {self.name}", column, COLUMNS)
        for arm in self.arms:
            for other in (arm.baseline, arm.second_baseline):
                if other is not None and other not in set(arms) - {arm.name}:
                    raise unknown_name(f"baseline of arm {arm.name}", other, set(arms) - {arm.name})
            arm.loss()
