"""The charts of an evaluation page: confusions, the learning curve, and risk against coverage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.compare.format import percent
from preceptor.context import UNLABELED
from preceptor.metrics.report import Curve
from preceptor.reports.chart import label
from preceptor.reports.live_charts import HEIGHT, share_axis
from preceptor.reports.vega import LiveChart, Spec, chart_of, ink, names_axis, tooltip
from preceptor.run.history import EpochLine

MOST_IN_MATRIX = 20
"""Classes of a confusion matrix; of more, those with the most errors are shown."""
MOST_WITH_COUNTS = 12
"""Up to so many classes a matrix has room for the counts."""
MOST_POINTS = 2_000
"""Of a learning curve; of more epochs some are left out."""

MOST_TERMS = 9
"""Terms with a line of their own: there are no more looks to tell them apart by."""

_ROW = 28
_LETTERS = (16, 8)
"""Of a class's name beside a matrix, on a wide page and on a phone."""
_DASHES: dict[str, list[int]] = {"solid": [1, 0], "dashed": [6, 4], "dotted": [2, 3]}


@dataclass(frozen=True)
class Line:
    """A line of a chart, for its key: its color is a role of the page, its dashes "solid", "dashed" or "dotted"."""

    name: str
    role: str
    dashes: str


@dataclass(frozen=True)
class Confusions:
    """How often images of each class are taken for each class, of some classes.

    Attributes:
        counts: by label and prediction.
        of_class: images of each label, those taken for classes that are not shown among them.
        names: of the classes.
        hidden_errors: errors that lie outside the matrix.
    """

    counts: Int[Tensor, "classes classes"]
    of_class: Int[Tensor, " classes"]
    names: list[str]
    hidden_errors: int


def confusions_of(labels: Int[Tensor, " n"], prediction: Int[Tensor, " n"], names: Sequence[str]) -> Confusions:
    """Count the labeled images by label and prediction, of at most :data:`MOST_IN_MATRIX` classes."""
    known = labels != UNLABELED
    truth, answer, classes = labels[known], prediction[known], len(names)
    wrong = truth != answer
    involved = truth[wrong].bincount(minlength=classes) + answer[wrong].bincount(minlength=classes)
    shown = involved.sort(descending=True, stable=True).indices[:MOST_IN_MATRIX].sort().values
    place = torch.full((classes,), -1)
    place[shown] = torch.arange(len(shown))
    row, column = place[truth], place[answer]
    inside = (row >= 0) & (column >= 0)
    pairs = row[inside] * len(shown) + column[inside]
    return Confusions(
        counts=pairs.bincount(minlength=len(shown) ** 2).view(len(shown), len(shown)),
        of_class=truth.bincount(minlength=classes)[shown],
        names=[names[number] for number in shown.tolist()],
        hidden_errors=int((wrong & ~inside).sum()),
    )


def live_confusions(confusions: Confusions) -> LiveChart:
    """A heat map: what is right in blue along the diagonal, what is taken for another class in orange."""
    rows = _cells(confusions)
    wrong = [row for row in rows if row["place"] != row["taken"] and row["images"]]
    wrong.sort(key=lambda row: -int(row["images"]))
    listed = ", ".join(f"{one['class']} taken for {one['taken for']} {one['images']}" for one in wrong[:5])
    alt = f"Confusion matrix of {len(confusions.names)} classes; the most frequent errors: {listed}"
    wide, narrow = ([label(name, letters) for name in confusions.names] for letters in _LETTERS)
    few, fit = len(wide) <= MOST_WITH_COUNTS, len(narrow) * max(map(len, narrow)) <= 30
    turned: Spec = {"labelAngle": 0 if fit else -60 if few else -90, "labelOverlap": False}
    turned["labelFontSize"] = {"expr": f"narrow ? {12 if few else 9} : 13"}
    columns = names_axis(wide, narrow, "taken", title="taken for", **turned)
    encoding = {"y": names_axis(wide, narrow, title="class"), "x": columns}
    shares: Spec = {"field": "share", "type": "quantitative", "scale": {"type": "sqrt", "domain": [0, 1]}}
    sides = {"domain": ["right", "wrong"], "range": [ink("truth"), ink("wrong")]}
    cells = {
        "mark": {"type": "rect", "stroke": ink("line"), "strokeWidth": 1},
        "encoding": {
            "fill": {"field": "side", "type": "nominal", "scale": sides},
            "fillOpacity": {**shares, "scale": {**shares["scale"], "range": [0, 0.8]}},
            "tooltip": tooltip(*((name, "") for name in ("class", "taken for", "images", "of the class"))),
        },
    }
    layer = [cells]
    if few:
        size = {"expr": "narrow ? 9 : 12"}
        text: Spec = {"type": "text", "color": ink("ink"), "fontSize": size, "aria": False}
        counts = {"text": {"field": "images", "type": "quantitative", "format": ",d"}}
        layer.append({"transform": [{"filter": "datum.images > 0"}], "mark": text, "encoding": counts})
    height = _ROW * len(confusions.names)
    return chart_of("confusions", alt, rows, height, encoding=encoding, layer=layer)


