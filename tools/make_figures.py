"""The figures of docs/systems, drawn from the committed result files: ``make_figures.py docs/img``.

Every bar carries its number as text, so that a test can compare a figure with its result file without a renderer.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Text stays text: it can be searched, read aloud and compared. Without a salt the ids would differ from run to run.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "preceptor", "font.size": 10})

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]

from experiments.unreliable.chart import headline  # noqa: E402

WIDTH = 4.9
"""Inches. Narrow, so that the text is still legible when a phone scales the figure down to 360 pixels."""
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


def draw(panels: dict[str, Sequence[Bar]], label: str, low: float, high: float, key: dict[str, str]) -> Figure:
    """Horizontal bars, one panel below the other, on one axis from ``low`` to ``high`` percent."""
    heights = [len(bars) for bars in panels.values()]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.22 * sum(heights) + 0.36 * len(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=[count + 0.6 for count in heights])
    for axis, (title, bars) in zip(axes[:, 0], panels.items(), strict=True):
        places = range(len(bars))
        axis.barh(places, [one.mean for one in bars], color=[one.color for one in bars], height=0.7)
        for place, one in zip(places, bars, strict=True):
            axis.plot([one.mean - one.deviation, one.mean + one.deviation], [place, place], color="black", linewidth=1)
            end = one.mean + one.deviation + (high - low) * 0.015
            axis.text(end, place, f"{one.mean:.1f} ± {one.deviation:.1f}", va="center", fontsize=9)
        axis.set_yticks(places, [one.name for one in bars])
        axis.set_ylim(len(bars) - 0.4, -0.6)
        axis.set_xlim(low, high)
        axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[-1, 0].set_xlabel(label)
    if key:
        marks = [Patch(color=color, label=name) for name, color in key.items()]
        figure.legend(handles=marks, loc="outside upper left", ncols=len(key), frameon=False, fontsize=9)
    return figure


def by_teacher(recipes: Sequence[str]) -> Figure:
    """Accuracy of some recipes under the teachers of the study ``teacher-quality``."""
    panels: dict[str, list[Bar]] = {}
    for row in result("teacher-quality")["rows"]:
        # The teacher with 20 % wrong labels tells no other story than that with 40 %: it is in the table alone.
        if row["arm"] in recipes and row["teacher"] != "20 % wrong":
            bars = panels.setdefault(TEACHERS[row["teacher"]], [])
            bars.append(bar(row, "accuracy", COLORS.get(row["arm"], METHOD)))
    return draw(panels, "accuracy of the student, %", 0, 112, {})


def label_revision() -> Figure:
    """Label Revision beside its controls."""
    return by_teacher(("none", "kd", "lr", "label-revision-kl", "drop-wrong"))


def knowledge_adjustment() -> Figure:
    """Knowledge Adjustment beside its controls."""
    return by_teacher(("none", "kd", "ka-ps", "ka-lsr", "drop-wrong"))


def correlation() -> Figure:
    """Losses on values and ranks; the axis is cut so that differences of a point can be seen."""
    rows = result("correlation")["rows"]
    bars = [bar(row, "accuracy", COLORS.get(row["arm"], METHOD)) for row in rows]
    return draw({"Teacher trained on right labels": bars}, "accuracy of the student, % (axis from 70)", 70, 85, {})


def abstention() -> Figure:
    """AURC of students with an extra output, ranked by their softmax and by that output."""
    panels: dict[str, list[Bar]] = {}
    for row in result("knowing-when-wrong")["rows"]:
        if "aurc_reservation" in row["measures"]:
            bars = panels.setdefault(TEACHERS[row["teacher"]], [])
            bars += [bar(row, "aurc", METHOD), bar(row, "aurc_reservation", SECOND, " ")]
    key = {"by softmax response": METHOD, "by reservation": SECOND}
    return draw(panels, "area under the risk-coverage curve, % (lower is better)", 0, 18, key)


def unreliable_supervision() -> Figure:
    """What a teacher is worth to students, by its accuracy on their images."""
    return headline(result("bench/unreliable-supervision"))


FIGURES: dict[str, Callable[[], Figure]] = {
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
        path = folder / f"{name}.svg"
        figure().savefig(path, metadata={"Date": None})
        # matplotlib ends some lines in spaces, which editors strip.
        path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
