"""A training that stopped between two steps and goes on ends in the same bits."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from preceptor import CrossEntropy, DistillationLoss, recipe
from preceptor.training import EpochRecord, Student, TrainingConfig
from preceptor.training.callbacks import TrainState
from tests.training_helpers import network, same_bits, make_student, train, weights

TRAINING = TrainingConfig(epochs=3, batch_size=16, schedule="steps")
STEPS = 4  # 50 images


class Keeping:
    """Keeps one moment as a file would."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.kept = at, 0, io.BytesIO()

    def after_step(self, moment: Callable[[], TrainState]) -> None:
        self.seen += 1
        if self.seen == self.at:
            now = moment()
            torch.save({"epoch": now.epoch, "step": now.step, "pupils": now.pupils}, self.kept)

    def moment(self) -> TrainState:
        self.kept.seek(0)
        return TrainState(**torch.load(self.kept, weights_only=True))


class Wavering(nn.Module):
    """A temperature that is learned, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, context) -> torch.Tensor:
        self.calls += 1
        return self.log_temperature.exp() + 0.01 * self.calls


class Dropping(nn.Module):
    """A student that draws."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(3)

    def forward(self, images):
        return nn.functional.dropout(self.inner(images), 0.3, self.training)


def class_of_three() -> list[Student]:
    wavering = Student("wavering", network(1), DistillationLoss(**{**recipe("kd"), "temperature": Wavering()}))
    return [
        make_student("precise-abstain-b"),
        wavering,
        Student("dropping", Dropping(), DistillationLoss(label_loss=CrossEntropy())),
    ]


def timeless(records: list[list[EpochRecord]]) -> list[list[EpochRecord]]:
    return [[replace(record, seconds=0, images_per_second=0) for record in epoch] for epoch in records]


@pytest.mark.parametrize("at", range(1, 3 * STEPS + 1))
def test_it_ends_in_the_same_bits_wherever_it_stopped(at):
    whole, keeper = class_of_three(), Keeping(at)
    records = timeless(train(whole, images=50, training=TRAINING, callbacks=keeper))
    late = class_of_three()
    rest = timeless(train(late, images=50, training=TRAINING, state=keeper.moment()))
    done = at // STEPS
    assert rest == records[done:]
    for one, other in zip(whole, late, strict=True):
        assert same_bits(weights(one.network), weights(other.network))
        assert same_bits(weights(one.loss), weights(other.loss))


def test_keeping_changes_nothing():
    plain, kept = class_of_three(), class_of_three()
    train(plain, images=50, training=TRAINING)
    train(kept, images=50, training=TRAINING, callbacks=Keeping(at=5))
    for one, other in zip(plain, kept, strict=True):
        assert same_bits(weights(one.network), weights(other.network))


def test_what_a_keeper_raises_ends_the_training():
    class Stopping:
        def after_step(self, moment: Callable[[], TrainState]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([make_student("none")], callbacks=Stopping())
