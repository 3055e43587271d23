"""Matplotlib figures as inline SVG that takes its colors and its font from the page around it."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROLES = ("ink", "muted", "line", "paper", "truth", "wrong", "plain")
"""The page's colors, as names of its CSS variables."""

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


def draw(plot: Callable[["Axes"], None], width: float, height: float, alt: str, prefix: str) -> str:
    """Draw one pair of axes and return it as SVG to put into a page.

    Args:
        plot: draws on the axes, with colors from :func:`color`.
        width: of the chart, CSS pixels (font sizes are in pixels too).
        height: of the chart, CSS pixels.
        alt: what the chart says, for those who cannot see it.
        prefix: put before every id, so that several charts can share a page.
    """
    with _settings():
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        figure = Figure(figsize=(width / 72, height / 72), layout=ConstrainedLayoutEngine(w_pad=0, h_pad=0))
        plot(figure.add_subplot())
        return _inline(_rendered(figure), alt, prefix)


def label(name: str, longest: int) -> str:
    """A name fit for a chart: one printable line; its middle is left out beyond ``longest`` characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    if len(printable) <= longest:
        return printable
    tail = longest // 3
    return f"{printable[: longest - tail - 1]}…{printable[-tail:]}"


def tidy(axes: "Axes", names: list[str]) -> None:
    """Horizontal rows from the top down, labeled on the left; a light grid; no frame."""
    axes.set_yticks(range(len(names)), names, fontsize=13, color=color("ink"))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="both", length=0)
    axes.tick_params(axis="x", labelsize=12, labelcolor=color("muted"))
    axes.tick_params(axis="y", pad=8)
    axes.grid(axis="x", color=color("line"), linewidth=1)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)


@contextmanager
def _settings() -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context(_SETTINGS), warnings.catch_warnings():
        # The reader's browser has the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _rendered(figure: "Figure") -> str:
    file = BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return file.getvalue().decode("utf-8")


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
