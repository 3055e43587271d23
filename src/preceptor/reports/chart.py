"""What the charts of all pages have in common: matplotlib figures as inline SVG.

They take their colors and their font from the page around them, and come in two widths: text that shrinks cannot be
read.
"""

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from preceptor.compare.format import PER_CENT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROLES = ("ink", "muted", "line", "paper", "truth", "wrong", "plain", "green", "purple", "ochre")
"""The page's colors, as names of its CSS variables; the last three are for lines beside the others."""

_STAND_IN = {role: f"#0a0b{number:02x}" for number, role in enumerate(ROLES)}
_VARIABLE = {color: f"var(--{role})" for role, color in _STAND_IN.items()}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: the page's own font, selectable, searchable
    "svg.hashsalt": "preceptor",  # equal charts are equal bytes
    "text.parse_math": False,  # a class may be called $1
    "text.usetex": False,
    "axes.unicode_minus": True,
    "font.family": ["sans-serif"],
}


def color(role: str) -> str:
    """The stand-in that a figure uses for one of the page's colors."""
    return _STAND_IN[role]


def label(name: str, longest: int) -> str:
    """A name fit for a chart: one printable line; its middle is left out beyond ``longest`` characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    if len(printable) <= longest:
        return printable
    tail = longest // 3
    return f"{printable[: longest - tail - 1]}…{printable[-tail:]}"


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
        wide=_draw(plot, WIDE, height, alt, f"{name}-wide-"),
        narrow=_draw(plot, NARROW, height, alt, f"{name}-narrow-"),
    )


def percent_ticks(axis: "Axis", room: Room) -> None:
    """Shares as per cent, at round numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=room.steps, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}{PER_CENT}"))


def tidy_rows(axes: "Axes", names: list[str]) -> None:
    """Horizontal rows from the top down, labeled on the left; a light grid; no frame."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    _tidy(axes, "x")
    axes.tick_params(axis="x", pad=3.5)
    axes.tick_params(axis="y", labelsize=13, labelcolor=color("ink"))


def tidy_shares(axes: "Axes", room: Room, across: str, up: str) -> None:
    """Shares on both axes, named; a light grid; no frame."""
    for axis, name in ((axes.xaxis, across), (axes.yaxis, up)):
        percent_ticks(axis, room)
        axis.set_label_text(name, color=color("muted"), fontsize=12)
    _tidy(axes, "both")


def _tidy(axes: "Axes", lines: Literal["x", "both"]) -> None:
    axes.tick_params(length=0, pad=8, labelsize=12, labelcolor=color("muted"))
    axes.grid(axis=lines, color=color("line"), linewidth=1)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw(plot: Callable[["Axes", Room], None], room: Room, height: int, alt: str, prefix: str) -> str:
    """One pair of axes as SVG, with a prefix before every id, so that several charts can share a page."""
    from matplotlib import rc_context

    with rc_context(_SETTINGS), warnings.catch_warnings():
        # The reader's browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        layout = ConstrainedLayoutEngine(w_pad=0, h_pad=0)
        figure = Figure(figsize=(room.width / 72, height / 72), layout=layout)
        plot(figure.add_subplot(), room)
        file = BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(file.getvalue().decode("utf-8"), alt, prefix)


def _inline(text: str, alt: str, prefix: str) -> str:
    root = ElementTree.fromstring(text)
    for metadata in root.findall("{*}metadata"):
        root.remove(metadata)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(name): _attribute(name, value, prefix) for name, value in element.attrib.items()}
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    box = [float(number) for number in root.attrib["viewBox"].split()]
    root.attrib |= {"role": "img", "aria-label": alt, "style": f"max-width: {math.ceil(box[2])}px"}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(name: str, value: str, prefix: str) -> str:
    match _local(name):
        case "id":
            return prefix + value
        case "href":
            return value.replace("#", f"#{prefix}", 1)
        case "clip-path":
            return value.replace("url(#", f"url(#{prefix}", 1)
        case "style":
            return re.sub(r"#0a0b[0-9a-f]{2}", lambda match: _VARIABLE[match[0]], value)
        case _:
            return value
