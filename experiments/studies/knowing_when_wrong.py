"""Whether distillation helps a student know when it is wrong: recipes, heads, and a clean or a faulty teacher."""

from typing import Any

from experiments.studies.engine import Arm, Study
from experiments.studies.fashion import CLEAN, COMMON, LIMITS, faulty, setting

TRAINING_IMAGES = 4000

WARM_UP = 0.3333
"""The share of training on plain labels before a head learns to reserve, as in the recipes precise-abstain-a and b
(60 of 300 epochs in Huang et al., arXiv:2002.10319)."""

HEADS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "gambler": {"name": "gambler", "payoff": 2.2},
    "sat": {"name": "self_adaptive", "momentum": 0.9},
}
"""The head's loss with the label; None has no extra output."""

_HALVES: dict[str, Any] = {"terms.ce.weight": 0.5, "terms.kl.weight": 0.5}
_BASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "labels": ("none", {}, "labels alone"),
    "kd": ("kd", _HALVES, "plain distillation, weights half and half"),
    "ka": ("kd", {**_HALVES, "correction": "probability_shift"}, "knowledge adjustment, weights half and half"),
    "lr": ("lr", {}, "label revision"),
    "cmkd": ("cmkd", {}, "correlation matching"),
}
"""By name: the recipe with its published settings, what is changed of it, and what it does.

The label term of ``kd`` weighs half in place of a tenth, so that a head which learns from it has something to learn.
"""


def _arm(base: str, head: str) -> Arm:
    """A recipe whose label term, after the warm-up, is the head's."""
    recipe, overrides, about = _BASES[base]
    loss = HEADS[head]
    if loss is None:
        return Arm(
            name=base,
            recipe=recipe,
            overrides=overrides,
            about=about,
            baseline=None if base == "labels" else "labels",
            group=_GROUPS[head],
        )
    label_term = {"label_loss": loss, "weight": overrides.get("terms.ce.weight", 1.0), "since": WARM_UP}
    if recipe == "lr":
        label_term["where"] = "right"  # as lr's own term with the label
    return Arm(
        name=f"{base}-{head}",
        recipe=recipe,
        overrides={**overrides, "terms.ce.until": WARM_UP, "terms.head": label_term},
        about=f"{about}; after a third of training the label teaches the {_HEAD_TITLES[head]}",
        baseline=None if base == "labels" else f"labels-{head}",
        second_baseline=None if base == "labels" else base,
        group=_GROUPS[head],
    )


_HEAD_TITLES = {"gambler": "gambler's head (payoff 2.2)", "sat": "self-adaptive head (momentum 0.9)"}
_GROUPS = {
    "plain": "Plain head",
    "gambler": "Gambler's head",
    "sat": "Head of self-adaptive training",
}
_COMPARED = ("accuracy", "aurc", "augrc", "ece", "error_at_90", "error_at_80")


def _columns() -> tuple[str, ...]:
    columns: list[str] = []
    for name in _COMPARED:
        difference = "difference" if name == "accuracy" else f"{name}_difference"
        columns += [name, difference, f"{name}_second_difference"]
    return (
        *columns,
        "aurc_reservation",
        "aurc_reservation_difference",
        "augrc_reservation",
        "augrc_reservation_difference",
        "reservation",
    )


KNOWING_WHEN_WRONG = Study(
    name="knowing-when-wrong",
    title="Whether distillation helps a student know when it is wrong, on Fashion-MNIST",
    setting=(
        f"{setting(TRAINING_IMAGES)} "
        "One teacher had right labels, of the other's 20 % were taken for those of the class that looks most like "
        "theirs. Every recipe is tried with a plain head and with two that have one output more: a "
        "gambler's and that of self-adaptive training, which take the place of the term with the label after a third "
        "of training. Each student's images are ranked by its largest class probability and, where it has one, by its "
        "reservation."
    ),
    shows=(
        "Under equal starts, batches and teacher signals: what a recipe adds, in accuracy, in ranking its own errors "
        "and in calibration, to a student of the same head that learned from labels alone; what a head adds to the "
        "same recipe with a plain one; and by what an abstaining student should rank."
    ),
    does_not_show=f"{LIMITS} The label noise is made. One payoff and one momentum.",
    teachers=(CLEAN, faulty(20)),
    arms=tuple(_arm(base, head) for head in HEADS for base in _BASES),
    baseline="labels",
    columns=_columns(),
    noun="recipe",
    training_images=TRAINING_IMAGES,
    **COMMON,
)
