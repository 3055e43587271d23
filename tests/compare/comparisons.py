"""Made-up comparisons, for their page, sentences and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from preceptor.compare.comparison_result import (
    COVERAGES,
    ArmResult,
    Band,
    ComparisonResult,
    Cost,
    EpochPoint,
    FailedRun,
    TeacherFacts,
)
from preceptor.compare.differences import Difference
from preceptor.compare.measure import Measure

ACCURACY = {"none": (0.79, 0.80, 0.78), "kd": (0.89, 0.88, 0.90), "ka-ps": (0.91, 0.92, 0.93), "cmkd": (0.885,) * 3}
GAINS = {"none": (-0.10, -0.13, -0.07), "ka-ps": (0.03, 0.01, 0.05), "cmkd": (-0.005, -0.03, 0.02)}
WITHOUT_TEACHER = ("none", "gambler")


def gain(mean: float, low: float, high: float) -> Difference:
    return Difference(mean=mean, low=low, high=high, seeds=3, samples=200, compared=3, of_seeds=0.008, of_samples=0.006)


def made_arm(
    recipe: str,
    accuracy: Sequence[float],
    difference: tuple[float, float, float] | None = None,
    *,
    teacher: str | None = "big",
    settings: Mapping[str, Any] | None = None,
    classes: int = 10,
    epochs: int = 4,
    failed: Sequence[FailedRun] = (),
    asked: bool = True,
    held_out: bool = True,
) -> ArmResult:
    """A recipe whose measures follow from its accuracies."""
    mean = sum(accuracy) / len(accuracy)
    values = list(accuracy)
    within = [f"runs/{recipe}/seed-{seed}" for seed in range(len(values))]
    return ArmResult(
        recipe=recipe,
        about=f"what {recipe} is",
        paper=f"paper of {recipe}",
        teacher=None if recipe in WITHOUT_TEACHER else teacher,
        settings=dict(settings or {}),
        seeds=list(range(len(values))),
        failed=list(failed),
        accuracy=Measure.of(values),
        nll=Measure.of([1.5 - value for value in values]),
        ece=Measure.of([0.3 - value / 4 for value in values]),
        aurc=Measure.of([(1 - value) / 3 for value in values]),
        held_out=Measure.of([value - 0.01 for value in values]) if held_out else None,
        difference=None if difference is None else gain(*difference),
        per_class=[None if place == 7 else mean + 0.01 * (place % 3 - 1) * len(recipe) for place in range(classes)],
        beside_teacher={
            "both_right": mean - 0.05,
            "mended": 0.05,
            "own_mistake": 0.95 - mean,
            "copied": 0.03,
            "other_mistake": 0.02,
        }
        if asked
        else None,
        risk=[(1 - mean) * coverage / 100 for coverage in COVERAGES],
        curve=[
            EpochPoint(
                epoch=epoch,
                loss=Band.of([2.0 / epoch, 2.2 / epoch]),
                held_out=Band.of([mean * epoch / epochs - 0.02, mean * epoch / epochs]) if held_out else None,
            )
            for epoch in range(1, epochs + 1)
        ],
        cost=Cost(
            seconds=Measure.of([1.5 + len(recipe) / 10] * len(values)),
            queried=Measure.of([0 if recipe in WITHOUT_TEACHER else 4500] * len(values)),
            parameters=6274,
            peak_memory=500_000_000,
        ),
        folders=within,
    )


def made_teacher(name: str = "big", unasked: str | None = None, **facts: Any) -> TeacherFacts:
    content = {
        "paths": [f"runs/{name}"],
        "kind": "network",
        "images": 270,
        "labeled": 270,
        "training_accuracy": 0.931,
        "training_confidence": 0.97,
        "accuracy": None if unasked else 0.9,
        "unasked": unasked,
    }
    return TeacherFacts(name=name, **(content | facts))


def made_comparison(
    arms: Sequence[ArmResult] | None = None,
    *,
    teachers: Sequence[TeacherFacts] | None = None,
    names: Sequence[str] = "0123456789",
    baseline: str = "kd",
    **rest: Any,
) -> ComparisonResult:
    """Of these arms, or of four recipes of three seeds: one clearly better, one clearly worse, one unclear."""
    arms = [made_arm(name, values, GAINS.get(name)) for name, values in ACCURACY.items()] if arms is None else arms
    recipes = dict.fromkeys(arm.recipe for arm in arms)
    content: dict[str, Any] = {
        "data": "digits",
        "measured_on": "test set",
        "samples": 200,
        "class_names": tuple(names),
        "baseline": baseline,
        "compared": sum(arm.difference is not None for arm in arms),
        "teachers": [made_teacher()] if teachers is None else list(teachers),
        "arms": list(arms),
        "unfinished": {},
        "differing": {
            "recipe.terms.kl.loss.name": [None if arm.recipe in WITHOUT_TEACHER else "kl" for arm in arms],
            "recipe.terms.kl.weight": [None if arm.recipe in WITHOUT_TEACHER else 0.9 for arm in arms],
            "recipe.temperature.temperature": [None if arm.recipe in WITHOUT_TEACHER else 4.0 for arm in arms],
        },
        "plan": {
            "recipes": {name: {"recipe": name} for name in recipes},
            "seeds": list(range(max((len(arm.seeds) + len(arm.failed) for arm in arms), default=1))),
            "vary": {},
        },
        "versions": {"preceptor": "0.1.0", "torch": "2.13.0"},
    }
    return ComparisonResult.model_validate(content | rest)
