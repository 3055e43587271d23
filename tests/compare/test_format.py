import pytest

from preceptor.compare.format import counted, duration, listed, points


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+1.23"), (-0.0123, "−1.23"), (-1e-9, "+0.00"), (0, "+0.00")])
def test_points_carry_a_sign_but_zero_is_not_negative(value: float, text: str) -> None:
    assert points(value) == text


def test_lists_and_counts() -> None:
    assert [listed(["a", "b", "c"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [counted(count, "seed") for count in (1, 2, 1200)] == ["1 seed", "2 seeds", "1,200 seeds"]


@pytest.mark.parametrize(("seconds", "text"), [(97.4, "97 seconds"), (600, "10 minutes"), (9000, "2.5 hours")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
