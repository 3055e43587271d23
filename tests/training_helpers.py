"""A few digits, small students and an untrained teacher, for the tests of everything that trains."""

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data import Augmentation, Dataset, load_dataset, subset
from preceptor.models import seeded_model
from preceptor.models.features import ImageModel
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import Teacher
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import (
    Batch,
    Callback,
    EpochRecord,
    FailureReport,
    NonFiniteGuard,
    Step,
    Student,
    Trainer,
    TrainingConfig,
    TrainingData,
    TrainState,
)
from tests.examples import scored

BRIEF = TrainingConfig(epochs=2, batch_size=16)
SMALL_RUN: dict[str, Any] = {"train_images": 60, "training": {"epochs": 2, "batch_size": 32}, "device": "cpu"}
"""Settings of a run on digits that takes a fraction of a second."""


@cache
def digits() -> Dataset:
    return load_dataset("digits")


def few(n: int) -> Tensor:
    """Index of n training images, every class among them."""
    return subset(digits().train.labels, n, seed=0)


def data_of(images: int = 40, augmentation: Augmentation | None = None) -> TrainingData:
    return TrainingData.of_images(digits().train, few(images), augmentation or digits().augmentation)


def batches(data: TrainingData, batch_size: int, seed: int = 0, epoch: int = 0) -> list[Batch]:
    return list(data.batches(data.plan(batch_size, seed, epoch)))


def network(seed: int = 0, name: str = "convnet8", outputs: int = 10) -> nn.Module:
    return seeded_model(name, channels=1, classes=outputs, seed=seed)


def make_student(recipe_name: str = "none", seed: int = 0) -> Student:
    loss = scored(recipe_name, len(digits().train), classes=10)
    return Student(recipe_name, network(seed, outputs=10 + loss.abstains), loss)


def untrained_teacher(seed: int = 99) -> NetworkTeacher:
    """It knows nothing, so it is wrong about most images, which gives a correction work to do."""
    return NetworkTeacher(network(seed), digits().normalization)


def cache_of(folder: Path, teacher: Teacher | None) -> LogitCache:
    """The cache of an untrained teacher's logits in a folder; made if there is none."""
    data = digits()
    key = CacheKey.of("teacher", "digits", data.normalization, data.augmentation, data.class_names)
    layout = Layout(samples=len(data.train), views=data.augmentation.count, classes=10)
    return open_cache(folder, key, layout, teacher)


def filled_entries(cache: LogitCache) -> int:
    return cache.count


class Records(Callback):
    """Keeps the records of every epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[EpochRecord]] = []

    def on_epoch_end(self, trainer: Trainer, records: list[EpochRecord]) -> None:
        self.epochs.append(records)


class StateAfter(Callback):
    """Keeps the training state after a number of steps, as a file would."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seen, self.file = steps, 0, io.BytesIO()

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        self.seen += 1
        if self.seen == self.steps and step.number + 1 < step.steps:
            self._keep(trainer)

    def on_epoch_end(self, trainer: Trainer, records: list[EpochRecord]) -> None:
        if self.seen == self.steps:
            self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        torch.save(vars(trainer.state()), self.file)

    def state(self) -> TrainState:
        self.file.seek(0)
        return TrainState(**torch.load(self.file, weights_only=True))


def trainer_of(
    students: Sequence[Student],
    data: TrainingData,
    training: TrainingConfig = BRIEF,
    callbacks: Sequence[Callback] = (),
    *,
    teacher: Any = None,
    seed: int = 0,
    precision: Any = "auto",
    compile: Any = "auto",  # noqa: A002
    shard: bool = False,
) -> Trainer:
    """A trainer of students whose networks take normalized digits."""
    wrapped = [Student(one.name, ImageModel(one.network, digits().normalization), one.loss) for one in students]
    options: dict[str, Any] = {"precision": precision, "compile": compile, "shard": shard}
    return Trainer(wrapped, teacher, data, training, callbacks, seed=seed, **options)


def train(
    students: Sequence[Student],
    images: int = 40,
    training: TrainingConfig = BRIEF,
    *,
    teacher: Any = "untrained",
    callbacks: Sequence[Callback] = (),
    state: TrainState | None = None,
    on_nonfinite: Any = "raise",
    on_failure: Callable[[FailureReport], None] | None = None,
    **options: Any,
) -> list[list[EpochRecord]]:
    """Train students on digits, in place; the records by epoch."""
    records = Records()
    guard = NonFiniteGuard(on_nonfinite, on_failure)
    teacher = untrained_teacher() if teacher == "untrained" else teacher
    data = options.pop("data", None) or data_of(images, options.pop("augmentation", None))
    trainer_of(students, data, training, [guard, records, *callbacks], teacher=teacher, **options).fit(state)
    return records.epochs


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
