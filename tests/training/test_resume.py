"""A training that stopped between two steps and goes on ends in the same bits."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from preceptor import CrossEntropy, DistillationLoss, recipe
from preceptor.training import Callback, EpochRecord, IncompatibleCheckpoint, Student, TrainingConfig
from tests.training_helpers import StateAfter, make_student, network, same_bits, train, weights

TRAINING = TrainingConfig(epochs=3, batch_size=16, schedule="steps")
STEPS = 4  # an epoch, of 50 images


class CountingTemperature(nn.Module):
    """A temperature that is learned, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, context) -> torch.Tensor:
        self.calls += 1
        return self.log_temperature.exp() + 0.01 * self.calls


class Dropping(nn.Module):
    """A network that draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(3)

    def forward(self, images):
        return nn.functional.dropout(self.inner(images), 0.3, self.training)


def three_students() -> list[Student]:
    loss = DistillationLoss(**{**recipe("kd"), "temperature": CountingTemperature()})
    return [
        make_student("precise-abstain-b"),
        Student("counting", network(1), loss),
        Student("dropping", Dropping(), DistillationLoss(label_loss=CrossEntropy())),
    ]


def without_times(records: list[list[EpochRecord]]) -> list[list[EpochRecord]]:
    return [
        [replace(record, seconds=0, images_per_second=0, student_seconds=0) for record in epoch] for epoch in records
    ]


@pytest.mark.parametrize("steps", range(1, 3 * STEPS + 1))
def test_it_ends_in_the_same_bits_wherever_it_stopped(steps):
    whole, resumed, after = three_students(), three_students(), StateAfter(steps)
    records = without_times(train(whole, images=50, training=TRAINING, callbacks=[after]))
    rest = without_times(train(resumed, images=50, training=TRAINING, state=after.state()))
    assert rest == records[steps // STEPS :]
    for one, other in zip(whole, resumed, strict=True):
        assert same_bits(weights(one.network), weights(other.network))
        assert same_bits(weights(one.loss), weights(other.loss))


def test_taking_a_state_changes_nothing():
    plain, watched = three_students(), three_students()
    train(plain, images=50, training=TRAINING)
    train(watched, images=50, training=TRAINING, callbacks=[StateAfter(5)])
    for one, other in zip(plain, watched, strict=True):
        assert same_bits(weights(one.network), weights(other.network))


def test_a_state_of_another_training_is_refused():
    after = StateAfter(5)
    train([make_student("kd")], images=50, training=TRAINING, callbacks=[after])
    state = after.state()
    with pytest.raises(IncompatibleCheckpoint, match="epoch 2, step 2 of 3 epochs of 1 steps"):
        train([make_student("kd")], images=16, training=TRAINING, state=state)
    with pytest.raises(IncompatibleCheckpoint, match="does not fit student and recipe"):
        train([make_student("none")], images=50, training=TRAINING, state=state)
    wider = Student("kd", network(name="convnet16"), make_student("kd").loss)
    with pytest.raises(IncompatibleCheckpoint, match="does not fit student and recipe"):
        train([wider], images=50, training=TRAINING, state=state)


def test_what_a_callback_raises_ends_the_training():
    class Stopping(Callback):
        ended = False

        def on_step_end(self, trainer, step) -> None:
            raise KeyboardInterrupt

        def on_train_end(self, trainer) -> None:
            self.ended = True

    stopping = Stopping()
    with pytest.raises(KeyboardInterrupt):
        train([make_student("none")], callbacks=[stopping])
    assert stopping.ended
