import dataclasses

import pytest
import torch
from torch import nn

from preceptor.run.doctor.cost import (
    Duration,
    Memory,
    Size,
    available_bytes,
    capacity_finding,
    in_words,
    kept_activations,
    memory_finding,
    size_of,
    time_finding,
)

MEMORY = Memory(images=10 * 2**20, student=2**20, teacher=5 * 2**20, activations=2**20, peak=None, available=None)


def test_the_size_of_a_linear_layer():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert size_of(network, torch.zeros(1, 3, 2, 2)) == Size(parameters=65, flops=2 * 12 * 5)


@pytest.mark.parametrize(
    ("teacher", "status"),
    [
        (Size(100, 100), "ok"),
        (Size(99, 200), "warning"),
        (Size(200, 99), "warning"),
        (Size(200, 200), "ok"),
        (None, "ok"),
    ],
)
def test_a_student_larger_than_its_teacher(teacher, status):
    assert capacity_finding(Size(100, 100), teacher).status == status


def test_how_long_a_run_takes():
    found = Duration(steps=1000, step_seconds=0.25, timed_steps=10, measuring_seconds=50)
    told = time_finding(found, 64, without_bank=True)
    assert told.numbers["seconds"] == 300
    assert told.numbers["images_per_second"] == 256
    assert "about 5 min: 1,000 steps of 250 ms (256 images/s)" in told.found
    assert "before a cache is filled" in told.found


@pytest.mark.parametrize(("seconds", "words"), [(0.1, "1 s"), (99, "99 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_memory_is_the_sum_of_its_parts_or_what_was_measured():
    assert MEMORY.bytes == 17 * 2**20
    assert "about 17 MiB (estimated" in memory_finding(MEMORY).found
    measured = dataclasses.replace(MEMORY, peak=30 * 2**20)
    assert "about 30 MiB (measured)" in memory_finding(measured).found


@pytest.mark.parametrize(("available", "status"), [(3 * 2**20, "ok"), (2**20, "problem")])
def test_memory_that_is_not_there(available, status):
    assert memory_finding(dataclasses.replace(MEMORY, available=available)).status == status


def test_activations_kept_for_the_backward_pass():
    """A linear layer keeps its input, the sigmoid after it its output; weights are not counted."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Sigmoid(), nn.Linear(5, 2))
    assert kept_activations(network, torch.zeros(8, 3, 2, 2)) == 4 * 8 * (12 + 5)


def test_this_machine_has_some_memory_left():
    assert (available_bytes(torch.device("cpu")) or 1) > 0
