"""Optimizers, schedules, accumulation, clipping and averaging: what they compute, and that a resume changes no bit."""

import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from preceptor import CrossEntropy, DistillationLoss
from preceptor.training import Student, TrainingConfig
from preceptor.training.checkpoint import CheckpointCallback, load_newest
from preceptor.training.config import OPTIMIZERS
from tests.training.spoilt import linear
from tests.training_helpers import StateAfter, batches, data_of, digits, network, same_bits, train, weights

SMALL = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
EVERYTHING = TrainingConfig(
    **SMALL,
    optimizer="adamw",
    optimizer_options={"betas": (0.8, 0.9)},
    decay_norms_and_biases=False,
    schedule_per="step",
    warmup=0.2,
    clip_norm=0.5,
    accumulate=3,
    ema=0.9,
)


def labels_alone(module: nn.Module) -> Student:
    return Student("student", module, DistillationLoss(label_loss=CrossEntropy()))


def trained(config: TrainingConfig, module: nn.Module | None = None, **options) -> nn.Module:
    module = module or network()
    train([labels_alone(module)], images=40, training=config, teacher=None, precision="fp32", **options)
    return module


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"muon"}))  # muon takes matrices only
def test_every_optimizer_of_torch_resumes_in_the_same_bits(name: str) -> None:
    config = TrainingConfig(**SMALL, optimizer=name)
    kept = StateAfter(7)
    whole = trained(config, callbacks=[kept])
    assert not same_bits(weights(whole), weights(network()))
    assert same_bits(weights(trained(config, network(3), state=kept.state())), weights(whole))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 10, 14])
def test_adamw_with_everything_resumes_in_the_same_bits(steps: int) -> None:
    kept = StateAfter(steps)
    whole = trained(EVERYTHING, callbacks=[kept])
    assert same_bits(weights(trained(EVERYTHING, network(3), state=kept.state())), weights(whole))


def test_adamw_with_everything_is_what_torch_computes() -> None:
    module = linear()
    trained(EVERYTHING, module)
    reference, data, normalize = linear(), data_of(40), digits().normalization
    matrices = [p for p in reference.parameters() if p.dim() >= 2]
    vectors = [p for p in reference.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 5e-4}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.8, 0.9))
    average = AveragedModel(reference, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    total, warm, done = 3 * 2, 1, 0  # 5 batches an epoch make groups of 3 and 2; a fifth of 6 optimizer steps warms up
    for epoch in range(3):
        shown = batches(data, 8, epoch=epoch)
        for group in (shown[:3], shown[3:]):
            rate = 1e-6 if done < warm else 1e-3 * 0.5 * (1 + math.cos(math.pi * (done - warm) / (total - warm)))
            optimizer.zero_grad()
            for batch in group:
                (cross_entropy(reference(normalize(batch.inputs)), batch.label) / len(group)).backward()
            nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
            for one in optimizer.param_groups:
                one["lr"] = rate
            optimizer.step()
            average.update_parameters(reference)
            done += 1
    for one, other in zip(module.parameters(), average.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_accumulated_batches_are_one_large_batch() -> None:
    """Without batch statistics; the mean of means of equal batches is the mean."""
    one_by_one = trained(TrainingConfig(**SMALL, accumulate=5), linear())
    reference, data = linear(), data_of(40)
    config = TrainingConfig(**SMALL)
    optimizer = config.build_optimizer([reference])
    schedule = config.build_schedule(optimizer, 1)
    for epoch in range(3):
        (whole,) = batches(data, 40, epoch=epoch)
        optimizer.zero_grad()
        cross_entropy(reference(digits().normalization(whole.inputs)), whole.label).backward()
        optimizer.step()
        schedule.step()
    for one, other in zip(one_by_one.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_average_is_kept_as_the_student() -> None:
    last, averaged = trained(TrainingConfig(**SMALL)), trained(TrainingConfig(**SMALL, ema=0.99))
    assert not same_bits(weights(last), weights(averaged))
    almost_last = trained(TrainingConfig(**SMALL, ema=1e-9))
    for one, other in zip(last.parameters(), almost_last.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("steps", [1, 1, 0.1, 0.1]),
        ("cosine", [1, 0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4]),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    config = TrainingConfig(epochs=4, learning_rate=1.0, schedule=schedule, decay_at=(0.5,))
    optimizer = config.build_optimizer([nn.Linear(1, 1)])
    plan, rates = config.build_schedule(optimizer, 7), []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan.step()
    assert rates == pytest.approx(expected)


def longer(folder: Path) -> nn.Module:
    """Trained with everything, and a checkpoint after each step, from which it goes on."""
    module = network()
    state = load_newest({"student": folder}, torch.device("cpu")).state
    config = EVERYTHING.model_copy(update={"epochs": 30})
    callback = CheckpointCallback({"student": folder}, seconds=0)
    train([labels_alone(module)], 40, config, teacher=None, precision="fp32", state=state, callbacks=[callback])
    return module


def test_a_killed_run_of_adamw_ema_and_accumulation_ends_in_the_same_bits(tmp_path: Path) -> None:
    folder, root = tmp_path / "killed", Path(__file__).parents[2]
    script = f"from tests.training.test_optimizers import Path, longer; longer(Path({str(folder)!r}))"
    killed = subprocess.Popen([sys.executable, "-c", script], cwd=root)
    while len(list(folder.glob("*.pt"))) < 2 and killed.poll() is None:
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL  # in its midst
    assert same_bits(weights(longer(folder)), weights(longer(tmp_path / "whole")))
