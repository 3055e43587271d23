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

from preceptor.compare.result import StudyResult
from preceptor.reports.chart import ROLES, label
from preceptor.reports.charts import ClassError, accuracy_chart, class_errors, common_axis, error_chart
from tests.reports.conftest import ACCURACY, study_rows, with_another_teacher


def errors_of(*means: float) -> list[ClassError]:
    return [ClassError(f"class {place}", mean, [mean]) for place, mean in enumerate(means)]


def bar_widths(svg: str) -> list[float]:
    paths = [path.attrib for path in ElementTree.fromstring(svg).iter("path")]
    drawn = [path["d"] for path in paths if "fill: var(--wrong)" in path.get("style", "")]
    return [np.ptp([float(x) for x in re.findall(r"[ML] (\S+) \S+", path)]).item() for path in drawn]


def marks(svg: str, group: str) -> list[float]:
    """The horizontal places of the marks in a group."""
    found = [element for element in ElementTree.fromstring(svg).iter("g") if element.get("id", "").endswith(group)]
    assert len(found) == 1
    return [float(use.attrib["x"]) for use in found[0].iter("use")]


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


def test_every_seed_and_every_mean_is_a_mark_in_its_place(result: StudyResult) -> None:
    values = [value for row in result.rows for value in (*row.accuracy.values, row.accuracy.mean)]
    chart = accuracy_chart(result, result.teachers[0])
    for svg in (chart.wide, chart.narrow):
        places = [
            x
            for place in range(len(result.rows))
            for x in (*marks(svg, f"-seeds-{place}"), *marks(svg, f"-mean-{place}"))
        ]
        slope, start = np.polyfit(values, places, 1)
        assert slope > 0
        np.testing.assert_allclose(np.array(values) * slope + start, places, atol=0.01)


def test_on_a_common_axis_equal_accuracies_stand_at_equal_places(result: StudyResult) -> None:
    both = with_another_teacher(result, {**ACCURACY, "kd": (0.5, 0.51, 0.52)})
    first, second = (accuracy_chart(both, teacher, common_axis(both)).wide for teacher in both.teachers)
    assert marks(first, "-seeds-0") == marks(second, "-seeds-0")
    assert marks(first, "-seeds-1") != marks(second, "-seeds-1")
    low, high = common_axis(both)
    assert all(low < value < high for row in both.rows for value in row.accuracy.values)


def test_the_axis_of_equal_accuracies_has_a_length(result: StudyResult) -> None:
    same = result.model_copy(update={"rows": study_rows({"kd": (0.5,), "none": (0.5,)})})
    low, high = common_axis(same)
    assert low < 0.5 < high


def test_one_seed_draws_no_error_bars(result: StudyResult) -> None:
    single = result.model_copy(update={"rows": study_rows({row.arm: (row.accuracy.mean,) for row in result.rows})})
    assert accuracy_chart(single, result.teachers[0]).wide.count("LineCollection") == 0
    assert accuracy_chart(result, result.teachers[0]).wide.count("LineCollection") == len(result.rows)


def test_colours_come_from_the_page(result: StudyResult) -> None:
    teacher = result.teachers[0]
    errors = class_errors(result.class_names, teacher.error_by_class)
    for chart in (accuracy_chart(result, teacher), error_chart(errors)):
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
