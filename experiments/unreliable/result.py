"""The result file of the benchmark."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from experiments.unreliable.preparation import Prepared
from experiments.unreliable.running import StudentRow, chosen
from experiments.unreliable.settings import Kind, Setting, Wrong


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeResult(_Frozen):
    """A recipe in a setting: per seed the student whose learning rate did best on that seed's held-out images.

    Attributes:
        recipe: its name.
        rates, held_out, accuracy, ece, copied, mended: as in :class:`StudentRow`, one a seed.
    """

    recipe: str
    rates: list[float]
    held_out: list[float]
    accuracy: list[float]
    ece: list[float]
    copied: list[float | None]
    mended: list[float | None]

    @classmethod
    def of(cls, rows: Sequence[StudentRow]) -> "RecipeResult":
        """From the chosen students, one a seed."""
        return cls(
            recipe=rows[0].recipe,
            rates=[row.rate for row in rows],
            held_out=[row.held_out for row in rows],
            accuracy=[row.accuracy for row in rows],
            ece=[row.ece for row in rows],
            copied=[row.copied for row in rows],
            mended=[row.mended for row in rows],
        )


class TeacherResult(_Frozen):
    """A setting's teacher, one value a seed: accuracy against the right labels and mean confidence, by images."""

    accuracy_on_students: list[float]
    confidence_on_students: list[float]
    accuracy_on_test: list[float]
    confidence_on_test: list[float]

    @classmethod
    def of(cls, prepared: Sequence[Prepared]) -> "TeacherResult":
        """From the prepared folders, one a seed."""
        measures = [one.measures for one in prepared]
        return cls(**{name: [own[name] for own in measures] for name in cls.model_fields})


class SettingResult(_Frozen):
    """A setting and its students.

    Attributes:
        name, about, kind, wrong: as in :class:`Setting`.
        source, student, labels, unlabeled, epochs: what students learn from, and how long.
        wrong_labels: share of the students' labels that are wrong, one a seed.
        teacher: how good it is.
        recipes: one a recipe; the first is labels alone.
    """

    name: str
    about: str
    kind: Kind
    wrong: Wrong
    source: str
    student: str
    labels: int
    unlabeled: int
    epochs: int
    wrong_labels: list[float]
    teacher: TeacherResult
    recipes: list[RecipeResult]

    @classmethod
    def of(
        cls, setting: Setting, prepared: Sequence[Prepared], rows: Sequence[Sequence[StudentRow]]
    ) -> "SettingResult":
        """From all students of all seeds."""
        names = dict.fromkeys(row.recipe for row in rows[0])
        return cls(
            **{
                name: getattr(setting, name)
                for name in ("name", "about", "kind", "wrong", "source", "student", "labels", "unlabeled", "epochs")
            },
            wrong_labels=[one.measures["wrong_labels"] for one in prepared],
            teacher=TeacherResult.of(prepared),
            recipes=[RecipeResult.of([chosen(own, name) for own in rows]) for name in names],
        )

    def recipe(self, name: str) -> RecipeResult:
        """One of the recipes."""
        return next(own for own in self.recipes if own.recipe == name)


class BenchmarkResult(_Frozen):
    """All settings that are done; valid at every moment of a benchmark.

    Attributes:
        kind: the name of the module in ``experiments/bench`` that shows it.
        seeds: each draws the students' images, their weights and their order.
        rates: learning rates that were offered.
        settings: in order.
        versions: packages and machine.
    """

    kind: Literal["unreliable"] = "unreliable"
    seeds: list[int]
    rates: list[float]
    settings: list[SettingResult]
    versions: dict[str, str]
