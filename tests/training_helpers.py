"""A few digits, small students and an untrained teacher, for the tests of everything that trains."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data import Dataset, load_dataset, subset
from preceptor.models import seeded_model
from preceptor.teachers import NetworkTeacher
from preceptor.training import EpochRecord, Student, TrainingConfig, fit
from tests.examples import ready

BRIEF = TrainingConfig(epochs=2, batch_size=16)
SMALL_RUN: dict[str, Any] = {"train_images": 60, "training": {"epochs": 2, "batch_size": 32}, "device": "cpu"}
"""Settings of a run on digits that takes a fraction of a second."""


@cache
def digits() -> Dataset:
    return load_dataset("digits")


def few(n: int) -> Tensor:
    """Indices of n training images, every class among them."""
    return subset(digits().train.labels, n, seed=0)


def network(seed: int = 0, name: str = "convnet8", outputs: int = 10) -> nn.Module:
    return seeded_model(name, channels=1, classes=outputs, seed=seed)


def make_student(recipe_name: str = "none", seed: int = 0) -> Student:
    loss = ready(recipe_name, len(digits().train))
    return Student(recipe_name, network(seed, outputs=10 + loss.abstains), loss)


def untrained_teacher(seed: int = 99) -> NetworkTeacher:
    """Wrong about most images, so that corrections have much to correct."""
    return NetworkTeacher(network(seed), digits().normalization)


def train(
    students: Sequence[Student], images: int = 40, training: TrainingConfig = BRIEF, **options: Any
) -> list[list[EpochRecord]]:
    """Train in place; the records by epoch."""
    options = {"teacher": untrained_teacher(), **options}
    data = digits()
    rule = options.pop("rule", data.augmentation)
    return list(fit(students, data.train, few(images), rule, data.normalization, training, **options))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
