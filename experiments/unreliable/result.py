"""The result file of the benchmark."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from experiments.unreliable.preparation import Prepared
from experiments.unreliable.running import TrainedStudent, at_rate, situation
from experiments.unreliable.settings import Kind, Setting, Wrong
from preceptor.audit.advice import Situation
from preceptor.compare.differences import Difference, corrected_differences

LABELS, KD, DROP_WRONG = "none", "kd", "drop-wrong"
"""What every recipe is compared with."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipeResult(_Frozen):
    """A recipe in a setting, at the learning rate that was chosen for it.

    Attributes:
        recipe: its name.
        rate: its learning rate.
        held_out: accuracy on held-out images, against the labels that were given.
        accuracy, ece: on the test images.
        copied, mended: of the teacher's errors on the test images, the shares that the student repeats and gets right.
        to_labels, to_kd, to_drop_wrong: differences of its accuracy to that of labels alone, of KD and of the control
            drop-wrong, their intervals corrected for all recipes of the setting; None of these recipes themselves.
    """

    recipe: str
    rate: float
    held_out: list[float]
    accuracy: list[float]
    ece: list[float]
    copied: list[float]
    mended: list[float]
    to_labels: Difference | None
    to_kd: Difference | None
    to_drop_wrong: Difference | None


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
        situation: what the audit of the first seed's images says.
        recipes: those of which every seed has a student at one rate or more.
        diverged: the others.
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
    situation: Situation
    recipes: list[RecipeResult]
    diverged: list[str]

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


def setting_result(
    setting: Setting,
    prepared: Sequence[Prepared],
    students: Sequence[Sequence[TrainedStudent]],
    recipes: Sequence[str],
    rates: Mapping[str, float],
) -> SettingResult:
    """What came of a setting.

    Args:
        setting: it.
        prepared, students: one a seed.
        recipes, rates: by name; the rate that was chosen for each.
    """
    best = {name: at_rate(students, name, rates.get(name)) for name in recipes}
    complete = {name: own for name, own in best.items() if own}
    return SettingResult(
        **{
            name: getattr(setting, name)
            for name in ("name", "about", "kind", "wrong", "source", "student", "labels", "unlabeled", "epochs")
        },
        wrong_labels=[one.measures["wrong_labels"] for one in prepared],
        teacher=TeacherResult.of(prepared),
        situation=situation(prepared[0]),
        recipes=_recipe_results(complete, prepared),
        diverged=[name for name in recipes if name not in complete],
    )


def _recipe_results(
    students: Mapping[str, Sequence[TrainedStudent]], prepared: Sequence[Prepared]
) -> list[RecipeResult]:
    labels, teacher = (torch.stack(rows) for rows in zip(*(one.on_test() for one in prepared), strict=True))
    predicted = {name: torch.stack([one.predicted(labels.shape[1]) for one in own]) for name, own in students.items()}
    right = {name: rows == labels for name, rows in predicted.items()}
    to_labels, to_kd, to_drop_wrong = (_differences(right, baseline) for baseline in (LABELS, KD, DROP_WRONG))
    return [
        RecipeResult(
            recipe=name,
            rate=own[0].rate,
            held_out=[one.held_out for one in own],
            accuracy=[one.accuracy for one in own],
            ece=[one.ece for one in own],
            copied=_shares(predicted[name] == teacher, teacher != labels),
            mended=_shares(right[name], teacher != labels),
            to_labels=to_labels.get(name),
            to_kd=to_kd.get(name),
            to_drop_wrong=to_drop_wrong.get(name),
        )
        for name, own in students.items()
    ]


def _differences(right: Mapping[str, Bool[Tensor, "seeds samples"]], baseline: str) -> dict[str, Difference]:
    return corrected_differences(right, baseline) if baseline in right and len(right) > 1 else {}


def _shares(which: Bool[Tensor, "seeds samples"], among: Bool[Tensor, "seeds samples"]) -> list[float]:
    """By seed; 0 among none."""
    shares: list[float] = ((which & among).sum(dim=1) / among.sum(dim=1).clamp_min(1)).tolist()
    return shares
