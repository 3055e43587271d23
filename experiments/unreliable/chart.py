"""The headline chart: what a teacher is worth to students, by its accuracy on their images."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from experiments.unreliable.result import BenchmarkResult, SettingResult
from experiments.unreliable.table import gain
from preceptor.reports.chart import FONT

Spec = dict[str, Any]
"""A Vega-Lite specification."""

SHOWN = {
    "kd": ("#3d3d3d", "circle"),
    "drop-wrong": ("#c77700", "square"),
    "ka-ps": ("#2f855a", "triangle-up"),
    "corrected-cmkd": ("#805ad5", "triangle-down"),
    "safe": ("#2b6cb0", "diamond"),
    "safe-audited": ("#c53030", "cross"),
}
"""Recipes with their color and marker: plain distillation, and the few that the tables are about."""

LOWEST = -18
"""Gains below it are written at the edge: one setting would flatten all others."""

WIDTH, HEIGHT = 340, 180
"""CSS pixels of a panel. Narrow, so that the text is still legible when a phone scales the figure down to 360."""

LOOK: Spec = {
    "font": FONT,
    "aria": False,
    "axis": {"grid": False, "labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal"},
    "header": {"labelAnchor": "start", "labelFontSize": 13, "labelFontWeight": "bold"},
    "title": {"anchor": "start", "fontSize": 13},
    "legend": {"labelFontSize": 12},
    "text": {"fontSize": 12},
    "view": {"stroke": None},
}
"""What the figures of the docs have in common."""


def headline(content: dict[str, Any]) -> Spec:
    """A panel a kind of setting: accuracy of the teacher against gain over labels alone.

    Settings of other data than the first's, and those with images without a label but another number of labels, are
    left out: their students differ too much for one axis.
    """
    result = BenchmarkResult.model_validate(content)
    first = result.settings[0]
    settings = [one for one in result.settings if one.source == first.source]
    clean = [one for one in settings if one.wrong in ("none", "teacher") and one.unlabeled == 0]
    more = [one for one in settings if one.unlabeled > 0 and one.labels == first.labels]
    panels = {
        "Your labels are right": clean,
        "The same, with more images without a label": more,
        "Some of your labels are wrong": [one for one in settings if one.wrong in ("labels", "both")],
    }
    shown = {title: rows for title, rows in panels.items() if rows}
    return {
        "vconcat": [_panel(title, rows, last=title == list(shown)[-1]) for title, rows in shown.items()],
        "resolve": {"scale": {"x": "shared"}},
        "config": LOOK,
    }


def _panel(title: str, settings: Sequence[SettingResult], *, last: bool) -> Spec:
    """A line a recipe; the last panel has the axis of all."""
    ordered = sorted(settings, key=_teacher_accuracy)
    recipes = [name for name in SHOWN if all(any(own.recipe == name for own in one.recipes) for one in ordered)]
    values = [
        {"accuracy": _teacher_accuracy(setting), "gain": gain(setting, name), "recipe": name}
        for name in recipes
        for setting in ordered
    ]
    colors, shapes = zip(*SHOWN.values(), strict=True)
    looks = {
        channel: {"field": "recipe", "type": "nominal", "scale": {"domain": list(SHOWN), "range": list(own)}}
        | {"legend": {"orient": "top", "columns": 3, "title": None}}
        for channel, own in (("color", colors), ("shape", shapes))
    }
    title_of_x = "accuracy of the teacher on the students' images, %"
    x = {"field": "accuracy", "type": "quantitative", "scale": {"zero": False, "padding": 8}}
    x |= {"title": title_of_x, "axis": {"tickCount": 6}} if last else {"axis": None}
    y = {"field": "gain", "type": "quantitative", "title": "student − labels alone, points"}
    y["scale"] = {"domainMin": LOWEST} if min(row["gain"] for row in values) < LOWEST else {}
    line = {"type": "line", "strokeWidth": 1, "opacity": 0.8, "clip": True}
    point = {"type": "point", "filled": True, "size": 45, "opacity": 0.8}
    text = {
        "type": "text",
        "align": "left",
        "baseline": "bottom",
        "fontSize": 11,
        "dy": {"expr": "13 - 13 * datum.line"},
    }
    under = [
        {"filter": f"datum.gain < {LOWEST}"},
        {"window": [{"op": "row_number", "as": "line"}], "groupby": ["accuracy"]},
        {"calculate": "datum.recipe + ' ' + format(datum.gain, '.0f')", "as": "text"},
    ]
    layer: list[Spec] = [
        {"data": {"values": [{}]}, "mark": "rule", "encoding": {"y": {"datum": 0}}},
        {"mark": line, "encoding": {"x": x, "y": y, "color": looks["color"]}},
        {
            "transform": [{"filter": f"datum.gain >= {LOWEST}"}],
            "mark": point,
            "encoding": {"x": x, "y": y, **looks},
        },
        {
            "transform": under,
            "mark": text,
            "encoding": {"x": x, "y": {"value": HEIGHT}, "text": {"field": "text", "type": "nominal"}},
        },
    ]
    return {"title": title, "width": WIDTH, "height": HEIGHT, "data": {"values": values}, "layer": layer}


def _teacher_accuracy(setting: SettingResult) -> float:
    return 100 * fmean(setting.teacher.accuracy_on_students)
