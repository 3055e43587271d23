"""Charts as Vega-Lite specifications, which are plain dicts, and the scripts that draw them in a page.

A page shows a drawing of each by :mod:`preceptor.reports.chart` first; where scripts run, one that answers to the
pointer takes its place. Colors are the page's CSS variables, so that light and dark need no second drawing.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from preceptor.reports.chart import drawing, label

FOLDER = Path(__file__).parent
VENDORED = ("vega", "vega-lite", "vega-embed")
"""In the order in which they need each other; versions and licences are in ``vendor/LICENSES.txt``."""

MOST_MARKS = 5_000
"""A specification holds no more: bin or leave out before, as SVG of many marks is slow."""

PHONE = 641
"""CSS pixels of a window from which on the pages are wide."""

ROLES = ("ink", "muted", "line", "paper", "truth", "wrong", "plain", "green", "purple", "ochre")
"""The page's colors, as names of its CSS variables; the last three are for lines beside the others."""

Spec = dict[str, Any]
"""A Vega-Lite specification."""


@dataclass(frozen=True)
class LiveChart:
    """A chart for a page.

    Attributes:
        name: once a page, of letters and hyphens.
        alt: what it says, for those who cannot see it.
        spec: as :func:`chart_of` makes it.
    """

    name: str
    alt: str
    spec: Spec

    @property
    def wide(self) -> str:
        """SVG for a wide page without scripts, and for paper."""
        return drawing(self.spec, self.name, self.alt, narrow=False)

    @property
    def narrow(self) -> str:
        """SVG for a phone without scripts."""
        return drawing(self.spec, self.name, self.alt, narrow=True)


def chart_of(name: str, alt: str, values: Sequence[dict[str, Any]], height: int, **rest: Any) -> LiveChart:
    """A chart with the look of the pages, as wide as its place; in its expressions ``narrow`` is true on a phone.

    Args:
        name: once a page, of letters and hyphens.
        alt: what it says.
        values: a row a mark, at most :data:`MOST_MARKS`.
        height: of the plot, CSS pixels.
        rest: ``mark`` and ``encoding``, or ``layer``.
    """
    assert len(values) <= MOST_MARKS, f"{len(values)} marks: bin them"
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": alt,
        "width": "container",
        # An expression is evaluated again when a signal in it changes, as the width does with the window.
        "params": [{"name": "narrow", "expr": f"width && windowSize()[0] < {PHONE}"}],
        "height": height,
        "background": None,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(values)},
        "config": LOOK,
        **rest,
    }
    return LiveChart(name, alt, spec)


def ink(role: str) -> str:
    """One of the page's colors, see :data:`ROLES`."""
    return f"var(--{role})"


def names_axis(wide: Sequence[str], narrow: Sequence[str] | None = None, field: str = "place", **rest: Any) -> Spec:
    """An axis of places, each with its title, which stands in an expression as the string it is.

    ``narrow`` titles stand on a phone; without them ``wide`` ones are shortened for both.
    """
    if narrow is None:
        wide, narrow = ([label(name, letters) for name in wide] for letters in (28, 17))
    titles = f"(narrow ? {json.dumps(narrow)} : {json.dumps(wide)})"
    axis = {"labelExpr": f"{titles}[datum.value]", "title": None, "labelColor": ink("ink"), "labelFontSize": 13}
    return {"field": field, "type": "ordinal", "axis": axis | rest}


def tooltip(*fields: tuple[str, str]) -> list[Spec]:
    """What a mark shows under the pointer: fields, with a number's format."""
    return [
        {"field": name, "type": "quantitative", "format": form} if form else {"field": name, "type": "nominal"}
        for name, form in fields
    ]


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
    "axisY": {"labelLimit": {"expr": "narrow ? 140 : 240"}},
    "legend": {"disable": True},
}


def scripts(*names: str) -> list[str]:
    """The vendored scripts and then files of this folder, each to stand in an element of its own.

    Args:
        names: of files, in the order in which they run.
    """
    paths = [*(FOLDER / "vendor" / f"{name}.min.js" for name in VENDORED), *(FOLDER / name for name in names)]
    # Without the address of a source map, which a browser's tools would look for.
    return [path.read_text(encoding="utf-8").split("\n//# sourceMappingURL=")[0] for path in paths]


def with_scripts(*names: str) -> dict[str, Any]:
    """What a template needs to run :func:`scripts`: these very ones, by their hashes, and no others."""
    texts = scripts(*names)
    hashes = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return {"scripts": texts, "script_policy": "script-src " + " ".join(f"'sha256-{one}'" for one in hashes)}
