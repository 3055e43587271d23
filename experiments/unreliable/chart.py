"""The headline chart: what a teacher is worth to students, by its accuracy on their images."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.unreliable.result import BenchmarkResult, SettingResult
from experiments.unreliable.table import gain

SHOWN = {
    "kd": ("#3d3d3d", "o"),
    "drop-wrong": ("#c77700", "s"),
    "ka-ps": ("#2f855a", "^"),
    "corrected-cmkd": ("#805ad5", "v"),
    "safe": ("#2b6cb0", "D"),
    "safe-audited": ("#c53030", "P"),
}
"""Recipes with their color and marker: plain distillation, and the few that the tables are about."""

LOWEST = -18
"""Gains below it are written at the edge: one setting would flatten all others."""

WIDTH, HEIGHT = 4.9, 2.6
"""Inches, of a panel; the width is that of the other figures of the docs."""


def headline(content: dict[str, Any]) -> Figure:
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
    figure = Figure(figsize=(WIDTH, HEIGHT * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    for axis, (title, rows) in zip(axes, shown.items(), strict=True):
        _draw(axis, title, rows)
    axes[-1].set_xlabel("accuracy of the teacher on the students' images, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw(axis: Axes, title: str, settings: Sequence[SettingResult]) -> None:
    ordered = sorted(settings, key=_teacher_accuracy)
    accuracies = [_teacher_accuracy(setting) for setting in ordered]
    below: dict[float, list[str]] = {}
    for name, (color, marker) in SHOWN.items():
        if all(any(own.recipe == name for own in setting.recipes) for setting in ordered):
            gains = [gain(setting, name) for setting in ordered]
            axis.plot(accuracies, gains, "-" + marker, color=color, label=name, markersize=5, linewidth=1, alpha=0.8)
            for accuracy, value in zip(accuracies, gains, strict=True):
                if value < LOWEST:
                    below.setdefault(accuracy, []).append(f"{name} −{-value:.0f}")
    for accuracy, texts in below.items():
        axis.text(accuracy, LOWEST, "\n".join(texts), fontsize=8, va="bottom")
    if axis.get_ylim()[0] < LOWEST:
        axis.set_ylim(bottom=LOWEST)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axis.set_ylabel("student − labels alone, points")
    axis.spines[["top", "right"]].set_visible(False)


def _teacher_accuracy(setting: SettingResult) -> float:
    return 100 * fmean(setting.teacher.accuracy_on_students)
