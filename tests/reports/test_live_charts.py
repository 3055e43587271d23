"""The charts that several pages show."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from preceptor.reports.class_errors import ClassError
from preceptor.reports.live_charts import live_errors
from preceptor.reports.vega import LiveChart


def chart_of(*means: float) -> LiveChart:
    return live_errors([ClassError(f"class {place}", mean, [mean]) for place, mean in enumerate(means)], "Errors")


def bar_widths(svg: str) -> list[float]:
    """CSS pixels."""
    bars = [path for path in ElementTree.fromstring(svg).iter("path") if path.get("fill") == "var(--wrong)"]
    return [float(re.findall(r"h([\d.]+)v", path.attrib["d"])[0]) for path in bars]


def test_bars_are_as_long_as_the_errors_and_nan_has_none() -> None:
    chart = chart_of(0.8, 0.4, 0.1, math.nan)
    for svg in (chart.wide, chart.narrow):
        widths = bar_widths(svg)
        assert np.array(widths) / widths[0] == pytest.approx([1, 0.5, 0.125, 0])
        assert "80.0\N{NO-BREAK SPACE}%" in svg
        assert ">no image<" in svg
    assert chart.alt.startswith("Errors: class 0 80.0\N{NO-BREAK SPACE}%, class 1 40.0")


def test_the_longest_bar_leaves_room_for_its_number() -> None:
    chart = chart_of(1.0, 0.4)
    for svg in (chart.wide, chart.narrow):
        (left,) = re.findall(r'<g fill="none"[^>]*translate\(([\d.]+)', svg)
        end = float(ElementTree.fromstring(svg).attrib["viewBox"].split()[2])
        assert end - float(left) - bar_widths(svg)[0] > 50  # the number takes 42, and 6 before it


def test_at_most_thirty_bars() -> None:
    assert len(bar_widths(chart_of(*np.linspace(1, 0.1, 100)).narrow)) == 30


@pytest.mark.parametrize("means", [(0.0, math.nan), (math.nan,), ()])
def test_no_error_at_all_still_draws(means: tuple[float, ...]) -> None:
    chart = chart_of(*means)
    assert bar_widths(chart.wide) == [0] * len(means)
    assert ("0.0\N{NO-BREAK SPACE}%" in chart.wide) == (0.0 in means)
