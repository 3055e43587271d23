"""Every loss is measured against KL, bounded, and shown with the reasons for what is left out."""

import time

import pytest
import torch

from experiments.bench import losses
from preceptor.conformance.check import TEMPERATURE
from preceptor.losses import kl_divergence
from preceptor.registry import components
from tests.experiments.speed.tiny import CPU, machine

LOSSES = [info.name for info in components("loss")]
MACHINE = machine().model_dump(mode="json")


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_measured(name):
    loss = losses.loss_called(name, losses.random_batch(8, 6, CPU))
    student = loss.student.clone().requires_grad_()
    loss.of(student).mean().backward()
    assert student.grad is not None
    assert (student.grad != 0).any()
    loss.step()
    assert loss.student.grad is None  # every step begins anew


def test_the_yardstick_is_kl():
    batch = losses.random_batch(8, 6, CPU)
    found = losses.loss_called(losses.YARDSTICK, batch)
    target = (batch.teacher / TEMPERATURE).log_softmax(dim=1)
    expected = kl_divergence(batch.student, target, TEMPERATURE).mean() * TEMPERATURE**2
    assert torch.allclose(found.of(found.student), expected)


def test_a_loss_is_tried_on_all_rows_unless_it_grows_too_large(monkeypatch):
    rows_tried = []
    random_batch = losses.random_batch
    monkeypatch.setattr(
        losses, "random_batch", lambda rows, *rest: rows_tried.append(rows) or random_batch(rows, *rest)
    )
    found = losses.try_out("kl", (16, 5), CPU)
    assert rows_tried == [2, 4, 8, 16]
    assert found["first_seconds"] > 0
    monkeypatch.setattr(losses, "seconds_for", lambda step, device: 3.0)  # twice the rows may take 12 s
    assert losses.try_out("kl", (16, 5), CPU) == {"left_out": "2 of 16 rows took 3.0 s and 0.0 GiB"}


def test_what_takes_too_long_to_compile_is_stopped():
    with pytest.raises(losses.TooLongError), losses.limited(1):
        time.sleep(30)


def test_ratios_are_taken_round_by_round():
    seconds = {"plain KL eager": [1.0, 2.0, 4.0], "kl eager": [3.0, 4.0, 4.0]}
    found = losses.summary(seconds, "kl eager", "plain KL eager")
    assert found["times_plain_kl"]["median"] == 2.0
    assert found["median_milliseconds"] == 4000
    assert losses.summary(seconds, "kl compiled", "plain KL eager") == {}


def test_turns_are_as_many_as_rounds_for_each():
    steps = {"quick": lambda: None, "slow": lambda: time.sleep(0.001)}
    seconds = losses.in_turns(steps, 4, CPU)
    assert {name: len(found) for name, found in seconds.items()} == {"quick": 4, "slow": 4}
    assert all(found > 0.001 for found in seconds["slow"])


def test_losses_are_shown_with_the_reasons_for_what_is_left_out():
    took = {"median_milliseconds": 1.5, "times_plain_kl": {"median": 3.0, "low": 2.0, "high": 4.0}}
    cases = {"kl": {"eager": took, "compiled": {"left_out": "not compiled in 120 s"}}}
    content = {"rounds": 9, "machine": MACHINE, "shapes": [{"shape": [128, 100], "cases": cases}]}
    shown = losses.markdown(content)
    assert "| kl | 1.50 (3.00) | – |" in shown
    assert "- `kl` on [128, 100], compiled: left out, not compiled in 120 s" in shown
    assert "9 rounds" in shown
