"""The figures of docs/systems, drawn from the committed result files: ``make_figures.py docs/img``.

Every bar carries its number as text, so that a test can compare a figure with its result file without a renderer.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl_convert import vegalite_to_svg

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from experiments.unreliable.chart import LOOK, WIDTH, Spec, headline  # noqa: E402

COLORS = {"none": "#8a8a8a", "kd": "#3d3d3d", "drop-wrong": "#c77700"}
METHOD, SECOND = "#2b6cb0", "#c77700"
TEACHERS = {
    "clean": "Teacher trained on right labels",
    "20 % wrong": "Teacher trained on 20 % wrong labels",
    "40 % wrong": "Teacher trained on 40 % wrong labels",
    "60 % wrong": "Teacher trained on 60 % wrong labels",
    "early-stopped": "Teacher stopped after 1 epoch",
}


@dataclass(frozen=True)
class Bar:
    """One number of a panel, in percent.

    Attributes:
        name: of the recipe.
        mean, deviation: over the seeds.
        color: of the bar.
    """

    name: str
    mean: float
    deviation: float
    color: str


def result(name: str) -> dict[str, Any]:
    """A committed result file of a study."""
    content: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def bar(row: dict[str, Any], measure: str, color: str, name: str | None = None) -> Bar:
    """One measure of one row of a result file."""
    value = row["measures"][measure]
    return Bar(name or row["arm"], 100 * value["mean"], 100 * value["deviation"], color)


def draw(panels: dict[str, Sequence[Bar]], label: str, low: float, high: float, key: dict[str, str]) -> Spec:
    """Horizontal bars, one panel below the other, on one axis from ``low`` to ``high`` percent.

    Args:
        panels: bars by title.
        label: of the axis.
        low, high: ends of the axis.
        key: colors by what they stand for.
    """
    values = [
        {"panel": title, "bar": f"{place}|{one.name}", "color": one.color, "mean": one.mean}
        | {"from": one.mean - one.deviation, "to": one.mean + one.deviation}
        | {"number": f"{one.mean:.1f} ± {one.deviation:.1f}"}
        for title, bars in panels.items()
        for place, one in enumerate(bars)
    ]
    x = {"type": "quantitative", "title": label, "scale": {"domain": [low, high]}, "axis": {"tickCount": 6}}
    names = {
        "labelExpr": "split(datum.value, '|')[1]",
        "title": None,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "labelLimit": 0,
    }
    colors = list(key.values())
    meanings = {color: meaning for meaning, color in key.items()}
    legend = {"orient": "top", "title": None, "labelExpr": f"{json.dumps(meanings)}[datum.label]"}
    color = {"scale": {"domain": colors, "range": colors}, "legend": legend} if key else {"scale": None}
    layer = [
        {
            "mark": {"type": "bar", "clip": True, "height": {"band": 0.75}},
            "encoding": {"x": x | {"field": "mean"}, "color": {"field": "color", "type": "nominal"} | color},
        },
        {"mark": "rule", "encoding": {"x": x | {"field": "from"}, "x2": {"field": "to"}}},
        {
            "mark": {"type": "text", "align": "left", "dx": 5},
            "encoding": {"x": x | {"field": "to"}, "text": {"field": "number", "type": "nominal"}},
        },
    ]
    y = {"field": "bar", "type": "ordinal", "sort": None, "axis": names}
    return {
        "data": {"values": values},
        "facet": {"field": "panel", "type": "nominal", "sort": list(panels), "title": None},
        "columns": 1,
        "spacing": 8,
        "spec": {"width": WIDTH, "height": {"step": 20}, "encoding": {"y": y}, "layer": layer},
        "resolve": {"scale": {"y": "independent"}},
        "config": LOOK,
    }


def by_teacher(recipes: Sequence[str]) -> Spec:
    """Accuracy of some recipes under the teachers of the study ``teacher-quality``."""
    panels: dict[str, list[Bar]] = {}
    for row in result("teacher-quality")["rows"]:
        # The teacher with 20 % wrong labels tells no other story than that with 40 %: it is in the table alone.
        if row["arm"] in recipes and row["teacher"] != "20 % wrong":
            bars = panels.setdefault(TEACHERS[row["teacher"]], [])
            bars.append(bar(row, "accuracy", COLORS.get(row["arm"], METHOD)))
    return draw(panels, "accuracy of the student, %", 0, 112, {})


def label_revision() -> Spec:
    """Label Revision beside its controls."""
    return by_teacher(("none", "kd", "lr", "label-revision-kl", "drop-wrong"))


def knowledge_adjustment() -> Spec:
    """Knowledge Adjustment beside its controls."""
    return by_teacher(("none", "kd", "ka-ps", "ka-lsr", "drop-wrong"))


def correlation() -> Spec:
    """Losses on values and ranks; the axis is cut so that differences of a point can be seen."""
    rows = result("correlation")["rows"]
    bars = [bar(row, "accuracy", COLORS.get(row["arm"], METHOD)) for row in rows]
    return draw({"Teacher trained on right labels": bars}, "accuracy of the student, % (axis from 70)", 70, 85, {})


def abstention() -> Spec:
    """AURC of students with an extra output, ranked by their softmax and by that output."""
    panels: dict[str, list[Bar]] = {}
    for row in result("knowing-when-wrong")["rows"]:
        if "aurc_reservation" in row["measures"]:
            bars = panels.setdefault(TEACHERS[row["teacher"]], [])
            bars += [bar(row, "aurc", METHOD), bar(row, "aurc_reservation", SECOND, " ")]
    key = {"by softmax response": METHOD, "by reservation": SECOND}
    return draw(panels, "area under the risk-coverage curve, % (lower is better)", 0, 18, key)


def unreliable_supervision() -> Spec:
    """What a teacher is worth to students, by its accuracy on their images."""
    return headline(result("bench/unreliable-supervision"))


FIGURES: dict[str, Callable[[], Spec]] = {
    "label-revision": label_revision,
    "knowledge-adjustment": knowledge_adjustment,
    "cmkd": correlation,
    "abstention": abstention,
}
if (ROOT / "results" / "bench" / "unreliable-supervision.json").exists():
    FIGURES["unreliable-supervision"] = unreliable_supervision


def write(folder: Path) -> None:
    """Write every figure as an SVG into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in FIGURES.items():
        (folder / f"{name}.svg").write_text(vegalite_to_svg(figure()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
