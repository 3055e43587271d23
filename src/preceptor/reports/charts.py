"""The charts of a study page."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from preceptor.compare.format import percent
from preceptor.compare.result import ArmRow, StudyResult, TeacherRow
from preceptor.reports.chart import Chart, Room, color, in_both_widths, label, percent_ticks, tidy_rows
from preceptor.reports.summary import Kind, kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30
"""Classes a chart shows at most, the worst ones."""


_MARKS = {Kind.BASELINE: ("D", "wrong"), Kind.CONTENDER: ("o", "truth")}
_OTHER_MARK = ("s", "plain")


@dataclass(frozen=True)
class ClassError:
    """How often one class is taken for another: the mean share over the seeds that have images of it, and each seed's.

    NaN where there is no image.
    """

    name: str
    mean: float
    seeds: list[float]


def class_errors(names: Iterable[str], shares: Iterable[Sequence[float | None]]) -> list[ClassError]:
    """The errors by class, from each seed's share wrong of every class, the worst first, those without images last."""
    errors = []
    for name, column in zip(names, zip(*shares, strict=True), strict=True):
        seeds = [math.nan if share is None else share for share in column]
        known = [share for share in seeds if not math.isnan(share)]
        errors.append(ClassError(name, fmean(known) if known else math.nan, seeds))
    return sorted(errors, key=lambda error: (math.isnan(error.mean), -error.mean))


def accuracy_chart(result: StudyResult, teacher: TeacherRow, axis: tuple[float, float] | None = None) -> Chart:
    """Accuracy by arm: the mean, one standard deviation to each side, and each seed as a dot.

    The ends of the axis may be stated, so that the charts of several kinds of teacher can be compared.
    """
    shown = result.rows_of(teacher)
    listing = ", ".join(f"{row.arm} {percent(row.accuracy.mean)}" for row in shown)
    rows = [(row, kind_of(row, result)) for row in shown]

    def plot(axes: "Axes", room: Room) -> None:
        _accuracies(axes, rows, room)
        if axis is not None:
            axes.set_xlim(*axis)
        tidy_rows(axes, [label(row.arm, room.letters) for row in shown])

    place = [row.name for row in result.teachers].index(teacher.name)
    return in_both_widths(f"Accuracy on the test set: {listing}.", f"accuracy-{place}", 40 + 32 * len(rows), plot)


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
    """The error rate per class as bars, of the worst classes at most :data:`MOST_CLASSES`; the name once a page."""
    shown = errors[:MOST_CLASSES]
    listing = ", ".join(f"{error.name} {error_share(error.mean)}" for error in shown)

    def plot(axes: "Axes", room: Room) -> None:
        _error_bars(axes, shown, room)
        tidy_rows(axes, [label(error.name, room.letters) for error in shown])

    return in_both_widths(f"The {whose}'s error rate by class: {listing}.", name, 40 + 32 * len(shown), plot)


def error_share(share: float) -> str:
    """A share wrong as per cent; "no image" for NaN."""
    return "no image" if math.isnan(share) else percent(share, 1)


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
