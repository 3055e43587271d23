import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.compare.result import ExampleImage
from preceptor.reports.gallery import Card, card

PIXELS = np.zeros((4, 4), np.uint8)
NAMES = ("cat", "dog", "fox", "owl", "yak", "bee")


def made(probs: list[float], label: int, corrected: dict[str, list[float]] | None = None) -> Card:
    names = (*NAMES, *(f"class {number}" for number in range(len(probs))))[: len(probs)]
    return card(
        ExampleImage(pixels=PIXELS, label=label, teacher_probs=probs, corrected_probs=corrected or {}), names, 0
    )


def test_shows_the_teachers_first_three_and_the_label_and_sums_up_the_rest() -> None:
    shown = made([0.05, 0.5, 0.2, 0.15, 0.04, 0.06], label=4)
    bars = shown.distributions[0].bars
    assert [bar.name for bar in bars] == ["dog", "fox", "owl", "yak", "2 others"]
    assert [bar.role for bar in bars] == ["prediction", "other", "other", "truth", "rest"]
    assert [bar.width for bar in bars] == [50, 20, 15, 4, 11]
    assert (shown.label, shown.prediction) == ("yak", "dog")


def test_the_label_is_one_hot() -> None:
    bars = made([0.05, 0.5, 0.2, 0.15, 0.04, 0.06], label=4).distributions[1].bars
    assert [bar.width for bar in bars] == [0, 0, 0, 100, 0]


def test_every_correction_gets_its_bars_for_the_same_classes() -> None:
    distributions = made([0.1, 0.6, 0.3], 0, {"label_revision": [0.5, 0.3, 0.2]}).distributions
    assert [distribution.heading for distribution in distributions] == ["teacher", "label", "label revision"]
    assert [(bar.name, bar.width) for bar in distributions[2].bars] == [("dog", 30), ("fox", 20), ("cat", 50)]


def test_ties_go_to_the_smaller_index() -> None:
    assert [bar.name for bar in made([0.25] * 4, 3).distributions[0].bars] == ["cat", "dog", "fox", "owl"]


def test_nan_is_no_bar() -> None:
    bars = made([0.7, math.nan, 0.3], 1).distributions[0].bars
    assert [(bar.name, bar.width) for bar in bars] == [("cat", 70), ("fox", 30), ("dog", 0)]
    assert bars[2].number == "–"


@settings(max_examples=50)
@given(data=st.data(), weights=st.lists(st.floats(0.001, 1), min_size=2, max_size=12))
def test_bars_account_for_everything(data: st.DataObject, weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    shown = made(shares, data.draw(st.integers(0, len(weights) - 1)))
    for distribution in shown.distributions:
        assert sum(bar.width for bar in distribution.bars) == pytest.approx(100, abs=0.05)
    roles = [bar.role for bar in shown.distributions[0].bars]
    assert roles.count("truth") == 1
    assert len(roles) <= 5
