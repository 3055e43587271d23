"""What the charts of all pages have in common: names fit for them, and their drawing where scripts don't run."""

from typing import Any
from xml.etree import ElementTree

WIDE, NARROW = 856, 350
"""CSS pixels: width of a chart on a wide page, and on a phone. Text that shrinks cannot be read."""

FONT = "Arial, Helvetica, Liberation Sans, sans-serif"
"""Fonts of equal widths, one of which nearly every reader has: labels have the room that was measured for them."""


def label(name: str, longest: int) -> str:
    """A name fit for a chart: one printable line; its middle is left out beyond ``longest`` characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    if len(printable) <= longest:
        return printable
    tail = longest // 3
    return f"{printable[: longest - tail - 1]}…{printable[-tail:]}"


def drawing(spec: dict[str, Any], name: str, alt: str, *, narrow: bool) -> str:
    """A Vega-Lite specification as inline SVG; equal ones give equal bytes.

    Args:
        spec: as :func:`preceptor.reports.vega.chart_of` makes it.
        name: of the chart, once a page: its ids begin with it.
        alt: what it says, for those who cannot see it.
        narrow: for a phone, :data:`NARROW` CSS pixels; else :data:`WIDE`.
    """
    from vl_convert import vegalite_to_svg

    width = NARROW if narrow else WIDE
    # A description may hold characters that XML lacks, which the names within a chart don't.
    fixed = {key: value for key, value in spec.items() if key != "description"}
    fixed |= {"width": width, "params": [{"name": "narrow", "value": narrow}]}
    fixed["config"] = spec["config"] | {"font": FONT, "aria": False}
    root = ElementTree.fromstring(vegalite_to_svg(fixed))
    # The drawing library counts ids over all charts of a process.
    ids = {one.attrib["id"]: f"{name}-{width}-{place}" for place, one in enumerate(root.iterfind(".//*[@id]"))}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if "id" in element.attrib:
            element.attrib["id"] = ids[element.attrib["id"]]
        if "clip-path" in element.attrib:
            element.attrib["clip-path"] = f"url(#{ids[element.attrib['clip-path'][5:-1]]})"
    for attribute in ("width", "height"):
        del root.attrib[attribute]
    root.attrib |= {"role": "img", "aria-label": alt, "style": f"max-width: {width}px"}
    return ElementTree.tostring(root, encoding="unicode")
