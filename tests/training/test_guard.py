"""What becomes of a class when a step of one pupil is not finite."""

import io
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from preceptor.errors import InputError
from preceptor.training import NotFinite, Student, TrainingConfig, epoch_batches, guard
from preceptor.training.callbacks import TrainState
from preceptor.training.checkpoint import CheckpointCallback
from preceptor.training.failure import FailureReport
from preceptor.training.student import Seat
from tests.training.spoilt import Fragile, NanGradient, NanLoss, NanTeacher, linear, truth_pupil
from tests.training_helpers import digits, few, network, same_bits, make_student, train, weights

IMAGES = 80
TRAINING = TrainingConfig(epochs=3, batch_size=8, schedule="steps", decay_at=(0.5,))
STEPS = 10


def met_at(step: int, epoch: int = 0, training: TrainingConfig = TRAINING) -> int:
    """A sample that the step of the epoch shows."""
    return int(shown(epoch, training)[step].index_cpu[1])


def shown(epoch: int, training: TrainingConfig = TRAINING) -> list[Any]:
    data = digits()
    given = {"batch_size": training.batch_size, "seed": 0, "epoch": epoch}
    return list(epoch_batches(data.train, few(IMAGES), data.augmentation, **given))


def quietly(pupils: list[Student], **options: Any) -> list[list[Any]]:
    """Taught, without what is said of steps left out and rates lowered."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(pupils, **{"images": IMAGES, "training": TRAINING, "precision": "fp32", **options})


def stopped(pupils: list[Student], **options: Any) -> tuple[str, FailureReport]:
    failures: list[FailureReport] = []
    with pytest.raises(NotFinite) as raised:
        quietly(pupils, on_failure=failures.append, **options)
    return str(raised.value), failures[-1]


def without_steps_that_show(position: int, student: nn.Module) -> dict[str, Tensor]:
    """The same training, written out, without these steps."""
    data, optimizer = digits(), TRAINING.optimizer([student])
    for epoch in range(TRAINING.epochs):
        optimizer.param_groups[0]["lr"] = TRAINING.learning_rate * (0.1 if epoch >= 2 else 1)
        for batch in shown(epoch):
            if bool((batch.index_cpu == position).any()):
                continue
            loss = cross_entropy(student(data.normalization(batch.images)), batch.label, reduction="none").sum() / 8
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return weights(student)


@pytest.mark.parametrize("spoil", [NanLoss, NanGradient])
@pytest.mark.parametrize("step", [0, 3, STEPS - 1])
def test_it_stops_at_the_very_step(spoil, step):
    told, failure = stopped([truth_pupil(spoil(met_at(step)), linear())])
    assert f"student 'spoilt': epoch 1, step {step + 1} of {STEPS}: " in told
    assert (failure.context.epoch, failure.context.step, failure.context.action) == (1, step + 1, "raise")
    assert [sample.index for sample in failure.fault.samples] == [met_at(step)]


def test_what_is_kept_is_as_it_was_before_the_step():
    _, failure = stopped([truth_pupil(NanGradient(met_at(4)), linear())])
    student = linear()
    optimizer = TRAINING.optimizer([student])
    for batch in shown(0)[:4]:
        logits = student(digits().normalization(batch.images))
        loss = (cross_entropy(logits, batch.label, reduction="none") + 1).sum() / 8
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert same_bits(failure.state["student"], weights(student))
    for number, state in optimizer.state_dict()["state"].items():
        kept = failure.state["optimizer"]["state"][number]["momentum_buffer"]
        assert torch.equal(kept, state["momentum_buffer"])
    assert torch.equal(failure.batch.index_cpu, shown(0)[4].index_cpu)


@pytest.mark.parametrize("step", [0, 3, STEPS - 1])
def test_a_step_that_is_skipped_leaves_nothing_behind(step):
    position = met_at(step)
    spoilt = truth_pupil(NanLoss(position), linear())
    records = quietly([spoilt], on_nonfinite="skip")
    assert same_bits(weights(spoilt.network), without_steps_that_show(position, linear()))
    assert [record.skipped for [record] in records] == [1, 1, 1]
    assert all(math.isfinite(record.total) for [record] in records)


def test_running_statistics_are_left_alone_by_a_step_that_is_skipped():
    spoilt = truth_pupil(NanGradient(met_at(3)), network())
    quietly([spoilt], on_nonfinite="skip", training=TRAINING.model_copy(update={"epochs": 1}))
    counts = [tensor for name, tensor in weights(spoilt.network).items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(int(count) == STEPS - 1 for count in counts)
    assert all(bool(tensor.isfinite().all()) for tensor in weights(spoilt.network).values())


def test_a_skipped_step_is_told():
    with pytest.warns(UserWarning, match=r"step left out: student 'spoilt': epoch 1, step 4 of 10: loss term"):
        train(
            [truth_pupil(NanLoss(met_at(3)), linear())],
            images=IMAGES,
            training=TRAINING.model_copy(update={"epochs": 1}),
            on_nonfinite="skip",
        )


class NanLosses(NanLoss):
    """Not a number for several samples."""

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        here = torch.isin(index, torch.tensor(self.index_cpu))
        return torch.where(here, torch.nan, cross_entropy(logits, label, reduction="none"))


def test_no_more_steps_are_skipped_than_may_be():
    two = [met_at(2), met_at(6)]
    told, failure = stopped([truth_pupil(NanLosses(two), linear())], on_nonfinite="skip")
    assert "step 7 of 10" in told
    assert "1 steps of this epoch were skipped already, which is the most" in told
    assert failure.context.action == "raise"
    longer = TrainingConfig(epochs=1, batch_size=2)  # 40 steps
    two = [met_at(2, training=longer), met_at(30, training=longer)]
    [[record]] = quietly([truth_pupil(NanLosses(two), linear())], on_nonfinite="skip", training=longer)
    assert record.skipped == 2


def test_the_others_of_the_class_are_not_touched():
    together = [make_student("none"), truth_pupil(NanLoss(met_at(3)), linear()), make_student("kd")]
    quietly(together, on_nonfinite="skip")
    alone = [make_student("none"), truth_pupil(NanLoss(met_at(3)), linear()), make_student("kd")]
    for one, other in zip(together, alone, strict=True):
        quietly([other], on_nonfinite="skip")
        assert same_bits(weights(one.network), weights(other.network))


@pytest.mark.parametrize("between", [1, 3, 1000])
@pytest.mark.parametrize("policy", ["skip", "reduce_lr"])
def test_it_does_not_matter_when_copies_are_made(monkeypatch, between, policy):
    def ends() -> dict[str, Tensor]:
        chosen = NanLoss(met_at(5)) if policy == "skip" else Fragile(LIMIT)
        one = truth_pupil(chosen, linear())
        quietly([one], on_nonfinite=policy, training=FAST if policy == "reduce_lr" else TRAINING)
        return weights(one.network)

    usual = ends()
    monkeypatch.setattr(guard, "STEPS_BETWEEN_COPIES", between)
    assert same_bits(ends(), usual)


def test_copies_in_the_memory_of_the_cpu_do_as_well(monkeypatch):
    usual, other = (truth_pupil(NanLoss(met_at(5)), linear()) for _ in range(2))
    quietly([usual], on_nonfinite="skip")
    monkeypatch.setattr(guard, "ON_DEVICE", 0)
    quietly([other], on_nonfinite="skip")
    assert same_bits(weights(usual.network), weights(other.network))


LIMIT = 8.0
FAST = TRAINING.model_copy(update={"learning_rate": 0.5})


def test_a_lower_rate_begins_the_epoch_again():
    """As if the training had had the lower rate from that epoch on."""
    told: list[FailureReport] = []
    one = truth_pupil(Fragile(LIMIT), linear())
    records = quietly([one], training=FAST, on_nonfinite="reduce_lr", on_failure=told.append)
    assert [failure.context.epoch for failure in told] == [1]
    assert [record.lowered for [record] in records] == [1, 1, 1]
    assert [record.learning_rate for [record] in records] == pytest.approx([0.05, 0.05, 0.005])
    slow = truth_pupil(Fragile(LIMIT), linear())
    quietly([slow], training=FAST.model_copy(update={"learning_rate": 0.5 * 0.1}))
    assert same_bits(weights(one.network), weights(slow.network))


def test_a_rate_can_only_be_lowered_so_often():
    told: list[FailureReport] = []
    with pytest.raises(NotFinite, match="the learning rate was lowered 3 times already, which is the most"):
        quietly(
            [make_student("none")],
            training=TRAINING.model_copy(update={"learning_rate": 1e18}),
            on_nonfinite="reduce_lr",
            on_failure=told.append,
        )
    assert [failure.context.action for failure in told] == ["reduce_lr", "reduce_lr", "reduce_lr", "raise"]
    assert [failure.fault.learning_rate for failure in told] == pytest.approx([1e18, 1e17, 1e16, 1e15])


class Keeping:
    """Keeps one moment as a file would."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.kept = at, 0, io.BytesIO()

    def after_step(self, moment: Callable[[], TrainState]) -> None:
        self.seen += 1
        if self.seen == self.at:
            torch.save(vars(moment()), self.kept)

    def moment(self) -> TrainState:
        self.kept.seek(0)
        return TrainState(**torch.load(self.kept, weights_only=True))


