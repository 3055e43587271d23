"""The model of a step adds up what it says."""

from dataclasses import replace

import pytest

from experiments.bench.scale_model import Rates, Work, communication_seconds, step_seconds

WORK = Work(
    batch=128, classes=100, student_flops=1e8, teacher_flops=4e8, parameters=1_000_000, batch_norms=10, normalized=1000
)
RATES = Rates(
    student=1e10,
    teacher=2e10,
    update=1e8,
    loss=1e8,
    read=1e9,
    latency=1e-3,
    synchronize=2e-3,
    normalize=1e6,
    bandwidth=1e9,
)


def test_one_process_by_hand():
    parts = step_seconds(WORK, RATES, 1)
    assert parts["teacher"] == pytest.approx(128 * 4e8 / 2e10)
    assert parts["student"] == pytest.approx(3 * 128 * 1e8 / 1e10 + 1e6 / 1e8)
    assert parts["loss"] == pytest.approx(12_800 / 1e8)
    assert parts["communication"] == 0
    assert parts["total"] == pytest.approx(sum(parts[name] for name in ("teacher", "student", "loss")))


def test_four_processes_share_rows_and_not_the_loss():
    one, four = step_seconds(WORK, RATES, 1), step_seconds(WORK, RATES, 4)
    update = 1e6 / 1e8
    assert four["teacher"] == pytest.approx(one["teacher"] / 4)
    assert four["student"] - update == pytest.approx((one["student"] - update) / 4)
    assert four["loss"] == one["loss"]
    gathered, gradients, exchanges = 2 * 4 * 12_800 * 3 / 4, 2 * 4e6 * 3 / 4, 2 + 1 + 1
    norms = 10 * 2e-3 + 32 * 1000 / 1e6
    assert four["communication"] == pytest.approx(norms + exchanges * 1e-3 + (gathered + gradients) / 1e9)


def test_a_cached_teacher_takes_nothing_and_is_not_gathered():
    cached = replace(WORK, teacher_flops=0)
    assert step_seconds(cached, RATES, 4)["teacher"] == 0
    saved = communication_seconds(WORK, RATES, 4) - communication_seconds(cached, RATES, 4)
    assert saved == pytest.approx(1e-3 + 4 * 12_800 * 3 / 4 / 1e9)


def test_slow_reading_hides_what_is_computed():
    slow = step_seconds(WORK, replace(RATES, read=10), 4)
    assert slow["total"] == pytest.approx(128 / 4 / 10 + slow["communication"])
