import numpy as np
import pytest

from preceptor.data.own import own_dataset
from preceptor.errors import InputError


def test_a_label_of_billions_makes_no_billions_of_names() -> None:
    with pytest.raises(InputError, match="label 2000000000"):
        own_dataset((np.zeros((3, 2), np.float32), np.array([0, 1, 2 * 10**9])))
