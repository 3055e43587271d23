"""Every recipe can be measured, and is shown against recipe kd."""

from dataclasses import replace

import pytest
import torch

from experiments.bench import cost
from preceptor.recipes import recipe_names
from tests.experiments.speed.tiny import CPU, machine

MACHINE = machine().model_dump(mode="json")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_ready_to_be_measured(name):
    student = cost.student(name, 0, images=20)
    assert not student.loss.needs_fit
    with torch.no_grad():
        outputs = student.network(torch.zeros(2, 3, 32, 32)).shape[1]
    assert outputs == cost.PAIR.classes + student.loss.abstains


def test_costs_are_shown_against_kd():
    spread = {"median": 1.5, "low": 1.4, "high": 1.6}
    cases = {
        "kd": {"students": 1, "more_mib": 100.0, "times_kd": {**spread, "median": 1.0}},
        "crd": {"students": 1, "more_mib": 250.4, "times_kd": spread},
    }
    shown = cost.markdown({"setting": "A setting", "rounds": 3, "machine": MACHINE, "cases": cases})
    assert "| kd | 1.00 [1.40, 1.60] | 100 | 1.00 |" in shown
    assert "| crd | 1.50 [1.40, 1.60] | 250 | 2.50 |" in shown
    assert "A setting; times are medians of 3 turns" in shown


def test_a_recipe_is_measured(monkeypatch):
    monkeypatch.setattr(cost, "PAIR", replace(cost.PAIR, teacher="resnet8", student="resnet8"))
    monkeypatch.setattr(cost, "BATCH_SIZE", 8)
    measured = cost.measure("ka-at", "live", 1, "sgd", 2, CPU)
    assert measured["students"] == 1
    assert 0 < measured["times_kd"]["low"] <= measured["times_kd"]["median"] <= measured["times_kd"]["high"]
