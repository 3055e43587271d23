"""Charts that several pages show: errors by class, and reliability."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from preceptor.compare.format import percent
from preceptor.metrics import Reliability
from preceptor.metrics.bootstrap import share_interval
from preceptor.metrics.calibration import merged
from preceptor.reports.chart import label
from preceptor.reports.class_errors import MOST_CLASSES, ClassError, error_share
from preceptor.reports.vega import LiveChart, Spec, chart_of, ink, names_axis, tooltip

HEIGHT = 320
"""CSS pixels of a plot of shares."""
LEAST_IN_BIN = 20
"""Images in a mark of a reliability chart: neighboring bins with fewer are drawn as one."""

_DIAGRAMS = (("wrong", "circle"), ("truth", "square"))
"""Color and marks of the first diagram, and of one after scaling."""


def live_errors(errors: list[ClassError], alt: str) -> LiveChart:
    """Error rates by class as bars with their numbers, the worst first.

    Args:
        errors: of all classes; at most :data:`MOST_CLASSES` are shown.
        alt: what they are; the numbers are added.
    """
    shown = errors[:MOST_CLASSES]
    alt = f"{alt}: " + ", ".join(f"{label(error.name, 40)} {error_share(error.mean)}" for error in shown)
    shares = [0.0 if math.isnan(error.mean) else error.mean for error in shown]
    # Two classes may be of one name when shortened: the axis is of their places.
    values = [
        {"place": place, "class": label(error.name, 40), "share": share, "error": error_share(error.mean)}
        for place, (error, share) in enumerate(zip(shown, shares, strict=True))
    ]
    # Without any error the axis has a length all the same; the longest bar leaves room for its number.
    scale = {"domain": [0, max([0.01, *shares])], "range": [0, {"expr": "width - 54"}]}
    x: Spec = {"field": "share", "type": "quantitative", "axis": None, "scale": scale}
    bar = {"type": "bar", "color": ink("wrong"), "height": {"band": 0.6}}
    number = {"type": "text", "color": ink("ink"), "fontSize": 12, "align": "left", "dx": 6, "aria": False}
    layer = [
        {"mark": bar, "encoding": {"tooltip": tooltip(("class", ""), ("error", ""))}},
        {"mark": number, "encoding": {"text": {"field": "error", "type": "nominal"}}},
    ]
    encoding = {"y": names_axis([error.name for error in shown]), "x": x}
    return chart_of("errors", alt, values, 24 * len(shown), encoding=encoding, layer=layer)


def live_reliability(diagrams: Sequence[Reliability], alt: str, up: str) -> LiveChart:
    """Accuracy against confidence, with its interval in each bin of enough images; marks grow with their share.

    Args:
        diagrams: one, or those before and after temperature scaling.
        alt: what they are; the numbers of the first are added.
        up: title of the vertical axis.
    """
    rows = [_bins(merged(diagram, LEAST_IN_BIN)) for diagram in diagrams]
    numbers = (f"{percent(row['accuracy'], 0)} at {percent(row['confidence'], 0)}" for row in rows[0])
    alt = f"{alt}: {', '.join(numbers)}"
    values = [{**row, "diagram": place} for place, own in enumerate(rows) for row in own]
    diagonal = {
        "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
        "mark": {"type": "line", "color": ink("muted"), "strokeDash": [4, 3], "strokeWidth": 1.2, "aria": False},
    }
    layer = [diagonal, *(one for place, _ in enumerate(rows) for one in _diagram_layers(place))]
    encoding = {
        "x": share_axis("confidence", "claimed (mean confidence)", domain=[0, 1]),
        "y": share_axis("accuracy", up, domain=[0, 1]),
    }
    return chart_of("reliability", alt, values, HEIGHT, encoding=encoding, layer=layer)


def share_axis(field: str, title: str, **scale: Any) -> Spec:
    """An axis of shares in per cent."""
    axis = {"format": "%", "grid": True}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _bins(diagram: Reliability) -> list[dict[str, float]]:
    """The bins that are not empty, with the exact interval of each accuracy."""
    rows = []
    for confidence, accuracy, size in zip(diagram.confidence, diagram.accuracy, diagram.samples, strict=True):
        if confidence is not None and accuracy is not None:
            interval = share_interval(torch.tensor(accuracy * size), torch.tensor(size))
            ends = {"low": float(interval.low), "high": float(interval.high)}
            rows.append({"confidence": confidence, "accuracy": accuracy, "images": size, **ends})
    return rows


def _diagram_layers(place: int) -> list[Spec]:
    role, shape = _DIAGRAMS[place]
    own = {"transform": [{"filter": f"datum.diagram === {place}"}]}
    size = {"field": "images", "type": "quantitative", "scale": {"range": [30, 300], "domainMin": 0}}
    shares = (("confidence", ".1%"), ("accuracy", ".1%"), ("low", ".1%"), ("high", ".1%"), ("images", ",.0f"))
    bars = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    return [
        {**own, "mark": {"type": "rule", "color": ink(role), "opacity": 0.5, "aria": False}, "encoding": bars},
        {**own, "mark": {"type": "line", "color": ink(role), "strokeWidth": 1.5, "aria": False}},
        {
            **own,
            "mark": {"type": shape, "color": ink(role), "opacity": 1},
            "encoding": {"size": size, "tooltip": tooltip(*shares)},
        },
    ]
