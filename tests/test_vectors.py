"""Worked numbers, made by an independent NumPy script (tests/vectors.json), float64, to 1e-6."""

from typing import Any

import pytest

from tests.abstention import worked as of_gamblers  # noqa: F401  (it adds its checks)
from tests.corrections import worked as of_corrections  # noqa: F401  (as above)
from tests.losses import worked as of_matches  # noqa: F401  (as above)
from tests.metrics import worked as of_evaluation  # noqa: F401  (as above)
from tests.selections import worked as of_selections  # noqa: F401  (as above)
from tests.temperatures import worked as of_temperatures  # noqa: F401  (as above)
from tests.worked import CHECKS, VECTORS, Vector

LEFT_OUT = {
    "cm.soft_spearman_torchsort_readme": {"grad_pred_numeric_central"},
    "ds.influence_1d_logistic": {"spearman_pred_vs_loo"},
    "dg.coverage_error": {"kept"},
    "dtd.ka_loss_cwsm": {"gamma"},
}
"""Numbers that nothing is held to: a gradient on a kink, ranks in which rounding broke a tie, rounding to even (ours
is half up), and a power that CWSM lacks."""


class Watched(Vector):
    """A vector that knows which of its entries were looked up."""

    def __init__(self, vector: Vector) -> None:
        super().__init__(vector)
        self.seen: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("key", VECTORS)
def test_vector(key: str) -> None:
    assert key in CHECKS, f"{key} has no check"
    vector = Watched(VECTORS[key])
    CHECKS[key](vector)
    numbers = {name for name, value in vector.items() if not isinstance(value, str)}
    assert numbers - vector.seen == LEFT_OUT.get(key, set()), "not every number is checked"


def test_every_check_has_its_vector() -> None:
    assert set(CHECKS) == set(VECTORS)
