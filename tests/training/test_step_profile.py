import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from preceptor.errors import MachineError
from preceptor.training.step_profile import PARTS, REST, as_text, profile_of
from preceptor.training.trace import events_of, read_trace
from tests.training.test_trace import entry, mark

TWO_STEPS = [
    mark("ProfilerStep#1", 0, 100),
    mark("batch", 0, 10),
    mark("student", 10, 40),
    entry("cpu_op", "aten::conv2d", 12, 20),
    entry("cuda_runtime", "cudaLaunchKernel", 20, 5, correlation=1),
    mark("backward", 60, 40),
    entry("cuda_runtime", "cudaLaunchKernel", 70, 5, thread=2, correlation=2),
    mark("ProfilerStep#2", 100, 60),
    mark("batch", 100, 10),
    mark("student", 110, 20),
    mark("student", 130, 20),
    entry("cuda_runtime", "cudaGraphLaunch", 140, 5, correlation=3),
    entry("cuda_runtime", "cudaLaunchKernel", 155, 3, correlation=4),
    mark("ProfilerStep#3", 160, 500),
    entry("kernel", "forward", 200, 30, correlation=1),
    entry("kernel", "backward", 230, 30, correlation=2),
    entry("kernel", "forward", 300, 20, correlation=3),
    entry("gpu_memcpy", "Memcpy DtoH", 320, 20, correlation=4),
]
"""Two steps of a loop on a GPU that lags behind its host, and one broken off."""


def by_name(rows):
    return {row.name: row for row in rows}


@pytest.fixture
def two_steps():
    return profile_of(events_of(TWO_STEPS), steps=2, skipped=10)


def test_steps(two_steps):
    assert (two_steps.skipped, two_steps.steps) == (10, 2)
    assert two_steps.step_ms == pytest.approx(0.08)
    assert (two_steps.fastest_ms, two_steps.slowest_ms) == (0.06, 0.1)


def test_parts_on_the_host(two_steps):
    assert [part.name for part in two_steps.parts] == ["batch", "student", "backward", REST]
    parts = by_name(two_steps.parts)
    assert parts["student"].calls == 1.5
    assert {name: part.ms for name, part in parts.items()} == pytest.approx(
        {"batch": 0.01, "student": 0.04, "backward": 0.02, REST: 0.01}
    )
    assert sum(part.share for part in parts.values()) == pytest.approx(1)


def test_kernels_belong_to_the_part_that_launched_them(two_steps):
    parts = by_name(two_steps.parts)
    assert {name: part.device_ms for name, part in parts.items()} == pytest.approx(
        {"batch": 0, "student": 0.025, "backward": 0.015, REST: 0.01}
    )
    assert parts["student"].device_share == pytest.approx(0.5)
    assert two_steps.device_ms == pytest.approx(0.05)
    assert two_steps.device_busy == pytest.approx(100 / 140)


def test_kernels_and_operators(two_steps):
    assert [(kernel.name, kernel.calls) for kernel in two_steps.kernels] == [
        ("forward", 1),
        ("backward", 0.5),
        ("Memcpy DtoH", 0.5),
    ]
    assert two_steps.kernels[0].share == pytest.approx(0.5)
    operators = by_name(two_steps.operators)
    assert operators["aten::conv2d"].ms == pytest.approx(0.0075)
    assert operators["student: outside operators"].ms == pytest.approx((20 + 20 + 20 - 5) / 2000)


def test_what_happens_between_epochs_counts_for_no_step():
    between = [mark("ProfilerStep#1", 0, 100), entry("cpu_op", "measuring", 0, 70), mark("batch", 80, 20)]
    found = profile_of(events_of(between), steps=1, epoch_begins={0})
    assert found.step_ms == pytest.approx(0.02)
    assert [operator.name for operator in found.operators] == ["batch: outside operators"]


def test_a_trace_without_a_step():
    with pytest.raises(MachineError, match="no step"):
        profile_of(events_of([mark("batch", 0, 10)]), steps=3)


def test_text_of_a_device(two_steps):
    lines = as_text(two_steps).splitlines()
    assert lines[0].startswith("2 steps, after 10 to warm up: 0.08 ms a step (0.06 to 0.10)")
    assert lines[1] == "device: 0.05 ms of kernels a step, busy 71.4% of the time"
    student = next(line for line in lines if line.startswith("student "))
    assert student.split() == ["student", "1.5", "0.040", "50.0%", "0.025", "50.0%"]
    assert any(line.startswith("kernel on the device") for line in lines)


def test_text_sums_up_the_small_ones():
    operators = [entry("cpu_op", f"aten::op{number}", number, 1) for number in range(25)]
    text = as_text(profile_of(events_of([mark("ProfilerStep#1", 0, 100), *operators]), steps=1))
    assert "device" not in text
    assert text.count("aten::") == 20
    assert text.splitlines()[-1].split() == ["5", "others", "5.0", "0.005", "5.0%"]


def test_a_long_name_is_cut_in_the_text():
    events = events_of([mark("ProfilerStep#1", 0, 100), entry("cpu_op", "x" * 500, 0, 1)])
    assert max(len(line) for line in as_text(profile_of(events, steps=1)).splitlines()) < 120


def test_agrees_with_torch(tmp_path):
    network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def step():
        with record_function("student"):
            loss = network(torch.ones(8, 20)).logsumexp(dim=1).mean()
        with record_function("backward"):
            loss.backward()
        with record_function("optimizer"):
            optimizer.step()

    steps = schedule(wait=0, warmup=1, active=3, repeat=1)
    with profile(activities=[ProfilerActivity.CPU], schedule=steps) as torchs:
        for _ in range(4):
            step()
            torchs.step()
    torchs.export_chrome_trace(str(tmp_path / "trace.json"))
    found = profile_of(read_trace((tmp_path / "trace.json").read_bytes()), steps=3)

    expected = {row.key: row for row in torchs.key_averages()}
    operators, parts = by_name(found.operators), by_name(found.parts)
    assert len(operators) == len(expected) - 1  # torch also has a row for the steps
    for name, row in expected.items():
        if name in PARTS:
            assert parts[name].ms * 3000 == pytest.approx(row.cpu_time_total, abs=0.01)
            assert operators[f"{name}: outside operators"].ms * 3000 == pytest.approx(row.self_cpu_time_total, abs=0.5)
        elif name != "ProfilerStep*":
            assert operators[name].calls * 3 == pytest.approx(row.count)
            assert operators[name].ms * 3000 == pytest.approx(row.self_cpu_time_total, abs=0.5)
    assert found.step_ms * 3000 == pytest.approx(expected["ProfilerStep*"].cpu_time_total, abs=0.01)
    assert parts[REST].ms * 3000 == pytest.approx(expected["ProfilerStep*"].self_cpu_time_total, abs=0.5)
