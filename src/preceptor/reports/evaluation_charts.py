"""The charts of an evaluation page: risk against coverage, and reliability."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from preceptor.metrics import FullReport, Reliability
from preceptor.metrics.report import SelectiveReport
from preceptor.reports.chart import Chart, Room, color, in_both_widths, tidy_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 380
CURVES = 3
"""Scores whose curve is drawn, at most: more are hard to distinguish."""

_LOOKS = (("truth", "-"), ("wrong", "--"), ("plain", ":"))


@dataclass(frozen=True)
class Line:
    """A line of a chart, for its key: its color is a role of the page, its dashes "-", "--" or ":"."""

    name: str
    role: str
    dashes: str


def drawn_scores(report: FullReport) -> list[tuple[Line, SelectiveReport]]:
    """The scores whose curve is drawn: the main one, the head's own, and the best of the others by AURC."""
    main = next(one for one in report.selective if one.score == report.main_score)
    others = [one for one in report.selective if one is not main]
    others.sort(key=lambda one: (one.score != "reservation", _value(one)))
    chosen = [main, *others][:CURVES]
    return [(Line(one.score.replace("_", " "), *look), one) for one, look in zip(chosen, _LOOKS, strict=False)]


def risk_coverage_chart(report: FullReport) -> Chart:
    """Error among the images answered against the share answered, each score with its band."""
    drawn = drawn_scores(report)
    areas = ", ".join(f"{one.score} {100 * _value(one):.2f} %" for _, one in drawn)

    def plot(axes: "Axes", room: Room) -> None:
        for line, one in drawn:
            curve = one.curve
            ink = color(line.role)
            axes.fill_between(curve.coverage, curve.low, curve.high, color=ink, alpha=0.13, linewidth=0)
            axes.plot(curve.coverage, curve.risk, color=ink, linestyle=line.dashes, linewidth=2)
        tidy_shares(axes, room, "answered (coverage)", "wrong among them (risk)")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)

    return in_both_widths(f"Risk against coverage; area under the curve: {areas}.", "risk-coverage", HEIGHT, plot)


def reliability_chart(before: Reliability, after: Reliability | None) -> Chart:
    """Accuracy against confidence, bin by bin, before and after temperature scaling; marks grow with their share."""
    drawn = [(before, "wrong", "o")] + ([] if after is None else [(after, "truth", "s")])

    def plot(axes: "Axes", room: Room) -> None:
        axes.plot([0, 1], [0, 1], color=color("muted"), linewidth=1.2, linestyle=(0, (4, 3)))
        for diagram, role, mark in drawn:
            claimed, came_true, sizes = _points(diagram)
            axes.plot(claimed, came_true, color=color(role), linewidth=1.5)
            axes.scatter(
                claimed, came_true, s=sizes, color=color(role), marker=mark, edgecolors=color("paper"), zorder=3
            )
        tidy_shares(axes, room, "claimed (mean confidence)", "came true (accuracy)")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)

    return in_both_widths("Accuracy against confidence, bin by bin.", "reliability", HEIGHT, plot)


def _points(diagram: Reliability) -> tuple[list[float], list[float], list[float]]:
    """Where the marks of the bins that are not empty are, and how large."""
    claimed = [share for share in diagram.confidence if share is not None]
    came_true = [share for share in diagram.accuracy if share is not None]
    sizes = [size for size in diagram.samples if size > 0]
    return claimed, came_true, [24 + 260 * size / sum(sizes) for size in sizes]


def _value(one: SelectiveReport) -> float:
    """Its AURC, which is defined wherever there is an image."""
    assert one.aurc.value is not None
    return one.aurc.value
