"""The charts of a comparison's page with a row a recipe: accuracy with intervals, and copied mistakes."""

from collections.abc import Sequence
from typing import Any, get_args

from preceptor.compare.comparison_result import ArmResult, Meeting
from preceptor.compare.findings import ArmTable
from preceptor.compare.format import percent, points
from preceptor.reports.chart import label
from preceptor.reports.vega import LiveChart, Spec, chart_of, ink, names_axis, tooltip

ROW = 34
"""Pixels of a row of the ranking."""

MEETINGS: dict[Meeting, tuple[str, str]] = dict(
    zip(
        get_args(Meeting),
        (
            ("both right", "line"),
            ("mended", "truth"),
            ("own mistake", "ochre"),
            ("copied", "wrong"),
            ("other mistake", "plain"),
        ),
        strict=True,
    )
)
"""How teacher and student meet, in words and by color."""

BASELINE_RULE = {"type": "rule", "color": ink("wrong"), "strokeDash": [4, 3], "strokeWidth": 1.2, "aria": False}


def live_ranking(table: ArmTable, baseline: str, name: str) -> LiveChart:
    """Accuracy by recipe, the highest first, with the interval of the difference around each mean."""
    arms, base = table.arms, table.arm(baseline)
    rows = [_rank(place, arm, arm is base) for place, arm in enumerate(arms)]
    alt = "Accuracy by recipe: " + ", ".join(f"{row['recipe']} {percent(row['accuracy'])}" for row in rows)
    x: Spec = {"field": "accuracy", "type": "quantitative", "title": None, "axis": {"format": "~%"}}
    x["scale"] = {"domain": list(_reach(rows, arms)), "zero": False}
    row_of: Spec = {
        "y": names_axis([arm.recipe for arm in arms]),
        "color": {"field": "color", "type": "nominal", "scale": None},
    }
    line = {
        "data": {"values": [] if base is None else [{"accuracy": base.accuracy.mean}]},
        "mark": BASELINE_RULE,
        "encoding": {"x": x},
    }
    shape = {"field": "shape", "type": "nominal", "scale": None}
    tips = tooltip(("recipe", ""), ("accuracy", ".2%"), ("difference", ""))
    means = {
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {**row_of, "x": x, "shape": shape, "tooltip": tips},
    }
    dots = {
        "data": {"values": _seeds(arms, rows)},
        "mark": {"type": "circle", "size": 22, "yOffset": 10, "opacity": 0.75},
        "encoding": {**row_of, "x": x, "tooltip": tooltip(("recipe", ""), ("seed", ""), ("accuracy", ".2%"))},
    }
    return chart_of(name, alt, rows, ROW * len(arms), layer=[line, *_intervals(x, row_of), means, dots])


def _rank(place: int, arm: ArmResult, is_base: bool) -> dict[str, Any]:
    """A row of the ranking; its interval is that of the difference, around the recipe's mean."""
    gain, mean = arm.difference, arm.accuracy.mean
    role, shape = "plain", "square"
    if is_base:
        role, shape = "wrong", "diamond"
    elif gain is not None and gain.is_clear:
        role, shape = "truth", "circle"
    row = {"place": place, "recipe": label(arm.recipe, 60), "accuracy": mean}
    row |= {"color": ink(role), "shape": shape}
    if gain is None:
        return row | {"difference": "the baseline" if is_base else "not compared"}
    text = f"{points(gain.mean)} [{points(gain.low)}, {points(gain.high)}]"
    return row | {"difference": text, "low": mean + gain.low - gain.mean, "high": mean + gain.high - gain.mean}


def _reach(rows: Sequence[dict[str, Any]], arms: Sequence[ArmResult]) -> tuple[float, float]:
    """Ends of an axis on which all has room that an accuracy can be."""
    seeds = [value for arm in arms for value in arm.accuracy.values]
    low = min([*seeds, *(row.get("low", row["accuracy"]) for row in rows)])
    high = max([*seeds, *(row.get("high", row["accuracy"]) for row in rows)])
    margin = 0.04 * (high - low) or 0.01
    return max(0.0, low - margin), min(1.0, high + margin)


def _seeds(arms: Sequence[ArmResult], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A mark a student."""
    return [
        {**{key: row[key] for key in ("place", "recipe", "color")}, "accuracy": value, "seed": seed}
        for arm, row in zip(arms, rows, strict=True)
        for seed, value in zip(arm.seeds, arm.accuracy.values, strict=True)
    ]


def _intervals(x: Spec, row_of: Spec) -> list[Spec]:
    """A bar with caps."""
    compared: Spec = {"transform": [{"filter": "isValid(datum.low)"}]}
    ends = {**row_of, "x": {**x, "field": "low"}, "x2": {"field": "high"}}
    bar = {**compared, "mark": {"type": "rule", "strokeWidth": 2, "clip": True, "aria": False}, "encoding": ends}
    cap = {"type": "tick", "thickness": 2, "size": 10, "clip": True, "aria": False}
    caps = [{**compared, "mark": cap, "encoding": {**row_of, "x": {**x, "field": end}}} for end in ("low", "high")]
    return [bar, *caps]


def live_meetings(table: ArmTable, name: str) -> LiveChart | None:
    """How teacher and student meet, as stacked shares of the images; None without answers of the teacher."""
    arms = [(arm.recipe, arm.beside_teacher) for arm in table.arms if arm.beside_teacher is not None]
    if not arms:
        return None
    alt = "Teacher beside student: " + "; ".join(
        f"{recipe}: " + ", ".join(f"{words} {percent(shares[kind], 1)}" for kind, (words, _) in MEETINGS.items())
        for recipe, shares in arms
    )
    values = [
        {"place": place, "recipe": label(recipe, 60), "images": words, "share": shares[kind], "order": order}
        for place, (recipe, shares) in enumerate(arms)
        for order, (kind, (words, _)) in enumerate(MEETINGS.items())
    ]
    scale = {"domain": [words for words, _ in MEETINGS.values()], "range": [ink(role) for _, role in MEETINGS.values()]}
    encoding = {
        "y": names_axis([recipe for recipe, _ in arms]),
        "x": {"field": "share", "type": "quantitative", "title": None, "axis": {"format": "~%"}, "stack": "zero"}
        | {"scale": {"domain": [0, 1]}},
        "color": {"field": "images", "type": "nominal", "scale": scale},
        "order": {"field": "order", "type": "quantitative"},
        "tooltip": tooltip(("recipe", ""), ("images", ""), ("share", ".1%")),
    }
    mark = {"type": "bar", "height": {"band": 0.6}, "clip": True}
    return chart_of(name, alt, values, 28 * len(arms), mark=mark, encoding=encoding)
