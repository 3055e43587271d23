import numpy as np
import pytest

from preceptor.audit.base_rate import base_rate_of_accuracy, label_noise_floor
from tests.audit.situations import situations


def test_the_base_rate_is_that_of_counted_errors() -> None:
    random = np.random.default_rng(0)
    n, classes, teacher_error, label_error = 400_000, 5, 0.15, 0.25
    truth = random.integers(0, classes, n)

    def erring(rate: float) -> np.ndarray:
        return np.where(random.random(n) < rate, (truth + random.integers(1, classes, n)) % classes, truth)

    answer, label = erring(teacher_error), erring(label_error)
    one_wrong = (answer == truth) ^ (label == truth)
    counted = (answer == truth)[one_wrong].mean()
    rate = base_rate_of_accuracy(float((answer != label).mean()), classes, 1 - teacher_error)
    assert rate == pytest.approx(counted, abs=0.01)


@pytest.mark.parametrize(
    ("disagreement", "accuracy", "expected"), [(0.08, 0.92, 0.0), (0.2, 1.0, 1.0), (0.0, 1.0, 0.0), (0.3, 0.5, 0.0)]
)
def test_base_rates_at_the_ends(disagreement: float, accuracy: float, expected: float) -> None:
    assert base_rate_of_accuracy(disagreement, 10, accuracy) == pytest.approx(expected)


def test_the_noise_floor_is_below_the_noise_and_zero_without() -> None:
    noisy, clean = (situations()[f"good teacher, {labels} labels"] for labels in ("noisy", "clean"))
    wrong_labels = float((noisy.labels != noisy.truth).double().mean())
    floor = label_noise_floor(noisy.teacher, noisy.opinion, noisy.labels)
    assert wrong_labels / 3 < floor < wrong_labels
    assert label_noise_floor(clean.teacher, clean.opinion, clean.labels) == 0
