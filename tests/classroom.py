"""A few digits, small pupils and an untrained teacher, for the tests of everything that trains."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data import Dataset, load_dataset, subset
from preceptor.models import seeded_model
from preceptor.teachers import LiveTeacher
from preceptor.training import EpochRecord, Protocol, Pupil, fit
from tests.examples import ready

BRIEF = Protocol(epochs=2, batch_size=16)
SMALL_RUN: dict[str, Any] = {"train_images": 60, "protocol": {"epochs": 2, "batch_size": 32}, "device": "cpu"}
"""Settings of a run on digits that takes a fraction of a second."""


@cache
def digits() -> Dataset:
    return load_dataset("digits")


def few(n: int) -> Tensor:
    """Positions of so many training images, every class among them."""
    return subset(digits().train.labels, n, seed=0)


def network(seed: int = 0, name: str = "convnet8", outputs: int = 10) -> nn.Module:
    return seeded_model(name, channels=1, classes=outputs, seed=seed)


def pupil(recipe_name: str = "none", seed: int = 0) -> Pupil:
    chain = ready(recipe_name, len(digits().train))
    return Pupil(recipe_name, network(seed, outputs=10 + chain.abstains), chain)


def untrained_teacher(seed: int = 99) -> LiveTeacher:
    """It knows nothing, so it is wrong about most images, as a correction likes it."""
    return LiveTeacher(network(seed), digits().normalisation)


def taught(
    pupils: Sequence[Pupil], images: int = 40, protocol: Protocol = BRIEF, **options: Any
) -> list[list[EpochRecord]]:
    """Train in place; the records by epoch."""
    options = {"teacher": untrained_teacher(), **options}
    data = digits()
    rule = options.pop("rule", data.view_rule)
    return list(fit(pupils, data.train, few(images), rule, data.normalisation, protocol, **options))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
