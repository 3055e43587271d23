import math
import re
import sys
import warnings
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.reports.chart import ROLES, label
from preceptor.reports.class_errors import ClassError, class_errors, error_chart


def errors_of(*means: float) -> list[ClassError]:
    return [ClassError(f"class {place}", mean, [mean]) for place, mean in enumerate(means)]


def bar_widths(svg: str) -> list[float]:
    paths = [path.attrib for path in ElementTree.fromstring(svg).iter("path")]
    drawn = [path["d"] for path in paths if "fill: var(--wrong)" in path.get("style", "")]
    return [np.ptp([float(x) for x in re.findall(r"[ML] (\S+) \S+", path)]).item() for path in drawn]


def test_bars_are_as_long_as_the_errors_and_nan_has_none() -> None:
    chart = error_chart(errors_of(0.8, 0.4, 0.1, math.nan))
    for svg in (chart.wide, chart.narrow):
        widths = bar_widths(svg)
        assert np.array(widths) / widths[0] == pytest.approx([1, 0.5, 0.125], abs=0.01)
        assert "no image" in svg


def test_at_most_thirty_bars() -> None:
    assert len(bar_widths(error_chart(errors_of(*np.linspace(1, 0.1, 100))).narrow)) == 30


def test_no_error_at_all_still_draws() -> None:
    assert "0.0\N{NO-BREAK SPACE}%" in error_chart(errors_of(0.0, math.nan)).wide


def test_classes_are_ordered_by_their_mean_over_known_seeds() -> None:
    errors = class_errors("abcd", [[0.1, None, 0.5, None], [0.3, None, None, 0.0]])
    assert [error.name for error in errors] == ["c", "a", "d", "b"]
    assert [error.mean for error in errors[:3]] == pytest.approx([0.5, 0.2, 0.0])
    assert math.isnan(errors[3].mean)


def test_colours_come_from_the_page() -> None:
    chart = error_chart(errors_of(0.5, math.nan))
    used = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.wide + chart.narrow))
    assert used <= {"none", *(f"var(--{role})" for role in ROLES)}


def test_any_name_can_be_drawn_without_a_warning() -> None:
    names = ["$x", r"$\nonsense$", "a_b^c", "猫 🐈", "ящерица", "line\nbreak", "<b>&amp;", "", "x" * 300]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = error_chart([ClassError(name, 0.5, [0.5]) for name in names]).wide
    texts = {text.text or "" for text in ElementTree.fromstring(svg).iter("text")}
    assert {label(name, 28) for name in names if name} <= texts


def test_leaves_the_settings_of_matplotlib_alone_and_pyplot_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(matplotlib.rcParams)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    error_chart(errors_of(0.5))
    assert dict(matplotlib.rcParams) == before


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=50), longest=st.integers(5, 40))
def test_labels_are_short_printable_and_keep_both_ends(name: str, longest: int) -> None:
    short = label(name, longest)
    assert len(short) <= longest
    assert short.isprintable()
    if len(name) > longest:
        assert "…" in short
        assert label(name[-1], longest) == short[-1]
