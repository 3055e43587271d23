"""How often each class is taken for another, and the chart of it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from preceptor.compare.format import percent
from preceptor.reports.chart import Chart, Room, color, in_both_widths, label, percent_ticks, tidy_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30
"""Classes a chart shows at most, the worst ones."""


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
