"""How the recipes of a comparison look in its charts: one color, line and mark each, everywhere the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preceptor.compare.comparison_result import ArmResult, ComparisonResult
from preceptor.compare.findings import ArmTable
from preceptor.reports.chart import label
from preceptor.reports.vega import Spec, ink


@dataclass(frozen=True)
class Look:
    """The look of a recipe.

    Attributes:
        role: of its color, one of the page's.
        dashes: of its line, and ``css`` is its name in the page's style.
        shape: of its points.
    """

    role: str
    dashes: Sequence[int]
    css: str
    shape: str


BASELINE = Look("wrong", (), "", "diamond")
OTHERS = (
    Look("truth", (), "", "circle"),
    Look("green", (7, 3), "dashed", "square"),
    Look("purple", (2, 2), "dotted", "triangle-up"),
    Look("ochre", (7, 3), "dashed", "triangle-down"),
    Look("plain", (2, 2), "dotted", "cross"),
)
UNNAMED = Look("plain", (), "", "circle")
"""Of recipes in charts where more are shown than can be told apart."""


def looks(result: ComparisonResult) -> dict[str, Look]:
    """The baseline's look, and those of the others that scored highest; further recipes have none."""
    best: dict[str, float] = {}
    for arm in result.arms:
        best[arm.recipe] = max(best.get(arm.recipe, 0.0), arm.accuracy.mean)
    others = sorted((name for name in best if name != result.baseline), key=lambda name: -best[name])
    own = {result.baseline: BASELINE} if result.baseline in best else {}
    return own | dict(zip(others, OTHERS, strict=False))


def named(table: ArmTable, of: Mapping[str, Look]) -> list[tuple[ArmResult, Look]]:
    """The arms of a table that have a look of their own."""
    return [(arm, of[arm.recipe]) for arm in table.arms if arm.recipe in of]


def series(shown: Sequence[tuple[ArmResult, Look]], longest: int = 40) -> list[str]:
    """The names of arms, each once, as a chart's data call them."""
    names = [label(arm.recipe, longest) for arm, _ in shown]
    return [name if names.count(name) == 1 else f"{name} {place}" for place, name in enumerate(names, start=1)]


def by_recipe(shown: Sequence[tuple[ArmResult, Look]]) -> dict[str, Spec]:
    """Color and dashes by the field "recipe"."""
    names = series(shown)
    ranges: dict[str, list[Any]] = {
        "color": [ink(look.role) for _, look in shown],
        "strokeDash": [list(look.dashes) or [1, 0] for _, look in shown],
        "shape": [look.shape for _, look in shown],
    }
    return {
        channel: {"field": "recipe", "type": "nominal", "scale": {"domain": names, "range": values}, "legend": None}
        for channel, values in ranges.items()
    }
