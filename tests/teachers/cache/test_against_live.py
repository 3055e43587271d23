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
from tests.teachers.cache.vault import Weighing, cache_in, every_cell, generator, pictures, rounding, shown

IMAGES, CLASSES, SIZE = 6, 10, 8
RULE = CropFlip(padding=4, flip=True)
MATCHES: dict[str, tuple[Any, float]] = {
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
class Words:
    """Of every image in every view: what the teacher says, what the cache keeps of it, and what a student says."""

    live: Tensor
    cached: Tensor
    student: Tensor


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Words:
    folder: Path = tmp_path_factory.mktemp("against-live") / "cache"
    images, (index, view) = pictures(IMAGES, SIZE), every_cell(IMAGES, RULE.count)
    live, layout = Weighing(CLASSES, SIZE), Layout(samples=IMAGES, views=RULE.count, classes=CLASSES)
    views = shown(index, view, RULE, images)
    with cache_in(folder, live, layout) as cache:
        fill(cache, images, RULE, batch_size=100)
        cache.live = None
        cached = cache.outputs(views, index, view).logits
    student = torch.randn(len(index), CLASSES, generator=generator(4)) * 3
    return Words(live.outputs(views, index, view).logits, cached, student)


def losses(match: Any, temperature: float, student: Tensor, teacher: Tensor) -> Tensor:
    """One a row, as a chain without a correction has them."""
    target = (teacher / temperature).log_softmax(dim=1) if match.target_space == "log_probs" else teacher
    found: Tensor = match(student, target, temperature, teacher.argmax(dim=1))
    return found


def movable(match: Any, temperature: float, words: Words) -> Tensor:
    """How far rounding can move each loss: ``sum_j |dL/dz_j| r_j`` to first order, r the bound of the codec."""
    live = words.live.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses(match, temperature, words.student, live).sum(), live)
    return (gradient.abs() * rounding(words.live)).sum(dim=1)


def further_off(match: Any, temperature: float, words: Words, said: Tensor) -> Tensor:
    """Which losses under this word of the teacher are further from the live ones than rounding can explain."""
    live, other = (losses(match, temperature, words.student, word) for word in (words.live, said))
    arithmetic = 1e-5 * live.abs().clamp_min(1)  # of fp32 itself, and of what first order leaves out
    return (other - live).abs() > movable(match, temperature, words) + arithmetic


@pytest.mark.parametrize("name", MATCHES)
def test_the_losses_are_those_of_the_live_teacher_within_rounding_in_each_view(words: Words, name: str) -> None:
    assert not torch.equal(words.cached, words.live), "the cache rounds"
    further = further_off(*MATCHES[name], words, words.cached)
    assert further.shape == (IMAGES * 162,)
    assert not further.any()


@pytest.mark.parametrize("name", MATCHES)
def test_a_coarser_word_or_that_of_another_view_would_be_noticed(words: Words, name: str) -> None:
    top = words.live.amax(dim=1, keepdim=True)
    coarser = (words.live - top).bfloat16().float() + top
    assert further_off(*MATCHES[name], words, coarser).float().mean() > 0.25
    assert further_off(*MATCHES[name], words, words.cached.roll(1, dims=0)).float().mean() > 0.95
