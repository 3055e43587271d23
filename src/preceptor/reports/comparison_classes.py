"""How much better or worse than the baseline recipes are, class by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preceptor.compare.comparison_result import ArmResult
from preceptor.compare.findings import ArmTable
from preceptor.compare.format import points
from preceptor.reports.chart import label
from preceptor.reports.comparison_charts import BASELINE_RULE
from preceptor.reports.comparison_looks import Look, by_recipe, named, series
from preceptor.reports.vega import LiveChart, Spec, chart_of, names_axis, tooltip

MOST_CLASSES = 30
"""Classes in a chart, those that differ most."""

SIGNED = "datum.value ? format(datum.value, '+.3~g') : '0'"
"""Labels of an axis of differences."""


@dataclass(frozen=True)
class ClassGain:
    """A class: its name, and by recipe the difference in accuracy to the baseline; None where it has no image."""

    name: str
    gains: list[float | None]

    @property
    def largest(self) -> float:
        """The largest difference to either side; negative without any."""
        return max((abs(gain) for gain in self.gains if gain is not None), default=-1.0)


def class_gains(arms: Sequence[ArmResult], base: ArmResult, names: Sequence[str]) -> list[ClassGain]:
    """The classes that have images, those that differ most first."""
    rows = [
        ClassGain(name, [None if own is None else own - one for own in (arm.per_class[place] for arm in arms)])
        for place, (one, name) in enumerate(zip(base.per_class, names, strict=False))
        if one is not None
    ]
    return sorted(rows, key=lambda row: -row.largest)


def live_classes(
    table: ArmTable, baseline: str, names: Sequence[str], of: Mapping[str, Look], name: str
) -> LiveChart | None:
    """Difference to the baseline by class, a mark a recipe; None without a baseline or another recipe."""
    base = table.arm(baseline)
    shown = [(arm, look) for arm, look in named(table, of) if arm is not base]
    if base is None or not shown:
        return None
    rows, called = class_gains([arm for arm, _ in shown], base, names)[:MOST_CLASSES], series(shown)
    alt = f"Difference to {baseline} by class, in points: " + "; ".join(
        f"{row.name}: " + ", ".join(f"{recipe} {points(gain)}" for recipe, gain in _known(row, called)) for row in rows
    )
    values = [
        {"place": place, "class": label(row.name, 60), "recipe": recipe, "difference": 100 * gain}
        for place, row in enumerate(rows)
        for recipe, gain in _known(row, called)
    ]
    title = f"points above {label(baseline, 28)}"
    x: Spec = {"field": "difference", "type": "quantitative", "title": title, "axis": {"labelExpr": SIGNED}}
    x["scale"] = {"padding": 12}
    zero = {"data": {"values": [{"difference": 0}]}, "mark": BASELINE_RULE, "encoding": {"x": x}}
    channels = by_recipe(shown)
    marks = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.9},
        "encoding": {"x": x, "y": names_axis([row.name for row in rows], grid=True)}
        | {"color": channels["color"], "shape": channels["shape"]}
        | {"tooltip": tooltip(("class", ""), ("recipe", ""), ("difference", "+.1f"))},
    }
    return chart_of(name, alt, values, 24 * len(rows), layer=[zero, marks])


def _known(row: ClassGain, called: Sequence[str]) -> list[tuple[str, float]]:
    return [(recipe, gain) for recipe, gain in zip(called, row.gains, strict=True) if gain is not None]