@pytest.mark.parametrize("at", [1, 3, 4, 5, 9, 10, 11, 14, 20, 23])
@pytest.mark.parametrize("policy", ["skip", "reduce_lr"])
def test_resuming_ends_in_the_same_bits(policy, at):
    def class_of_two() -> list[Student]:
        spoilt = NanLoss(met_at(3)) if policy == "skip" else Fragile(LIMIT)
        return [truth_pupil(spoilt, linear()), make_student("none")]

    training = FAST if policy == "reduce_lr" else TRAINING
    whole, keeper = class_of_two(), Keeping(at)
    records = quietly(whole, training=training, on_nonfinite=policy, callbacks=keeper)
    late = class_of_two()
    rest = quietly(late, training=training, on_nonfinite=policy, state=keeper.moment())
    for one, other in zip(whole, late, strict=True):
        assert same_bits(weights(one.network), weights(other.network))
    for before, after in zip(records[at // STEPS :], rest, strict=True):
        assert [(r.losses, r.skipped, r.lowered) for r in before] == [(r.losses, r.skipped, r.lowered) for r in after]


def test_no_moment_is_kept_that_is_not_finite(tmp_path):
    keeper = CheckpointCallback(tmp_path, seconds=0)
    with pytest.raises(NotFinite, match="step 7 of 10"):
        quietly([truth_pupil(NanGradient(met_at(6)), linear())], callbacks=keeper)
    assert max(path.name for path in tmp_path.glob("*.pt")).startswith("epoch-000000-step-00000006-")


def test_a_healthy_class_is_asked_a_few_times_an_epoch_only(monkeypatch):
    asked, sound = [], Seat.sound
    monkeypatch.setattr(Seat, "sound", lambda seat: asked.append(seat) or sound(seat))
    train([make_student("none")], images=100, training=TrainingConfig(epochs=1, batch_size=2))
    assert len(asked) == 2  # in the middle and at the end of 50 steps


def test_a_device_that_does_not_do_the_same_again_goes_on_with_what_it_gets():
    class Once(NanLoss):
        spent = False

        def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
            losses = (
                cross_entropy(logits, label, reduction="none") if self.spent else super().__call__(logits, label, index)
            )
            self.spent = self.spent or bool((index == self.index_cpu).any())
            return losses

    one = truth_pupil(Once(met_at(3)), linear())
    with pytest.warns(UserWarning, match="this device does not give the same bits each time"):
        train([one], images=IMAGES, training=TRAINING, precision="fp32")
    assert same_bits(weights(one.network), without_steps_that_show(-1, linear()))


def test_infinities_that_a_student_keeps_as_a_mask_are_no_failure():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()
            self.register_buffer("mask", torch.full((3,), -torch.inf))

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images)

    train([Student("masked", Masked(), make_student("none").loss)], images=IMAGES, training=TRAINING)


def test_weights_that_were_never_finite_are_told_as_such():
    student = linear()
    with torch.no_grad():
        student[1].weight[2, 3] = torch.nan
    told, _ = stopped([truth_pupil(cross, student)])
    assert "step 1 of 10: the weights are not finite before the step, in 1.weight" in told


def cross(logits: Tensor, label: Tensor) -> Tensor:
    return cross_entropy(logits, label, reduction="none")


def test_a_teacher_that_is_not_finite_at_one_sample_is_left_out_with_its_step():
    position = met_at(6)
    one = make_student("ka-ps")
    [[record]] = quietly(
        [one],
        teacher=NanTeacher(position),
        on_nonfinite="skip",
        training=TRAINING.model_copy(update={"epochs": 1}),
    )
    assert record.skipped == 1
    assert all(bool(tensor.isfinite().all()) for tensor in weights(one.network).values())


def test_it_is_an_input_error():
    assert issubclass(NotFinite, InputError)
    assert NotFinite("").exit_code == 2
