"""The charts of a comparison's page with a line or a point a recipe: learning, risk and coverage, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preceptor.compare.comparison_result import COVERAGES, ArmResult, EpochPoint
from preceptor.compare.findings import ArmTable
from preceptor.compare.format import percent
from preceptor.reports.comparison_looks import UNNAMED, Look, by_recipe, named, series
from preceptor.reports.vega import LiveChart, Spec, chart_of, tooltip

HEIGHT = 280
"""CSS pixels of a plot."""

MOST_EPOCHS = 100
"""Epochs in a chart, evenly over all of them."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Plane:
    """The axes of a chart of lines.

    Attributes:
        across: the field of the horizontal axis, "epoch" or "coverage".
        up: title of the vertical axis.
        shares: whether that shows per cent.
    """

    across: str
    up: str
    shares: bool = True

    @property
    def title(self) -> str:
        """Of the horizontal axis."""
        return "answered (coverage)" if self.of_coverage else self.across

    @property
    def of_coverage(self) -> bool:
        """Whether it runs over coverages, from 0 to 1; else over epochs."""
        return self.across == "coverage"


def live_held_out(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart | None:
    """Accuracy on the held-out images by epoch, from the lowest to the highest seed; None where there are none."""
    shown = named(table, of)
    rows = [
        {"recipe": recipe, "epoch": point.epoch, "value": band.mean, "low": band.lowest, "high": band.highest}
        for recipe, (arm, _) in zip(series(shown), shown, strict=True)
        for point in thinned(arm)
        if (band := point.held_out) is not None
    ]
    ends = ", ".join(f"{arm.recipe} {percent(arm.held_out.mean)}" for arm, _ in shown if arm.held_out is not None)
    alt = f"Accuracy on held-out images by epoch; in the last: {ends}"
    return _lines(shown, rows, name, alt, Plane("epoch", "accuracy on held-out images"))


def live_losses(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart | None:
    """The total loss by epoch, from the lowest to the highest seed; None where no recipe has a look."""
    shown = named(table, of)
    rows = [
        {"recipe": recipe, "epoch": point.epoch, "value": band.mean, "low": band.lowest, "high": band.highest}
        for recipe, (arm, _) in zip(series(shown), shown, strict=True)
        for point in thinned(arm)
        for band in [point.loss]
    ]
    ends = ", ".join(f"{arm.recipe} {arm.curve[-1].loss.mean:.3g}" for arm, _ in shown if arm.curve)
    alt = f"Total loss in training by epoch; in the last: {ends}"
    return _lines(shown, rows, name, alt, Plane("epoch", "total loss", shares=False))


def live_risk(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart | None:
    """Error among the surest share of the images, by that share; None where no recipe has a look."""
    shown = named(table, of)
    rows = [
        {"recipe": recipe, "coverage": coverage / 100, "value": risk}
        for recipe, (arm, _) in zip(series(shown), shown, strict=True)
        for coverage, risk in zip(COVERAGES, arm.risk, strict=True)
    ]
    half = COVERAGES.index(50)
    ends = ", ".join(f"{arm.recipe} {percent(arm.risk[half])} and {percent(arm.risk[-1])}" for arm, _ in shown)
    alt = f"Error among the images of which a student is surest; among the surest half and all of them: {ends}"
    return _lines(shown, rows, name, alt, Plane("coverage", "wrong among them (risk)"))


def live_cost(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart:
    """Accuracy against the time of a student's own steps, a point a recipe."""
    shown = [(arm, of.get(arm.recipe, UNNAMED)) for arm in table.arms]
    alt = "Accuracy against the seconds of a student's own training steps: " + ", ".join(
        f"{arm.recipe} {percent(arm.accuracy.mean)} in {arm.cost.seconds.mean:.3g}" for arm, _ in shown
    )
    values: list[Row] = [
        {"recipe": recipe, "seconds": arm.cost.seconds.mean, "accuracy": arm.accuracy.mean}
        | {"queried": arm.cost.queried.mean, "parameters": arm.cost.parameters}
        for recipe, (arm, _) in zip(series(shown), shown, strict=True)
    ]
    tips = (("seconds", ".3~f"), ("accuracy", ".2%"), ("queried", ",.0f"), ("parameters", ",d"))
    channels = by_recipe(shown)
    encoding = {
        "x": _quantity("seconds", "seconds of its own steps"),
        "y": _quantity("accuracy", "accuracy", shares=True) | {"scale": {"zero": False, "padding": 14}},
        "color": channels["color"],
        "shape": channels["shape"],
        "tooltip": tooltip(("recipe", ""), *tips),
    }
    mark = {"type": "point", "filled": True, "size": 130, "opacity": 0.9}
    return chart_of(name, alt, values, HEIGHT, mark=mark, encoding=encoding)


def thinned(arm: ArmResult) -> list[EpochPoint]:
    """The epochs of an arm that are drawn, the first and the last among them."""
    last = len(arm.curve) - 1
    if last < MOST_EPOCHS:
        return arm.curve
    return [arm.curve[round(place * last / (MOST_EPOCHS - 1))] for place in range(MOST_EPOCHS)]


def _lines(
    shown: Sequence[tuple[ArmResult, Look]], rows: Sequence[Row], name: str, alt: str, plane: Plane
) -> LiveChart | None:
    """A line a recipe, with a band where rows have ends; None without rows.

    Args:
        shown: whose lines they are.
        rows: ``recipe``, ``value``, the field across, and ``low`` and ``high`` of a band.
        name, alt: of the chart.
        plane: its axes.
    """
    if not rows:
        return None
    channels, few = by_recipe(shown), len({row[plane.across] for row in rows}) < 3
    x, y = _axes_of(plane)
    bands = "low" in rows[0]
    form = ".2%" if plane.shares else ".3~g"
    tips = [("recipe", ""), (plane.across, ".0%" if plane.of_coverage else "d"), ("value", form)]
    tips += [("low", form), ("high", form)] if bands else []
    band = {
        "mark": {"type": "area", "opacity": 0.1, "aria": False},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": channels["color"]},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 40, "opacity": 1 if few else 0}},
        "encoding": {"y": y, "color": channels["color"], "strokeDash": channels["strokeDash"]}
        | {"tooltip": tooltip(*tips)},
    }
    values = [{key: _short(value) for key, value in row.items()} for row in rows]
    return chart_of(name, alt, values, HEIGHT, encoding={"x": x}, layer=[*([band] if bands else []), line])


def _axes_of(plane: Plane) -> tuple[Spec, Spec]:
    x = _quantity(plane.across, plane.title, shares=plane.of_coverage)
    y = _quantity("value", plane.up, shares=plane.shares)
    if plane.of_coverage:
        return x | {"scale": {"domain": [0, 1]}}, y | {"scale": {"domainMin": 0}}
    x["axis"] |= {"tickMinStep": 1, "format": "d"}
    return x, y


def _quantity(field: str, title: str, *, shares: bool = False) -> Spec:
    axis = {"grid": True} | ({"format": "~%"} if shares else {})
    scale = {} if field == "seconds" else {"zero": False}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": scale}


def _short(value: Any) -> Any:
    """A number with what a chart can show of it."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
