"""Cached against live, loss by loss: for every image in every view no further off than fp16 rounding can move it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor.data import CropFlip
from preceptor.losses import CMKD, KL, Pearson, Spearman, SquaredErrorLogits, SquaredErrorProbs
from preceptor.teachers.cache import Layout, fill
from tests.teachers.cache.samples import Linear, cache_in, every_entry, generator, pictures, rounding, shown

IMAGES, CLASSES, SIZE = 6, 10, 8
AUGMENTATION = CropFlip(padding=4, flip=True)
LOSSES: dict[str, tuple[Any, float]] = {
    "kl": (KL(), 1.0),
    "kl at temperature 4": (KL(), 4.0),
    "squared error of logits": (SquaredErrorLogits(), 1.0),
    "squared error of probabilities": (SquaredErrorProbs(), 1.0),
    "pearson": (Pearson(), 4.0),
    "pearson as dist has it": (Pearson(on="plain_prob"), 4.0),
    "spearman of cmkd": (Spearman(), 4.0),
    "cmkd": (CMKD(), 4.0),
}


@dataclass(frozen=True)
class Logits:
    """Of every image in every view: the teacher's, what the cache keeps of them, and a student's."""

    live: Tensor
    cached: Tensor
    student: Tensor


@pytest.fixture(scope="module")
def logits(tmp_path_factory: pytest.TempPathFactory) -> Logits:
    folder: Path = tmp_path_factory.mktemp("against-live") / "cache"
    images, (index, view) = pictures(IMAGES, SIZE), every_entry(IMAGES, AUGMENTATION.count)
    live, layout = Linear(CLASSES, SIZE), Layout(samples=IMAGES, views=AUGMENTATION.count, classes=CLASSES)
    inputs = shown(index, view, AUGMENTATION, images)
    with cache_in(folder, live, layout, 100) as cache:
        fill(cache, images, AUGMENTATION)
        cache.teacher = None
        cached = cache.outputs(inputs, index, view).logits
    student = torch.randn(len(index), CLASSES, generator=generator(4)) * 3
    return Logits(live.outputs(inputs, index, view).logits, cached, student)


def losses(loss: Any, temperature: float, student: Tensor, teacher: Tensor) -> Tensor:
    """One a row, as in a loss without a correction."""
    target = (teacher / temperature).log_softmax(dim=1) if loss.target_space == "log_probs" else teacher
    values: Tensor = loss(student, target, temperature, teacher.argmax(dim=1))
    return values


def movable(loss: Any, temperature: float, logits: Logits) -> Tensor:
    """How far rounding can move each loss: ``sum_j |dL/dz_j| r_j`` to first order, r the bound of the codec."""
    live = logits.live.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses(loss, temperature, logits.student, live).sum(), live)
    return (gradient.abs() * rounding(logits.live)).sum(dim=1)


def further_off(loss: Any, temperature: float, logits: Logits, teacher: Tensor) -> Tensor:
    """Which losses under these teacher logits are further from the live ones than rounding can explain."""
    live, other = (losses(loss, temperature, logits.student, each) for each in (logits.live, teacher))
    arithmetic = 1e-5 * live.abs().clamp_min(1)  # of fp32 itself, and of what first order leaves out
    return (other - live).abs() > movable(loss, temperature, logits) + arithmetic


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_are_those_of_the_live_teacher_within_rounding_in_each_view(logits: Logits, name: str) -> None:
    assert not torch.equal(logits.cached, logits.live), "the cache rounds"
    further = further_off(*LOSSES[name], logits, logits.cached)
    assert further.shape == (IMAGES * 162,)
    assert not further.any()


@pytest.mark.parametrize("name", LOSSES)
def test_coarser_logits_or_those_of_another_view_would_be_noticed(logits: Logits, name: str) -> None:
    top = logits.live.amax(dim=1, keepdim=True)
    coarser = (logits.live - top).bfloat16().float() + top
    assert further_off(*LOSSES[name], logits, coarser).float().mean() > 0.25
    assert further_off(*LOSSES[name], logits, logits.cached.roll(1, dims=0)).float().mean() > 0.95
