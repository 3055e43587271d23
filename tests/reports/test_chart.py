"""Drawings of specifications, as a page shows them without scripts."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.reports.chart import NARROW, WIDE, label
from preceptor.reports.vega import ROLES, LiveChart, chart_of, ink, names_axis, tooltip
from tests.reports.page import Page

NAMES = [
    "<script>alert(1)</script>",
    "$1",
    r"$\nonsense$",
    "a_b^c",
    "\"'`}}",
    "猫 🐈",
    "ящерица",
    "line\nbreak",
    "",
    "x" * 300,
]


def made_bars(names: Sequence[str], name: str = "bars", alt: str = "") -> LiveChart:
    """A bar a name, those that are longer than the axis cut off."""
    values = [{"place": place, "name": label(one, 40), "size": 1 / (place + 1)} for place, one in enumerate(names)]
    encoding = {
        "y": names_axis(names),
        "x": {"field": "size", "type": "quantitative", "title": None, "scale": {"domain": [0, 0.8]}},
        "tooltip": tooltip(("name", ""), ("size", ".1%")),
    }
    mark = {"type": "bar", "color": ink("wrong"), "clip": True}
    return chart_of(name, alt, values, 240, mark=mark, encoding=encoding)


def both(chart: LiveChart) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in (chart.wide, chart.narrow)]


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter("text")]


def test_a_drawing_has_a_width_and_names_that_fit_it() -> None:
    names = ["a_name_of_forty_letters_or_so_for_a_class", "cat"]
    for svg, width, letters in zip(both(made_bars(names)), (WIDE, NARROW), (28, 17), strict=True):
        assert svg.attrib["viewBox"].split()[2] == str(width)
        assert svg.attrib["style"] == f"max-width: {width}px"
        assert not {"width", "height"} & set(svg.attrib)
        assert {label(name, letters) for name in names} <= set(texts_of(svg))


def test_a_phone_has_room_for_fewer_steps() -> None:
    wide, narrow = map(texts_of, both(made_bars(["some long class name"])))
    assert len(narrow) < len(wide)


def test_it_is_an_image_with_what_it_says_and_nothing_else_to_read() -> None:
    for svg in both(made_bars("ab", alt='a & "b" <c>')):
        assert svg.tag == "svg"
        assert (svg.attrib["role"], svg.attrib["aria-label"]) == ("img", 'a & "b" <c>')
        assert [one for one in svg.iter() if "aria-label" in one.attrib] == [svg]


def test_colours_come_from_the_page() -> None:
    for svg in both(made_bars("ab")):
        used = {one.get(key) for one in svg.iter() for key in ("fill", "stroke")}
        assert {"var(--wrong)", "var(--ink)"} <= used <= {None, "none", *(f"var(--{role})" for role in ROLES)}


def test_any_name_can_be_drawn_and_stays_text() -> None:
    chart = made_bars(NAMES, alt=NAMES[0])
    for svg, letters in zip(both(chart), (28, 17), strict=True):
        assert {label(name, letters) for name in NAMES if name} <= set(texts_of(svg))
    assert Page(chart.wide + chart.narrow).all("script") == []
    assert made_bars(["\x01"], alt="\x01").wide.startswith("<svg")


def test_equal_charts_are_equal_bytes_and_the_ids_of_others_differ() -> None:
    charts = [made_bars("abc", name) for name in ("ranking", "ranking-1")]
    several = [svg for chart in charts for svg in (chart.wide, chart.narrow)]
    assert several[0] == charts[0].wide
    ids = [re.findall(r' id="([^"]*)"', svg) for svg in several]
    assert all(ids)
    assert len({one for own in ids for one in own}) == sum(map(len, ids))
    for svg, own in zip(several, ids, strict=True):
        assert set(re.findall(r"url\(#([^)]*)\)", svg)) == set(own)


def test_a_chart_without_data_is_drawn() -> None:
    assert [svg.tag for svg in both(made_bars([]))] == ["svg", "svg"]


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=50), longest=st.integers(5, 40))
def test_labels_are_short_printable_and_keep_both_ends(name: str, longest: int) -> None:
    short = label(name, longest)
    assert len(short) <= longest
    assert short.isprintable()
    if len(name) > longest:
        assert "…" in short
        assert label(name[-1], longest) == short[-1]
