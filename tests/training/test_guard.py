"""What the guard does about a step that is not finite: the step it finds, and what each policy leaves behind."""

import math
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from preceptor.errors import InputError
from preceptor.training import Batch, EpochRecord, FailureReport, NotFinite, Student, TrainingConfig, guard
from preceptor.training.checkpoint import CheckpointCallback, load_newest
from preceptor.training.student import StudentTrainer
from tests.training.spoilt import NanGradient, NanLoss, NanTeacher, linear, spoilt_student
from tests.training_helpers import (
    StateAfter,
    batches,
    data_of,
    digits,
    make_student,
    network,
    same_bits,
    train,
    weights,
)

IMAGES = 80
TRAINING = TrainingConfig(epochs=3, batch_size=8, schedule="steps", decay_at=(0.5,))
ONE_EPOCH = TRAINING.model_copy(update={"epochs": 1, "schedule": "constant"})
STEPS = 10


def shown(epoch: int = 0, training: TrainingConfig = TRAINING) -> list[Batch]:
    return batches(data_of(IMAGES), training.batch_size, epoch=epoch)


def sample_of(step: int, training: TrainingConfig = TRAINING) -> int:
    """A sample that the step of the first epoch shows."""
    return int(shown(0, training)[step].own_index[1])


def train_quietly(students: list[Student], **options: Any) -> list[list[EpochRecord]]:
    """Train without the warnings about steps left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(students, **{"images": IMAGES, "training": TRAINING, "precision": "fp32", **options})


def failure_of(students: list[Student], **options: Any) -> tuple[str, FailureReport]:
    """The message and the last report of a training that ends with an error."""
    reports: list[FailureReport] = []
    with pytest.raises(NotFinite) as raised:
        train_quietly(students, on_failure=reports.append, **options)
    return str(raised.value), reports[-1]


def written_out(
    network: nn.Module, without: Iterable[int] = (), rates: Iterable[float] = (0.05, 0.05, 0.005)
) -> dict[str, Tensor]:
    """The weights after the same training as a plain loop, without the steps that show some samples.

    Args:
        network: trained in place.
        without: positions in the training set.
        rates: learning rate of each epoch.
    """
    optimizer = TRAINING.build_optimizer([network])
    for epoch, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        for batch in shown(epoch):
            if set(batch.own_index.tolist()) & set(without):
                continue
            logits = network(digits().normalization(batch.inputs))
            optimizer.zero_grad()
            (cross_entropy(logits, batch.label, reduction="none").sum() / len(logits)).backward()
            optimizer.step()
    return weights(network)


@pytest.mark.parametrize("spoil", [NanLoss, NanGradient])
@pytest.mark.parametrize("step", [0, 3, STEPS - 1])
def test_training_ends_at_the_very_step(spoil, step):
    message, report = failure_of([spoilt_student(spoil(sample_of(step)), linear())])
    assert f"student 'spoilt': epoch 1, step {step + 1} of {STEPS}: " in message
    assert (report.context.epoch, report.context.step, report.context.action) == (1, step + 1, "raise")
    assert [sample.index for sample in report.fault.samples] == [sample_of(step)]


def test_the_report_holds_the_state_before_the_step():
    _, report = failure_of([spoilt_student(NanGradient(sample_of(4)), linear())])
    reference = linear()
    optimizer = TRAINING.build_optimizer([reference])
    for batch in shown()[:4]:
        logits = reference(digits().normalization(batch.inputs))
        optimizer.zero_grad()
        ((cross_entropy(logits, batch.label, reduction="none") + 1).sum() / 8).backward()
        optimizer.step()
    own = {name.removeprefix("network."): tensor for name, tensor in report.state["network"].items()}
    assert same_bits(own, weights(reference))
    for number, state in optimizer.state_dict()["state"].items():
        assert torch.equal(report.state["optimizer"]["state"][number]["momentum_buffer"], state["momentum_buffer"])
    assert torch.equal(report.step.batch.own_index, shown()[4].own_index)


@pytest.mark.parametrize("step", [0, 3, STEPS - 1])
def test_a_skipped_step_leaves_nothing_behind(step):
    one = spoilt_student(NanLoss(sample_of(step)), linear())
    records = train_quietly([one], on_nonfinite="skip")
    assert same_bits(weights(one.network), written_out(linear(), without=[sample_of(step)]))
    assert [record.skipped for [record] in records] == [1, 1, 1]
    assert all(math.isfinite(record.total) for [record] in records)


def test_a_skipped_step_leaves_running_statistics_alone():
    one = spoilt_student(NanGradient(sample_of(3)), network())
    train_quietly([one], on_nonfinite="skip", training=ONE_EPOCH)
    counts = [tensor for name, tensor in weights(one.network).items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(int(count) == STEPS - 1 for count in counts)
    assert all(bool(tensor.isfinite().all()) for tensor in weights(one.network).values())


def test_a_skipped_step_is_warned_of():
    one = spoilt_student(NanLoss(sample_of(3)), linear())
    with pytest.warns(UserWarning, match=r"step left out: student 'spoilt': epoch 1, step 4 of 10: loss term"):
        train([one], images=IMAGES, training=ONE_EPOCH, on_nonfinite="skip", precision="fp32")


def test_skipping_has_a_limit():
    two = NanLoss(sample_of(2), sample_of(6))
    message, report = failure_of([spoilt_student(two, linear())], on_nonfinite="skip")
    assert "step 7 of 10" in message
    assert "1 steps of this epoch were skipped already, which is the limit" in message
    assert report.context.action == "raise"
    longer = TrainingConfig(epochs=1, batch_size=2)  # 40 steps, of which two may be skipped
    two = NanLoss(sample_of(2, longer), sample_of(30, longer))
    [[record]] = train_quietly([spoilt_student(two, linear())], on_nonfinite="skip", training=longer)
    assert record.skipped == 2


def test_an_epoch_without_a_finite_step_is_no_epoch():
    training = ONE_EPOCH.model_copy(update={"batch_size": 40})  # two steps
    every = NanLoss(*data_of(IMAGES).index.tolist())
    message, _ = failure_of([spoilt_student(every, linear())], on_nonfinite="skip", training=training)
    assert "step 2 of 2" in message
    assert "1 steps of this epoch were skipped already, which is the limit" in message


@pytest.mark.parametrize("spoil", [NanLoss, NanGradient])
@pytest.mark.parametrize("step", [0, 3, 4, 5, STEPS - 1])
def test_a_step_skipped_among_accumulated_ones_adds_nothing(spoil, step):
    """Groups are steps 0 to 2, 3 to 5, 6 to 8 and 9 alone. A group that is not ended by its last step is dropped."""
    config = ONE_EPOCH.model_copy(update={"accumulate": 3})
    one, reference = spoilt_student(spoil(sample_of(step)), linear()), linear()
    _, report = failure_of([spoilt_student(spoil(sample_of(step)), linear())], training=config)
    assert report.context.step == step + 1
    assert [sample.index for sample in report.fault.samples] == [sample_of(step)]
    train_quietly([one], on_nonfinite="skip", training=config)
    optimizer = config.build_optimizer([reference])
    added = float(spoil is NanGradient)  # the constant that it adds to every loss
    for group in ([0, 1, 2], [3, 4, 5], [6, 7, 8], [9]):
        optimizer.zero_grad()
        for number in group:
            batch = shown()[number]
            if number != step:
                logits = reference(digits().normalization(batch.inputs))
                losses = cross_entropy(logits, batch.label, reduction="none") + added
                (losses.sum() / len(losses) / len(group)).backward()
        if group[-1] != step:
            optimizer.step()
    for own, other in zip(one.network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_other_students_are_not_touched():
    def students() -> list[Student]:
        return [make_student("none"), spoilt_student(NanLoss(sample_of(3)), linear()), make_student("kd")]

    together = students()
    train_quietly(together, on_nonfinite="skip")
    for one, alone in zip(together, students(), strict=True):
        train_quietly([alone], on_nonfinite="skip")
        assert same_bits(weights(one.network), weights(alone.network))


def unlucky_student() -> Student:
    """A student one of whose steps is not finite, in the middle of an epoch."""
    return spoilt_student(NanLoss(sample_of(5)), linear())


@pytest.mark.parametrize("between", [1, 3, 1000])
def test_it_does_not_matter_when_copies_are_made(monkeypatch, between):
    def end() -> dict[str, Tensor]:
        one = unlucky_student()
        records = train_quietly([one], on_nonfinite="skip")
        assert records[-1][0].skipped > 0
        return weights(one.network)

    usual = end()
    monkeypatch.setattr(guard, "STEPS_BETWEEN_COPIES", between)
    assert same_bits(end(), usual)


def test_copies_in_the_memory_of_the_cpu_do_as_well(monkeypatch):
    usual, other = unlucky_student(), unlucky_student()
    train_quietly([usual], on_nonfinite="skip")
    monkeypatch.setattr(guard, "ON_DEVICE", 0)
    train_quietly([other], on_nonfinite="skip")
    assert same_bits(weights(usual.network), weights(other.network))


@pytest.mark.parametrize("steps", [1, 5, 6, 7, 10, 11, 12, 15, 20, 23])
def test_a_resume_ends_in_the_same_bits(steps):
    def students() -> list[Student]:
        return [unlucky_student(), make_student("none")]

    whole, resumed, after = students(), students(), StateAfter(steps)
    records = train_quietly(whole, on_nonfinite="skip", callbacks=[after])
    rest = train_quietly(resumed, on_nonfinite="skip", state=after.state())
    for one, other in zip(whole, resumed, strict=True):
        assert same_bits(weights(one.network), weights(other.network))

    def numbers(epoch: list[EpochRecord]) -> list[tuple[Any, ...]]:
        return [(record.losses, record.skipped, record.learning_rate) for record in epoch]

    assert [numbers(epoch) for epoch in records[steps // STEPS :]] == [numbers(epoch) for epoch in rest]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_no_checkpoint_is_written_of_a_state_that_is_not_finite(tmp_path, accumulate):
    """Neither one with gradients accumulated so far that are not."""
    training = TRAINING.model_copy(update={"accumulate": accumulate})
    one = spoilt_student(NanGradient(sample_of(6)), linear())
    with pytest.raises(NotFinite, match="step 7 of 10"):
        train_quietly([one], training=training, callbacks=[CheckpointCallback({one.name: tmp_path}, seconds=0)])
    state = load_newest({one.name: tmp_path}, torch.device("cpu")).state
    assert (state.epoch, state.step) == (0, 6)


def test_while_all_is_finite_the_device_is_waited_for_a_few_times_an_epoch_only(monkeypatch):
    calls, is_finite = [], StudentTrainer.is_finite
    monkeypatch.setattr(StudentTrainer, "is_finite", lambda student: calls.append(student) or is_finite(student))
    train([make_student("none")], images=100, training=TrainingConfig(epochs=1, batch_size=2))
    assert 1 <= len(calls) <= 10  # of 50 steps


def test_a_device_that_gives_other_bits_goes_on_with_what_it_gives():
    class Once(NanLoss):
        spent = False

        def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
            losses = super().__call__(logits, label, index)
            if self.spent:
                return cross_entropy(logits, label, reduction="none")
            self.spent = bool(torch.isin(index, self.spoilt).any())
            return losses

    one = spoilt_student(Once(sample_of(3)), linear())
    with pytest.warns(UserWarning, match="this device does not give the same bits each time"):
        train([one], images=IMAGES, training=TRAINING, precision="fp32")
    assert same_bits(weights(one.network), written_out(linear()))


def test_infinities_in_a_mask_are_no_failure():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()
            self.register_buffer("mask", torch.full((3,), -torch.inf))

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images)

    train([Student("masked", Masked(), make_student("none").loss)], images=IMAGES, training=ONE_EPOCH)


def test_weights_that_were_never_finite_are_named():
    network = linear()
    with torch.no_grad():
        network[1].weight[2, 3] = torch.nan
    message, _ = failure_of([spoilt_student(NanLoss(), network)])
    assert "step 1 of 10: the weights are not finite before the step, in network.1.weight" in message


def test_a_step_is_skipped_where_the_teacher_is_not_finite():
    one = make_student("ka-ps")
    [[record]] = train_quietly([one], teacher=NanTeacher(sample_of(6)), on_nonfinite="skip", training=ONE_EPOCH)
    assert record.skipped == 1
    assert all(bool(tensor.isfinite().all()) for tensor in weights(one.network).values())


def test_it_is_an_input_error():
    assert issubclass(NotFinite, InputError)
    assert NotFinite("", "student").exit_code == 2
