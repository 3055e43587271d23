import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.speed.cases import PAIRS, VARIANTS
from experiments.speed.result import Spread, load_speed, save_speed, speedup
from experiments.speed.table import (
    TARGET_BATCH_SIZE,
    TARGET_PAIR,
    TARGETS,
    provenance,
    speed_markdown,
    speed_tables,
)
from preceptor.errors import InputError
from tests.experiments.speed.tiny import case_result, exactly, machine, row, speed_result

FIRST = case_result(
    row("live", 2.5, 0.4, student="bf16, compiled", teacher="33 batch norms folded, bf16, compiled; triton is missing"),
    row("student-alone", 6.0, 1.0, notes=["something odd"]),
    left_out={"cache-fp32": "no units"},
)
SECOND = case_result(row("live", 2.0), pair="resnet56:resnet20", batch_size=128)
RESULT = speed_result(FIRST, SECOND)


def test_cells_by_hand():
    baseline, rate, alone, targets = speed_tables(RESULT).values()
    first, second = "resnet32x4 → resnet8x4, 32x32x3, batch 64", "resnet56 → resnet20, 32x32x3, batch 128"
    assert baseline == [
        ("variant", first, second),
        ("live", "2.50 (2.40 to 2.60)", "2.00 (1.90 to 2.10)"),
        ("student-alone", "6.00 (5.90 to 6.10)", "–"),
    ]
    assert rate[1:] == [("baseline", "1,234", "1,234"), ("live", "1,234", "1,234"), ("student-alone", "1,234", "–")]
    assert alone == [("variant", first, second), ("live", "0.40 (0.30 to 0.50)", "–")]
    assert targets[3] == ("live against the baseline loop", "at least 2.50", "2.50 (2.40 to 2.60)", "reached")
    assert targets[5] == ("cache against the student alone", "at least 0.95", "–", "not measured")


def test_without_the_case_of_the_targets_there_is_no_table_of_them():
    assert len(speed_tables(speed_result(SECOND))) == 3


def test_markdown_has_every_cell_and_says_how_it_was_made():
    shown = speed_markdown(RESULT)
    for lines in speed_tables(RESULT).values():
        for line in lines:
            assert f"| {' | '.join(line)} |" in shown
    assert (
        "- `live`: what live does (student: bf16, compiled; teacher: 33 batch norms folded, bf16, compiled)." in shown
    )
    assert "- `student-alone`: what student-alone does (student: fp32). Warned: something odd" in shown
    assert "- `cache-fp32`: " in shown
    assert "Left out: no units." in shown
    assert shown.endswith(provenance(RESULT))


def test_its_provenance_names_command_time_and_machine():
    told = provenance(RESULT)
    assert "Rounds: 2, in turns" in told
    assert "`preceptor bench` in 1.5 min (An Example 3000 with avx2" in told
    assert "load before 0.2" in told


def test_a_spread_that_lies_within_the_last_digit_is_shown_all_the_same():
    same = exactly(3.0).model_copy(update={"low": 3.0, "high": 3.0})
    fast = row("cache", 3.0).model_copy(update={"to_baseline": same})
    assert speed_tables(speed_result(case_result(fast)))[
        "Times as fast as the baseline loop, median of the rounds (lower to upper quartile)"
    ][1] == ("cache", "3.00 (3.00 to 3.00)")


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_quartiles_are_those_of_numpy(values):
    spread = Spread.of(values)
    low, middle, high = np.percentile(values, [25, 50, 75])
    assert (spread.low, spread.median, spread.high) == pytest.approx((low, middle, high))


def test_speedups_are_taken_round_by_round_and_for_each_student():
    # 4 / 2, 9 / 3 and 8 / 1: the ratio of the medians would be 8 / 2.
    assert speedup([2.0, 3.0, 1.0], 1, [4.0, 9.0, 8.0]).median == 3.0
    assert speedup([8.0], 8, [4.0]).median == 4.0


def test_a_result_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "speed.json"
    save_speed(RESULT, path)
    assert load_speed(path) == RESULT
    assert json.loads(path.read_text())["kind"] == "speed"
    for content, message in (("[]", "expected a JSON object"), ('{"kind": "speed"}', "command")):
        path.write_text(content)
        with pytest.raises(InputError, match=message) as error:
            load_speed(path)
        assert str(path) in str(error.value)


def verdicts(*rows, **changes):
    """By variant and what it is compared with."""
    on = changes.pop("machine", machine())
    case = case_result(*rows, **changes)
    targets = [target for target in TARGETS if target.device == on.device]
    return {(target.variant, target.of): target.verdict(case, on.lacks_bf16)[1] for target in targets}


def test_targets_are_for_pairs_and_variants_that_exist():
    assert TARGET_BATCH_SIZE in PAIRS[TARGET_PAIR].batch_sizes
    for target in TARGETS:
        assert {target.variant, target.of} <= set(VARIANTS)
        assert target.of == "student-alone" or target.least > 1


def test_a_target_is_reached_from_its_number_on():
    assert verdicts(row("live-fp32", 1.4))["live-fp32", "baseline"] == "reached"
    assert verdicts(row("live-fp32", 1.39))["live-fp32", "baseline"] == "missed"
    found = verdicts(row("cache", 5.6, 0.94))
    assert found["cache", "baseline"] == "reached"
    assert found["cache", "student-alone"] == "missed"  # more than 5 % slower
    on_gpu = machine(device="cuda", gpu="An Example GPU")
    assert verdicts(row("live", 15.0), row("cache", 24.0, 0.8), machine=on_gpu) == {
        ("live", "baseline"): "reached",
        ("cache", "baseline"): "missed",
        ("cache", "student-alone"): "reached",  # at most 1.3 times as slow
    }


def test_a_target_that_was_not_measured_or_was_set_elsewhere_says_so():
    found = verdicts(left_out={"live-bf16-teacher": "no units"})
    assert found["live-bf16-teacher", "baseline"] == "not measured: no units"
    assert found["live-8", "baseline"] == "not measured"
    without = machine(lacks_bf16="none")
    found = verdicts(row("cache", 3.0, 1.0), machine=without)
    assert found["cache", "baseline"] == "missed; set where a CPU has units for bf16"
    assert found["cache", "student-alone"] == "reached"
