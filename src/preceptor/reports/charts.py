"""The charts of a study page."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from preceptor.compare.format import percent
from preceptor.compare.result import ArmRow, StudyResult, TeacherRow
from preceptor.reports.chart import Chart, Room, in_both_widths, percent_ticks
from preceptor.reports.summary import Kind, kind_of
from preceptor.reports.svg import color, label, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30
"""Classes a chart shows at most, the worst ones."""


_MARKS = {Kind.BASELINE: ("D", "wrong"), Kind.CONTENDER: ("o", "truth")}
_OTHER_MARK = ("s", "plain")


@dataclass(frozen=True)
class ClassError:
    """How often the teachers are wrong on one class.

    Args:
        name: the class.
        mean: share wrong over the seeds that have images of it; NaN where none has.
        seeds: share wrong, one a seed; NaN where it has no image of the class.
    """

    name: str
    mean: float
    seeds: list[float]


def class_errors(result: StudyResult, teacher: TeacherRow) -> list[ClassError]:
    """The errors by class of one kind of teacher, the worst first, classes without images last."""
    columns = [
        [math.nan if share is None else share for share in column]
        for column in zip(*teacher.error_by_class, strict=True)
    ]
    errors = [
        ClassError(name, _mean_of_known(column), column)
        for name, column in zip(result.class_names, columns, strict=True)
    ]
    return sorted(errors, key=lambda error: (math.isnan(error.mean), -error.mean))


def accuracy_chart(result: StudyResult, teacher: TeacherRow, axis: tuple[float, float] | None = None) -> Chart:
    """Accuracy by arm: the mean, one standard deviation to each side, and each seed as a dot.

    Args:
        result: the study.
        teacher: of which kind of teacher.
        axis: its ends, so that several charts can be compared; None fits the chart.
    """
    shown = result.rows_of(teacher)
    listing = ", ".join(f"{row.arm} {percent(row.accuracy.mean)}" for row in shown)
    rows = [(row, kind_of(row, result)) for row in shown]

    def plot(axes: "Axes", room: Room) -> None:
        _accuracies(axes, rows, room)
        if axis is not None:
            axes.set_xlim(*axis)
        tidy(axes, [label(row.arm, room.letters) for row in shown])

    return _rows(f"Accuracy on the test set: {listing}.", f"accuracy-{_place(teacher, result)}", len(rows), plot)


def common_axis(result: StudyResult) -> tuple[float, float]:
    """Ends of an axis on which every accuracy of the study has room."""
    reach = [
        (min(*row.accuracy.values, row.accuracy.mean - spread), max(*row.accuracy.values, row.accuracy.mean + spread))
        for row in result.rows
        for spread in [row.accuracy.deviation or 0.0]
    ]
    low, high = min(low for low, _ in reach), max(high for _, high in reach)
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def error_chart(errors: list[ClassError], name: str = "errors", whose: str = "teacher") -> Chart:
    """The error rate per class as bars, of the worst classes at most :data:`MOST_CLASSES`.

    Args:
        errors: by class, the worst first.
        name: of the chart, once a page.
        whose: errors they are.
    """
    shown = errors[:MOST_CLASSES]
    listing = ", ".join(f"{error.name} {error_share(error.mean)}" for error in shown)

    def plot(axes: "Axes", room: Room) -> None:
        _error_bars(axes, shown, room)
        tidy(axes, [label(error.name, room.letters) for error in shown])

    return _rows(f"The {whose}'s error rate by class: {listing}.", name, len(shown), plot)


def error_share(share: float) -> str:
    """A share wrong as per cent; "no image" for NaN."""
    return "no image" if math.isnan(share) else percent(share, 1)


def _place(teacher: TeacherRow, result: StudyResult) -> int:
    return [row.name for row in result.teachers].index(teacher.name)


def _rows(alt: str, name: str, rows: int, plot: Callable[["Axes", Room], None]) -> Chart:
    return in_both_widths(alt, name, 40 + 32 * rows, plot)


def _accuracies(axes: "Axes", rows: list[tuple[ArmRow, Kind]], room: Room) -> None:
    for place, (row, kind) in enumerate(rows):
        mark, role = _MARKS.get(kind, _OTHER_MARK)
        ink, mean, deviation = color(role), row.accuracy.mean, row.accuracy.deviation
        if kind is Kind.BASELINE:
            axes.axvline(mean, color=ink, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
        if deviation is not None:
            axes.errorbar(mean, place, xerr=deviation, color=ink, linewidth=2, capsize=5, capthick=2, zorder=2)
        (spot,) = axes.plot(mean, place, mark, color=ink, markersize=10, markeredgecolor=color("paper"), zorder=3)
        spot.set_gid(f"mean-{place}")
        below = [place + 0.27] * len(row.accuracy.values)
        (seeds,) = axes.plot(
            row.accuracy.values, below, "o", color=ink, markersize=4.5, markeredgewidth=0, alpha=0.7, zorder=3
        )
        seeds.set_gid(f"seeds-{place}")
    percent_ticks(axes.xaxis, room)
    axes.margins(x=0.04)


def _error_bars(axes: "Axes", errors: list[ClassError], room: Room) -> None:
    for place, error in enumerate(errors):
        known = not math.isnan(error.mean)
        if known:
            axes.barh(place, error.mean, height=0.56, color=color("wrong"), linewidth=0)
        axes.annotate(
            error_share(error.mean),
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(62, 0),
            textcoords="offset points",
            color=color("ink" if known else "muted"),
            fontsize=12,
            horizontalalignment="right",
            verticalalignment="center_baseline",
        )
    percent_ticks(axes.xaxis, room)
    largest = max((error.mean for error in errors if not math.isnan(error.mean)), default=0.0)
    axes.set_xlim(0, max(largest, 0.01))


def _mean_of_known(shares: list[float]) -> float:
    known = [share for share in shares if not math.isnan(share)]
    return fmean(known) if known else math.nan
