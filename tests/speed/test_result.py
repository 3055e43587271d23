import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preceptor.errors import InputError
from preceptor.speed import Spread, load_speed, save_speed
from preceptor.speed.result import times_as_fast
from tests.speed.tiny import case_result, row, speed_result

RESULT = speed_result(case_result(row("live", 2.5, 0.4)))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_quartiles_are_those_of_numpy(values):
    spread = Spread.of(values)
    low, middle, high = np.percentile(values, [25, 50, 75])
    assert (spread.low, spread.median, spread.high) == pytest.approx((low, middle, high))


def test_times_as_fast_are_taken_round_by_round():
    # 4 / 2, 9 / 3 and 8 / 1: the ratio of the medians would be 8 / 2.
    assert times_as_fast([2.0, 3.0, 1.0], 1, [4.0, 9.0, 8.0]).median == 3.0


def test_several_students_count_each():
    assert times_as_fast([8.0], 8, [4.0]).median == 4.0


def test_a_result_file_is_read_as_it_was_written(tmp_path):
    save_speed(RESULT, tmp_path / "speed.json")
    assert load_speed(tmp_path / "speed.json") == RESULT
    assert json.loads((tmp_path / "speed.json").read_text())["kind"] == "speed"


@pytest.mark.parametrize(
    ("content", "told"),
    [("[]", "expected a JSON object"), ("{", "not a readable result file"), ('{"kind": "speed"}', "command")],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, told):
    path = tmp_path / "speed.json"
    path.write_text(content)
    with pytest.raises(InputError, match=told) as error:
        load_speed(path)
    assert str(path) in str(error.value)


def test_a_row_is_found_by_its_variant():
    assert RESULT.cases[0].row("live").to_peer.median == 2.5
    assert RESULT.cases[0].row("cache") is None
