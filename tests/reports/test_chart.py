"""Drawings of specifications, as a page shows them without scripts."""

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.reports.chart import NARROW, WIDE, drawing, label
from preceptor.reports.vega import ROLES, Spec, ink, names_axis, spec, tooltip
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


def made_bars(names: Sequence[str], alt: str = "", **scale: Any) -> Spec:
    """A bar a name, the first the longest, cut off at the ends of the axis."""
    values = [{"place": place, "name": label(name, 40), "size": 1 / (place + 1)} for place, name in enumerate(names)]
    encoding = {
        "y": names_axis(names),
        "x": {"field": "size", "type": "quantitative", "title": None, "scale": scale},
        "tooltip": tooltip(("name", ""), ("size", ".1%")),
    }
    return spec(values, 240, alt, mark={"type": "bar", "color": ink("wrong"), "clip": True}, encoding=encoding)


def drawn(names: Sequence[str], *, narrow: bool = False) -> ElementTree.Element:
    return ElementTree.fromstring(drawing(made_bars(names), "bars", "what it says", narrow=narrow))


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter("text")]


@pytest.mark.parametrize(("narrow", "width", "letters"), [(False, WIDE, 28), (True, NARROW, 17)])
def test_a_drawing_has_a_width_and_names_that_fit_it(narrow: bool, width: int, letters: int) -> None:
    names = ["a_name_of_forty_letters_or_so_for_a_class", "cat"]
    svg = drawn(names, narrow=narrow)
    assert svg.attrib["viewBox"].split()[2] == str(width)
    assert svg.attrib["style"] == f"max-width: {width}px"
    assert not {"width", "height"} & set(svg.attrib)
    assert {label(name, letters) for name in names} <= set(texts_of(svg))


def test_a_phone_has_room_for_fewer_steps() -> None:
    wide, narrow = (texts_of(drawn(["some long class name"], narrow=narrow)) for narrow in (False, True))
    assert len(narrow) < len(wide)


def test_it_is_an_image_with_what_it_says_and_nothing_else_to_read() -> None:
    svg = ElementTree.fromstring(drawing(made_bars("ab", "unread"), "bars", 'a & "b" <c>', narrow=False))
    assert svg.tag == "svg"
    assert (svg.attrib["role"], svg.attrib["aria-label"]) == ("img", 'a & "b" <c>')
    assert [one for one in svg.iter() if "aria-label" in one.attrib] == [svg]


def test_colours_come_from_the_page() -> None:
    svg = drawn("ab")
    used = {one.get(key) for one in svg.iter() for key in ("fill", "stroke")}
    assert {"var(--wrong)", "var(--ink)"} <= used <= {None, "none", *(f"var(--{role})" for role in ROLES)}


@pytest.mark.parametrize("narrow", [False, True])
def test_any_name_can_be_drawn_and_stays_text(narrow: bool) -> None:
    html = drawing(made_bars(NAMES), "bars", NAMES[0], narrow=narrow)
    assert {label(name, 17 if narrow else 28) for name in NAMES if name} <= set(texts_of(ElementTree.fromstring(html)))
    assert Page(html).all("script") == []


def test_equal_charts_are_equal_bytes_and_the_ids_of_others_differ() -> None:
    def one(name: str, narrow: bool) -> str:
        return drawing(made_bars("abc", domain=[0, 0.5]), name, "", narrow=narrow)

    several = [one(name, narrow) for name in ("ranking", "ranking-1") for narrow in (False, True)]
    assert one("ranking", False) == several[0]
    ids = [re.findall(r' id="([^"]*)"', svg) for svg in several]
    assert all(ids)
    assert len({one for own in ids for one in own}) == sum(map(len, ids))
    for svg, own in zip(several, ids, strict=True):
        assert set(re.findall(r"url\(#([^)]*)\)", svg)) == set(own)


def test_a_chart_without_data_is_drawn() -> None:
    assert drawn([]).tag == "svg"


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=50), longest=st.integers(5, 40))
def test_labels_are_short_printable_and_keep_both_ends(name: str, longest: int) -> None:
    short = label(name, longest)
    assert len(short) <= longest
    assert short.isprintable()
    if len(name) > longest:
        assert "…" in short
        assert label(name[-1], longest) == short[-1]
