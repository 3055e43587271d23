import math

import pytest

from preceptor.reports.class_errors import class_errors


def test_classes_are_ordered_by_their_mean_over_known_seeds() -> None:
    errors = class_errors("abcd", [[0.1, None, 0.5, None], [0.3, None, None, 0.0]])
    assert [error.name for error in errors] == ["c", "a", "d", "b"]
    assert [error.mean for error in errors[:3]] == pytest.approx([0.5, 0.2, 0.0])
    assert math.isnan(errors[3].mean)
