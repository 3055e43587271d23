"""Every recipe can be measured, in several processes, and is shown against the student alone."""

import pytest
import torch

from experiments.bench import memory
from preceptor.recipes import recipe_names
from tests.experiments.speed.tiny import CPU, machine

MACHINE = machine().model_dump(mode="json")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_ready_to_be_measured(name):
    student = memory.student(name, 0, images=20)
    assert not student.loss.needs_fit
    with torch.no_grad():
        outputs = student.network(torch.zeros(2, 3, 32, 32)).shape[1]
    assert outputs == memory.PAIR.classes + student.loss.abstains


def test_memory_is_shown_against_the_student_alone():
    cases = {
        "none": {"students": 1, "more_mib": [90.0, 100.0, 110.0], "median_more_mib": 100.0},
        "kd": {"students": 1, "more_mib": [249.0, 250.4, 260.0], "median_more_mib": 250.4},
    }
    shown = memory.markdown({"setting": "A setting", "repeats": 3, "machine": MACHINE, "cases": cases})
    assert "| none | 100 | 1.00 |" in shown
    assert "| kd | 250 | 2.50 |" in shown
    assert "A setting; median of 3." in shown


def test_repeats_are_summarized(monkeypatch):
    peaks = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(memory, "in_its_own_process", lambda *arguments: {"more_mib": next(peaks)})
    summary = memory.repeated(("kd", "live", 8), CPU, 3)
    assert summary == {"students": 8, "more_mib": [3.0, 1.0, 2.0], "median_more_mib": 2.0}