def live_risk(curve: Curve, score: str, area: str) -> LiveChart:
    """Error among the images answered against the share answered, with its band."""
    alt = f"Risk against coverage by {score}; area under the curve: {area}."
    values = [
        {"coverage": coverage, "risk": risk, "low": low, "high": high}
        for coverage, risk, low, high in zip(curve.coverage, curve.risk, curve.low, curve.high, strict=True)
        if not math.isnan(low + high)
    ]
    band = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    shown = tooltip(*((name, ".1%") for name in ("coverage", "risk", "low", "high")))
    layer = [
        {"mark": {"type": "area", "color": ink("truth"), "opacity": 0.15, "aria": False}, "encoding": band},
        {"mark": {"type": "line", "color": ink("truth"), "strokeWidth": 2, "aria": False}},
        {"mark": {"type": "circle", "opacity": 0, "size": 120, "aria": False}, "encoding": {"tooltip": shown}},
    ]
    encoding = {
        "x": share_axis("coverage", "answered (coverage)", domain=[0, 1]),
        "y": share_axis("risk", "wrong among them (risk)", domainMin=0),
    }
    return chart_of("risk-coverage", alt, values, HEIGHT, encoding=encoding, layer=layer)


def live_learning(epochs: Sequence[EpochLine]) -> list[tuple[LiveChart, list[Line]]]:
    """Accuracy by epoch, and the mean losses by epoch, each with its lines."""
    held_out = any(one.held_out_accuracy is not None for one in epochs)
    accuracies = [Line("held out", "truth", "solid")] if held_out else []
    accuracies.append(Line("training images, as augmented", "plain", "dashed"))
    shares = [{"held out": one.held_out_accuracy, accuracies[-1].name: one.train_accuracy} for one in epochs]
    terms = [name for name in epochs[-1].losses if name != "total"][:MOST_TERMS]
    looks = [(role, dashes) for dashes in ("dashed", "dotted", "solid") for role in ("wrong", "plain", "muted")]
    losses = [Line("total loss", "truth", "solid")]
    if len(terms) > 1:
        losses += [Line(name, *looks[place]) for place, name in enumerate(terms)]
    sizes = [{**one.losses, "total loss": one.losses["total"]} for one in epochs]
    numbers = [one.epoch for one in epochs]
    return [
        (_live_lines("learning-accuracy", "Accuracy by epoch", accuracies, numbers, shares, "%"), accuracies),
        (_live_lines("learning-losses", "Mean loss by epoch", losses, numbers, sizes, "~g"), losses),
    ]


def _live_lines(
    name: str,
    what: str,
    lines: Sequence[Line],
    epochs: Sequence[int],
    rows: Sequence[Mapping[str, float | None]],
    form: str,
) -> LiveChart:
    step = math.ceil(len(rows) * len(lines) / MOST_POINTS)
    values = [
        {"epoch": epochs[at], "line": place, "what": line.name, "value": value}
        for at in reversed(range(len(rows) - 1, -1, -step))  # the last epoch is always among them
        for place, line in enumerate(lines)
        if (value := rows[at].get(line.name)) is not None and math.isfinite(value)
    ]
    ends = ((line.name, rows[-1].get(line.name)) for line in lines)
    alt = f"{what}, at the end: " + ", ".join(
        f"{key} {percent(value, 1) if form == '%' else f'{value:.3g}'}" for key, value in ends if value is not None
    )
    places = list(range(len(lines)))
    scales: dict[str, Spec] = {
        "color": {"domain": places, "range": [ink(line.role) for line in lines]},
        "strokeDash": {"domain": places, "range": [_DASHES[line.dashes] for line in lines]},
    }
    ticks = {"tickMinStep": 1, "format": ",d", "grid": False}
    encoding: Spec = {channel: {"field": "line", "type": "nominal", "scale": own} for channel, own in scales.items()}
    encoding |= {
        "x": {"field": "epoch", "type": "quantitative", "title": "epoch", "axis": ticks, "scale": {"zero": False}},
        "y": {"field": "value", "type": "quantitative", "title": None, "axis": {"format": form}},
        "tooltip": tooltip(("what", ""), ("epoch", ",d"), ("value", ".1%" if form == "%" else ".3~g")),
    }
    mark = {"type": "line", "strokeWidth": 2, "point": {"filled": True, "size": 30}}
    return chart_of(name, alt, values, 200, mark=mark, encoding=encoding)


def _cells(confusions: Confusions) -> list[dict[str, float | int | str]]:
    names = [label(name, 40) for name in confusions.names]
    return [
        {
            "place": row,
            "taken": column,
            "class": names[row],
            "taken for": names[column],
            "side": "right" if row == column else "wrong",
            "images": count,
            "share": count / max(total, 1),
            "of the class": percent(count / max(total, 1), 1),
        }
        for row, (counts, total) in enumerate(
            zip(confusions.counts.tolist(), confusions.of_class.tolist(), strict=True)
        )
        for column, count in enumerate(counts)
    ]
