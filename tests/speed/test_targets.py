import pytest

from preceptor.speed import PAIRS, TARGETS, VARIANTS, verdicts
from preceptor.speed.targets import BATCH_SIZE, PAIR
from tests.speed.tiny import case_result, machine, row, speed_result


def told(result):
    return {(verdict.target.variant, verdict.target.of): verdict.told for verdict in verdicts(result)}


def test_targets_are_for_what_there_is():
    assert PAIR in PAIRS
    assert BATCH_SIZE in PAIRS[PAIR].batch_sizes
    for target in TARGETS:
        assert {target.variant, target.of} <= set(VARIANTS)
        assert target.of == "student-alone" or target.least > 1


def test_a_target_is_reached_from_its_number_on():
    assert told(speed_result(case_result(row("live-fp32", 1.4))))["live-fp32", "peer"] == "reached"
    assert told(speed_result(case_result(row("live-fp32", 1.39))))["live-fp32", "peer"] == "missed"


def test_the_bank_is_held_against_peers_and_floor():
    found = told(speed_result(case_result(row("cache", 5.6, 0.94))))
    assert found["cache", "peer"] == "reached"
    assert found["cache", "student-alone"] == "missed"  # more than 5 % slower
    assert told(speed_result(case_result(row("cache", 5.6, 0.96))))["cache", "student-alone"] == "reached"


def test_what_was_not_measured_says_so_and_why():
    found = told(speed_result(case_result(left_out={"live-bf16-teacher": "no units"})))
    assert found["live-bf16-teacher", "peer"] == "not measured: no units"
    assert found["live-8", "peer"] == "not measured"


@pytest.mark.parametrize(("ratio", "verdict"), [(5.6, "reached"), (3.0, "missed")])
def test_a_machine_without_bf16_is_said_to_be_another_than_the_targets_are_of(ratio, verdict):
    result = speed_result(case_result(row("cache", ratio, 1.0)), machine=machine(lacks_bf16="none"))
    assert told(result)["cache", "peer"] == f"{verdict}; set where a CPU has units for bf16"
    assert told(result)["cache", "student-alone"] == "reached"


def test_a_gpu_has_targets_of_its_own():
    on_gpu = machine(device="cuda", gpu="An Example GPU")
    result = speed_result(case_result(row("live", 15.0), row("cache", 24.0, 0.8)), machine=on_gpu)
    assert told(result) == {
        ("live", "peer"): "reached",
        ("cache", "peer"): "missed",
        ("cache", "student-alone"): "reached",  # at most 1.3 times as slow
    }


@pytest.mark.parametrize("changes", [{"batch_size": 128}, {"pair": "resnet56:resnet20"}])
def test_other_cases_have_none(changes):
    assert verdicts(speed_result(case_result(row("cache", 9.0, 1.0), **changes))) == []
