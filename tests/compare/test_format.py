import math

import pytest

from preceptor.compare.format import counted, duration, interval, listed, points, probability, unbroken
from preceptor.metrics import PairedDifference

SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (1e-9, "<0.1 %"),
        (0.00049, "<0.1 %"),
        (0.0005, "0.1 %"),
        (0.9432, "94.3 %"),
        (0.99949, "99.9 %"),
        (1 - 1e-9, ">99.9 %"),
        (math.nan, "–"),
    ],
)
def test_a_probability_is_never_rounded_to_certainty(share: float, text: str) -> None:
    assert probability(share) == text.replace(" ", SPACE)


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+1.23"), (-0.0123, "−1.23"), (-1e-9, "+0.00"), (0, "+0.00")])
def test_points_carry_a_sign_but_zero_is_not_negative(value: float, text: str) -> None:
    assert points(value) == text


def test_an_interval_names_its_confidence() -> None:
    assert interval(PairedDifference(0, -0.01, 0.02, 3, 0.9)) == f"90{SPACE}% interval −1.00 to +2.00"
    assert interval(PairedDifference(0, None, None, 1, 0.95)) == ""


def test_lists_and_counts() -> None:
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [counted(count, "seed") for count in (1, 2, 1200)] == ["1 seed", "2 seeds", "1,200 seeds"]


@pytest.mark.parametrize(("seconds", "text"), [(97.4, "97 seconds"), (600, "10 minutes"), (9000, "2.5 hours")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_headings_keep_their_units() -> None:
    assert unbroken("points [95 % interval]") == f"points [95{SPACE}%{SPACE}interval]"
