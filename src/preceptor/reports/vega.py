"""Charts that answer to the pointer: Vega-Lite specifications as plain dicts, and the scripts that draw them.

A page shows a chart of :mod:`preceptor.reports.chart` first; where scripts run, the drawn specification takes its place.
Colors are the page's CSS variables, so that light and dark need no second drawing.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.reports.chart import Chart

if TYPE_CHECKING:
    from markupsafe import Markup

FOLDER = Path(__file__).parent
VENDORED = ("vega", "vega-lite", "vega-embed")
"""In the order in which they need each other; versions and licences are in ``vendor/LICENSES.txt``."""

MOST_MARKS = 5_000
"""A specification holds no more: bin or leave out before, as SVG of many marks is slow."""

Spec = dict[str, Any]
"""A Vega-Lite specification."""


@dataclass(frozen=True)
class LiveChart:
    """A chart for a page.

    Attributes:
        name: once a page, of letters and hyphens.
        alt: what it says, for those who cannot see it.
        fixed: shown without scripts and on paper.
        spec: drawn where scripts run, as :func:`spec` makes it.
    """

    name: str
    alt: str
    fixed: Chart
    spec: Spec

    def json(self) -> "Markup":
        """The specification to put into a page: no ``<`` in it can end the element around it."""
        return embedded_json(self.spec)


def spec(values: Sequence[dict[str, Any]], height: int, alt: str, **rest: Any) -> Spec:
    """A specification with the look of the pages, as wide as its place.

    Args:
        values: a row a mark, at most :data:`MOST_MARKS`.
        height: of the plot, CSS pixels.
        alt: what it says.
        rest: ``mark`` and ``encoding``, or ``layer``.
    """
    assert len(values) <= MOST_MARKS, f"{len(values)} marks: bin them"
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": alt,
        "width": "container",
        "height": height,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(values)},
        "config": LOOK,
        **rest,
    }


def ink(role: str) -> str:
    """One of the page's colors, see :data:`preceptor.reports.svg.ROLES`."""
    return f"var(--{role})"


LOOK: Spec = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "grid": False,
        "labelColor": ink("muted"),
        "titleColor": ink("muted"),
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 8,
        "titlePadding": 10,
        "gridColor": ink("line"),
    },
    "axisQuantitative": {"grid": True, "tickCount": {"expr": "width < 300 ? 3 : 6"}},
    "axisY": {"labelLimit": {"expr": "windowSize()[0] < 641 ? 130 : 240"}},
    "legend": {"disable": True},
}


def scripts(*names: str) -> list["Markup"]:
    """The vendored scripts and then files of this folder, each to stand in an element of its own.

    Args:
        names: of files, in the order in which they run.
    """
    from markupsafe import Markup

    paths = [*(FOLDER / "vendor" / f"{name}.min.js" for name in VENDORED), *(FOLDER / name for name in names)]
    # Without the address of a source map, which a browser's tools would look for.
    return [Markup(path.read_text(encoding="utf-8").split("\n//# sourceMappingURL=")[0]) for path in paths]


def script_policy(texts: Sequence[str]) -> str:
    """What a page's content security policy allows: these very scripts, by their hashes, and no others."""
    hashes = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return "script-src " + " ".join(f"'sha256-{one}'" for one in hashes)


def embedded_json(content: Any) -> "Markup":
    """JSON that can stand in a script element."""
    from markupsafe import Markup

    text = json.dumps(content, allow_nan=False)
    # Markup by these three characters, and only by them, could end the element or open another in it.
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
