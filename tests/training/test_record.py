"""The numbers of an epoch's record, against the same computed another way."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from preceptor.training import Callback, Step, Trainer, TrainingConfig
from tests.training_helpers import digits, few, make_student, network, train, untrained_teacher

N, T = 30, 4.0
ONE_STEP = TrainingConfig(epochs=1, batch_size=N)


def one_step_logits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student's and teacher's logits on the views of the first epoch, and the labels, in float64."""
    data, positions = digits(), few(N)
    views = data.augmentation.apply(data.train.images[positions], data.augmentation.draw(0, 0, positions))
    student = network().train()  # batch norm by the statistics of this batch
    normalized = data.normalization(views)
    with torch.no_grad():
        logits = student(normalized).double().numpy()
    return logits, untrained_teacher()(views).double().numpy(), data.train.labels[positions].numpy()


def cross_entropy(logits: np.ndarray, label: np.ndarray) -> float:
    return -log_softmax(logits, axis=1)[np.arange(len(label)), label].mean()


def divergence(target: np.ndarray, logits: np.ndarray) -> float:
    """Hinton's: T squared times KL from the target at T to the student at T."""
    return T**2 * (np.exp(target) * (target - log_softmax(logits / T, axis=1))).sum(axis=1).mean()


@pytest.mark.usefixtures("bf16_units")
def test_the_terms_of_plain_distillation():
    [[record]] = train([make_student("kd")], images=N, training=ONE_STEP, precision="fp32")
    student, teacher, label = one_step_logits()
    expected = {
        "ce": 0.1 * cross_entropy(student, label),
        "kl": 0.9 * divergence(log_softmax(teacher / T, axis=1), student),
    }
    assert record.losses == pytest.approx(expected, rel=1e-4)
    assert record.total == pytest.approx(sum(expected.values()), rel=1e-4)
    assert record.train_accuracy == pytest.approx((student.argmax(axis=1) == label).mean())
    assert (record.student, record.epoch, record.corrected) == ("kd", 1, 0)


@pytest.mark.usefixtures("bf16_units")
def test_the_terms_of_a_corrected_teacher():
    """Probability Shift: the label and the teacher's class change places, where these differ."""
    [[record]] = train([make_student("ka-ps")], images=N, training=ONE_STEP, precision="fp32")
    student, teacher, label = one_step_logits()
    wrong, shifted = teacher.argmax(axis=1) != label, teacher.copy()
    for row in np.flatnonzero(wrong):
        predicted = teacher[row].argmax()
        shifted[row, [predicted, label[row]]] = teacher[row, [label[row], predicted]]
    assert 0 < wrong.sum() < N
    assert record.losses == pytest.approx({"kl": divergence(log_softmax(shifted / T, axis=1), student)}, rel=1e-4)
    assert record.corrected == pytest.approx(wrong.mean())


def test_a_longer_epoch_is_averaged_over_all_its_samples():
    """At a rate of nearly zero every step meets the same weights, so the batch sizes of 16 and 14 must not show.

    Batch norm would make them show: the student here has none.
    """

    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            return self.layer(images.flatten(1))

    totals = []
    for batch_size in (16, N):
        one = make_student("kd")
        one.network = Linear()
        training = TrainingConfig(epochs=1, batch_size=batch_size, learning_rate=1e-12)
        totals.append(train([one], images=N, training=training)[0][0].losses)
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_the_learning_rate_is_that_of_the_epoch():
    records = train(
        [make_student("none")], images=16, training=TrainingConfig(epochs=3, batch_size=16, learning_rate=0.2)
    )
    assert [epoch[0].learning_rate for epoch in records] == pytest.approx(
        [0.1 * (1 + math.cos(math.pi * epoch / 3)) for epoch in range(3)]
    )
    assert [epoch[0].epoch for epoch in records] == [1, 2, 3]


def test_the_rate_is_images_over_seconds():
    for [record] in train([make_student("none")], images=16):
        assert record.seconds > 0
        assert record.images_per_second == pytest.approx(16 / record.seconds)


class Notes(Callback):
    """Keeps the size of every step, and what is logged."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.logs: list[dict[str, dict[str, float]]] = []

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        self.steps.append((step.epoch, len(step.batch.label)))

    def on_log(self, trainer, losses):
        self.logs.append(losses)


def test_a_callback_is_called_after_every_step():
    notes = Notes()
    train([make_student("kd"), make_student("none")], images=40, callbacks=[notes])  # 3 steps an epoch, two epochs
    assert notes.steps == [(0, 16), (0, 16), (0, 8), (1, 16), (1, 16), (1, 8)]


def test_a_log_holds_the_mean_losses_of_the_epoch_so_far():
    notes = Notes()
    [*_, [first, second]] = train([make_student("kd"), make_student("none")], images=40, callbacks=[notes])
    last = notes.logs[-1]  # after the last step
    assert last["kd"] == pytest.approx({**first.losses, "total": first.total})
    assert last["none"] == pytest.approx({**second.losses, "total": second.total})


def test_a_long_epoch_is_logged_a_few_times_only():
    notes = Notes()
    train([make_student("none")], images=100, training=TrainingConfig(epochs=1, batch_size=2), callbacks=[notes])
    assert 4 <= len(notes.logs) <= 9
