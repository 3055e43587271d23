"""What the charts of all pages have in common. Each comes in two widths: text that shrinks cannot be read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preceptor.compare.format import PER_CENT
from preceptor.reports.svg import color, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis


@dataclass(frozen=True)
class Room:
    """What a chart has room for: its width in CSS pixels, letters in a name, steps on the axis."""

    width: int
    letters: int
    steps: int


@dataclass(frozen=True)
class Chart:
    """One chart as SVG, for a wide page and for a phone."""

    wide: str
    narrow: str


WIDE, NARROW = Room(856, 28, 6), Room(350, 17, 3)


def in_both_widths(alt: str, name: str, height: int, plot: Callable[["Axes", Room], None]) -> Chart:
    """Draw a chart twice.

    Args:
        alt: what it says, for those who cannot see it.
        name: of the chart, once a page.
        height: CSS pixels.
        plot: draws on the axes what the room allows.
    """
    return Chart(
        wide=draw(lambda axes: plot(axes, WIDE), WIDE.width, height, alt, f"{name}-wide-"),
        narrow=draw(lambda axes: plot(axes, NARROW), NARROW.width, height, alt, f"{name}-narrow-"),
    )


def percent_ticks(axis: "Axis", room: Room) -> None:
    """Shares as per cent, at round numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=room.steps, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}{PER_CENT}"))


def tidy_shares(axes: "Axes", room: Room, across: str, up: str) -> None:
    """Shares on both axes, named; a light grid; no frame."""
    for axis, name in ((axes.xaxis, across), (axes.yaxis, up)):
        percent_ticks(axis, room)
        axis.set_label_text(name, color=color("muted"), fontsize=12)
    axes.tick_params(length=0, pad=8, labelsize=12, labelcolor=color("muted"))
    axes.grid(color=color("line"), linewidth=1)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)
