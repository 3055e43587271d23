"""A study as data: which teachers, which arms, how each is trained, and what is shown."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from preceptor.data import Dataset
from preceptor.errors import InputError, unknown_name
from preceptor.loss import DistillationLoss
from preceptor.recipes import read_recipe, recipe
from preceptor.studies.columns import COLUMNS
from preceptor.training import Precision, TrainingConfig


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TeacherKind(_Settings):
    """How a teacher is made; under each seed one of every kind is trained.

    Attributes:
        name: short, for tables.
        about: what was done to it.
        rate: share of the labels swapped in each class of a confusable pair; 0 leaves every label right.
        epochs: of its training, on a schedule of that length; None is the teacher protocol's.
    """

    name: str
    about: str
    rate: float = Field(default=0.0, ge=0, le=1)
    epochs: int | None = Field(default=None, ge=1)


class Arm(_Settings):
    """One way to teach a student.

    Attributes:
        name: short, for tables.
        recipe: by name.
        overrides: changes to the recipe by dotted key.
        about: what it does; None is what the recipe says of itself.
        against: the arm its differences are taken to; None is the study's baseline.
        also_against: a second arm to take differences to.
        group: arms of one group have a table of their own, under this heading.
    """

    name: str
    recipe: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    about: str | None = None
    against: str | None = None
    also_against: str | None = None
    group: str = ""

    def loss(self) -> DistillationLoss:
        """The chain that teaches; a new one each time, for it may have parameters and may be fitted."""
        return DistillationLoss(**recipe(self.recipe, self.overrides))

    @property
    def said(self) -> str:
        """What it does."""
        return self.about if self.about is not None else read_recipe(self.recipe).about


def arms_of(*recipes: str) -> tuple[Arm, ...]:
    """One arm a recipe, as the recipe is, under its name."""
    return tuple(Arm(name=name, recipe=name) for name in recipes)


class Study(_Settings):
    """The settings of a study.

    Attributes:
        name, title, setting, shows, does_not_show: for the result file.
        data: a data set by name.
        data_root: where it lies; None as for ``RunConfig``.
        pairs: classes taken for each other; None finds the most confusable ones in the training images.
        teachers: the kinds of teacher; every arm meets every kind.
        held_out: share of the training images that nobody learns from; selections may be fitted on them.
        training_images: training images given to each student, stratified, with right labels.
        teacher, student: architectures.
        teacher_protocol, student_protocol: how each is trained.
        augment: show teachers and students random views, by the data set's rule, rather than the images as they are.
        arms: the rows.
        baseline: the arm that differences are taken to.
        noun: what the arms are that are neither baseline nor control, for sentences: "correction".
        repair: the kind of teacher that repair ratios are measured by; None for no such ratio.
        columns: of the table, in order; see :mod:`preceptor.studies.columns`.
        seeds: each draws labels, split, subset, weights, order and views anew.
        precision: "fp32" or "bf16".
        examples: how many images to show.
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
    training_images: int = Field(ge=2)
    teacher: str
    student: str
    teacher_protocol: TrainingConfig
    student_protocol: TrainingConfig
    augment: bool = True
    arms: tuple[Arm, ...] = Field(min_length=1)
    baseline: str = "kd"
    noun: str = "correction"
    repair: str | None = None
    columns: tuple[str, ...] = ("accuracy", "difference", "affected")
    seeds: tuple[int, ...] = Field(min_length=1)
    precision: Precision = "fp32"
    examples: int = Field(default=12, ge=0)

    def against(self, arm: Arm) -> str | None:
        """The arm that this one's differences are taken to; None for the baseline itself."""
        if arm.against is not None:
            return arm.against
        return None if arm.name == self.baseline else self.baseline

    def protocol_of(self, kind: TeacherKind) -> TrainingConfig:
        """How a teacher of this kind is trained."""
        if kind.epochs is None:
            return self.teacher_protocol
        return self.teacher_protocol.model_copy(update={"epochs": kind.epochs})

    def arms_for(self, kind: TeacherKind) -> tuple[Arm, ...]:
        """The arms to train under a kind of teacher: those without a teacher need it once only, under the first."""
        if kind == self.teachers[0]:
            return self.arms
        return tuple(arm for arm in self.arms if arm.loss().uses_teacher)

    def images_trained_on(self, dataset: Dataset) -> int:
        """Over all seeds: every teacher's images, and the batches that each class of students shares."""
        pool = len(dataset.train) - round(self.held_out * len(dataset.train))
        taught = sum(pool * self.protocol_of(kind).epochs for kind in self.teachers)
        classes = sum(bool(self.arms_for(kind)) for kind in self.teachers)
        return len(self.seeds) * (taught + classes * self.training_images * self.student_protocol.epochs)

    def check(self) -> None:
        """Find what is wrong with it before anything is trained.

        Raises:
            InputError: a name that is given twice or that nothing has, or a recipe that cannot be built.
        """
        arms = [arm.name for arm in self.arms]
        kinds = [kind.name for kind in self.teachers]
        for what, names in (("arms", arms), ("teachers", kinds)):
            if len(set(names)) < len(names):
                raise InputError(f"study {self.name}: two {what} share a name in {names}: rename one of them")
        if self.baseline not in arms:
            raise InputError(f"study {self.name}: the baseline {self.baseline!r} is not among its arms: {arms}")
        if self.repair is not None and self.repair not in kinds:
            raise unknown_name(f"teacher to repair by in study {self.name}", self.repair, kinds)
        for column in self.columns:
            if column not in COLUMNS:
                raise unknown_name(f"column in study {self.name}", column, COLUMNS)
        for arm in self.arms:
            for other in (arm.against, arm.also_against):
                if other is not None and other not in set(arms) - {arm.name}:
                    raise unknown_name(f"arm that {arm.name} is held against", other, set(arms) - {arm.name})
            arm.loss()
