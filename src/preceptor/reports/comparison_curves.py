"""The charts of a comparison's page with a line or a point a recipe: learning, risk and coverage, cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from preceptor.compare.comparison_result import COVERAGES, ArmResult, EpochPoint
from preceptor.compare.findings import ArmTable
from preceptor.compare.format import percent
from preceptor.reports.chart import Room, color, in_both_widths, tidy_shares
from preceptor.reports.comparison_charts import tooltip
from preceptor.reports.comparison_looks import UNNAMED, Look, by_recipe, named, series
from preceptor.reports.vega import LiveChart, Spec, spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 320

MOST_EPOCHS = 100
"""Epochs in a chart, evenly over all of them."""

Row = dict[str, Any]


def live_held_out(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart | None:
    """Accuracy on the held-out images by epoch, from the lowest to the highest seed; None where there are none."""
    rows = [
        {"epoch": point.epoch, "value": band.mean, "low": band.lowest, "high": band.highest}
        | {"recipe": recipe, "look": look}
        for recipe, look, curve in _curves(table, of)
        for point in curve
        if (band := point.held_out) is not None
    ]
    ends = ", ".join(
        f"{arm.recipe} {percent(arm.held_out.mean)}" for arm, _ in named(table, of) if arm.held_out is not None
    )
    alt = f"Accuracy on held-out images by epoch; in the last: {ends}"
    return _lines(table, of, rows, name, alt, ("epoch", "accuracy on held-out images"), shares=True) if rows else None


def live_losses(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart:
    """The total loss by epoch, from the lowest to the highest seed."""
    rows = [
        {"epoch": point.epoch, "value": point.loss.mean, "low": point.loss.lowest, "high": point.loss.highest}
        | {"recipe": recipe, "look": look}
        for recipe, look, curve in _curves(table, of)
        for point in curve
    ]
    ends = ", ".join(f"{arm.recipe} {arm.curve[-1].loss.mean:.3g}" for arm, _ in named(table, of) if arm.curve)
    alt = f"Total loss in training by epoch; in the last: {ends}"
    return _lines(table, of, rows, name, alt, ("epoch", "total loss"), shares=False)


def live_risk(table: ArmTable, of: Mapping[str, Look], name: str) -> LiveChart:
    """Error among the surest share of the images, by that share."""
    shown = named(table, of)
    rows = [
        {"coverage": coverage / 100, "value": risk, "recipe": recipe, "look": look}
        for recipe, (arm, look) in zip(series(shown), shown, strict=True)
        for coverage, risk in zip(COVERAGES, arm.risk, strict=True)
    ]
    half = COVERAGES.index(50)
    ends = ", ".join(f"{arm.recipe} {percent(arm.risk[half])} and {percent(arm.risk[-1])}" for arm, _ in shown)
    alt = f"Error among the images of which a student is surest; among the surest half and all of them: {ends}"
    return _lines(table, of, rows, name, alt, ("coverage", "wrong among them (risk)"), shares=True)


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
    drawn = spec(values, HEIGHT - 40, alt, mark=mark, encoding=encoding)

    def plot(axes: "Axes", room: Room) -> None:
        for row, (_, look) in zip(values, shown, strict=True):
            axes.plot(
                row["seconds"],
                row["accuracy"],
                look.mark,
                color=color(look.role),
                markersize=10,
                markeredgecolor=color("paper"),
            )
        _tidy(axes, room, "seconds of its own steps", "accuracy", whole=False)
        axes.set_xlim(0, 1.08 * max(row["seconds"] for row in values) or 1)
        axes.margins(y=0.1)

    return LiveChart(name, alt, in_both_widths(alt, name, HEIGHT, plot), drawn)


def _curves(table: ArmTable, of: Mapping[str, Look]) -> list[tuple[str, Look, list[EpochPoint]]]:
    shown = named(table, of)
    return [(recipe, look, thinned(arm)) for recipe, (arm, look) in zip(series(shown), shown, strict=True)]


def thinned(arm: ArmResult) -> list[EpochPoint]:
    """The epochs of an arm that are drawn, the first and the last among them."""
    last = len(arm.curve) - 1
    if last < MOST_EPOCHS:
        return arm.curve
    return [arm.curve[round(place * last / (MOST_EPOCHS - 1))] for place in range(MOST_EPOCHS)]


def _lines(
    table: ArmTable,
    of: Mapping[str, Look],
    rows: Sequence[Row],
    name: str,
    alt: str,
    titles: tuple[str, str],
    *,
    shares: bool,
) -> LiveChart:
    """A line a recipe over epochs or coverages, with a band where rows have ends.

    Args:
        table, of: whose arms are named.
        rows: ``recipe``, ``look``, ``value``, and the field across, which the first of ``titles`` names.
        name, alt: of the chart.
        titles: field across, and the vertical axis.
        shares: whether values are shown in per cent.
    """
    across, up = titles
    few = len({row[across] for row in rows}) < 3
    channels = by_recipe(named(table, of))
    x = _quantity(across, "answered (coverage)" if across == "coverage" else across, shares=across == "coverage")
    y = _quantity("value", up, shares=shares)
    if across == "coverage":
        x["scale"], y["scale"] = {"domain": [0, 1]}, {"domainMin": 0}
    else:
        x["axis"] |= {"tickMinStep": 1, "format": "d"}
        x["scale"] = y["scale"] = {"zero": False}
    band = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "area", "opacity": 0.1, "aria": False},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": channels["color"]},
    }
    form = ".2%" if shares else ".3~g"
    tips = [("recipe", ""), (across, ".0%" if across == "coverage" else "d"), ("value", form)]
    tips += [("low", form), ("high", form)] if "low" in rows[0] else []
    line = {
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 40, "opacity": 1 if few else 0}},
        "encoding": {
            "y": y,
            "color": channels["color"],
            "strokeDash": channels["strokeDash"],
            "tooltip": tooltip(*tips),
        },
    }
    values = [{key: _short(value) for key, value in row.items() if key != "look"} for row in rows]
    drawn = spec(values, HEIGHT - 40, alt, encoding={"x": x}, layer=[*([band] if "low" in rows[0] else []), line])

    def plot(axes: "Axes", room: Room) -> None:
        for recipe in dict.fromkeys(row["recipe"] for row in rows):
            _line(axes, [row for row in rows if row["recipe"] == recipe], across, "o" if few else "")
        _tidy(axes, room, x["title"], up, whole=across == "epoch", shares=shares)
        if across == "coverage":
            axes.set_xlim(0, 1)
            axes.set_ylim(0, None)

    return LiveChart(name, alt, in_both_widths(alt, name, HEIGHT, plot), drawn)


def _line(axes: "Axes", rows: Sequence[Row], across: str, mark: str) -> None:
    look: Look = rows[0]["look"]
    places, ink_of = [row[across] for row in rows], color(look.role)
    if "low" in rows[0]:
        axes.fill_between(
            places, [row["low"] for row in rows], [row["high"] for row in rows], color=ink_of, alpha=0.1, linewidth=0
        )
    dashes = (0, tuple(look.dashes)) if look.dashes else "-"
    axes.plot(places, [row["value"] for row in rows], color=ink_of, linestyle=dashes, linewidth=2, marker=mark)


def _tidy(axes: "Axes", room: Room, across: str, up: str, *, whole: bool, shares: bool = True) -> None:
    """The pages' look; across in per cent only where it is a coverage."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    tidy_shares(axes, room, across, up)
    if "coverage" not in across:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=room.steps, integer=whole))
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if not shares:
        axes.yaxis.set_major_formatter(ScalarFormatter())


def _quantity(field: str, title: str, *, shares: bool = False) -> Spec:
    axis = {"grid": True} | ({"format": "~%"} if shares else {})
    scale = {} if field == "seconds" else {"zero": False}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": scale}


def _short(value: Any) -> Any:
    """A number with what a chart can show of it."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
