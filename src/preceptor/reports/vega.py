"""Charts that answer to the pointer: Vega-Lite specifications as plain dicts, and the scripts that draw them.

A page shows a chart of :mod:`preceptor.reports.chart` first; where scripts run, the drawn specification takes its
place. Colors are the page's CSS variables, so that light and dark need no second drawing.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from preceptor.reports.chart import Chart, label

FOLDER = Path(__file__).parent
VENDORED = ("vega", "vega-lite", "vega-embed")
"""In the order in which they need each other; versions and licences are in ``vendor/LICENSES.txt``."""

MOST_MARKS = 5_000
"""A specification holds no more: bin or leave out before, as SVG of many marks is slow."""

PHONE = 641
"""CSS pixels of a window from which on the pages are wide."""

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
    """One of the page's colors, see :data:`preceptor.reports.chart.ROLES`."""
    return f"var(--{role})"


def names_axis(wide: Sequence[str], narrow: Sequence[str] | None = None, field: str = "place", **rest: Any) -> Spec:
    """An axis of places, each with its title, which stands in an expression as the string it is.

    ``narrow`` titles stand on a phone; without them ``wide`` ones are shortened for both.
    """
    if narrow is None:
        wide, narrow = ([label(name, letters) for name in wide] for letters in (28, 17))
    titles = f"(windowSize()[0] < {PHONE} ? {json.dumps(narrow)} : {json.dumps(wide)})"
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
    "axisY": {"labelLimit": {"expr": f"windowSize()[0] < {PHONE} ? 140 : 240"}},
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
