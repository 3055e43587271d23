"""What the trainer guarantees: the same bits again, each student as if alone, and no part of one in another."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from preceptor import CrossEntropy, DistillationLoss, LossTerm, recipe, recipe_names
from preceptor.data import TwoViews
from preceptor.errors import InputError
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.training import Callback, Student, Trainer, TrainingConfig, TrainingData
from tests.training_helpers import (
    BRIEF,
    data_of,
    digits,
    few,
    make_student,
    network,
    same_bits,
    train,
    trainer_of,
    weights,
)

LEARNING = TrainingConfig(epochs=8, batch_size=32)


class Dropping(nn.Module):
    """A network that draws random numbers while it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop = network(name="convnet4"), nn.Dropout(0.4)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.body(images))


def dropping_student(recipe_name: str) -> Student:
    return Student(recipe_name, Dropping(), DistillationLoss(**recipe(recipe_name)))


def end_of(student: Student, **options) -> dict[str, Tensor]:
    train([student], **options)
    return weights(student.network)


@pytest.mark.parametrize("make", [make_student, dropping_student])
def test_the_same_seed_ends_in_the_same_bits(make):
    assert same_bits(end_of(make("ka-ps"), seed=5), end_of(make("ka-ps"), seed=5))


@pytest.mark.parametrize("make", [make_student, dropping_student])
def test_another_seed_does_not(make):
    assert not same_bits(end_of(make("ka-ps"), seed=5), end_of(make("ka-ps"), seed=6))


def test_the_same_seed_makes_the_same_records_but_for_the_clock():
    def numbers():
        [records] = zip(*train([make_student("kd")]), strict=True)
        return [(r.losses, r.total, r.train_accuracy, r.corrected, r.learning_rate) for r in records]

    assert numbers() == numbers()


@pytest.mark.parametrize("make", [make_student, dropping_student])
def test_each_student_learns_as_it_would_alone(make):
    names = ["kd", "none", "ka-ps", "drop-wrong"]
    together = [make(name) for name in names]
    records = train(together)
    for place, name in enumerate(names):
        alone = make(name)
        own_records = train([alone])
        assert same_bits(weights(together[place].network), weights(alone.network)), name
        assert [epoch[place].losses for epoch in records] == [epoch[0].losses for epoch in own_records]


def test_dropout_is_drawn_anew_every_step_and_epoch():
    drops = []
    student = Dropping()
    student.drop.register_forward_hook(lambda module, inputs, dropped: drops.append(dropped == 0))
    train([Student("dropping", student, DistillationLoss(**recipe("none")))], images=32, training=BRIEF)
    assert len(drops) == 4
    assert not any(torch.equal(one, other) for one, other in pairwise(drops))


class AfterEpochs(Callback):
    """Calls a function after each epoch."""

    def __init__(self, function) -> None:
        self.function = function

    def on_epoch_end(self, trainer, records):
        self.function(trainer)


def test_the_callers_generators_go_on_unaffected():
    torch.manual_seed(7)
    before, after = torch.get_rng_state(), []
    keep = AfterEpochs(lambda trainer: after.append(torch.get_rng_state()))
    train([dropping_student("none")], images=32, seed=3, callbacks=[keep])
    assert len(after) == 2
    assert all(torch.equal(state, before) for state in [*after, torch.get_rng_state()])


def test_it_really_learns():
    """Chance is 0.1; measured are the images it is trained on, shifted anew every epoch."""
    records = train([make_student("none")], images=300, training=LEARNING)
    assert records[0][0].train_accuracy < 0.5
    assert records[-1][0].train_accuracy > 0.6
    assert records[-1][0].total < 0.6 * records[0][0].total


def test_a_student_of_a_good_teacher_learns_without_labels():
    train([good := make_student("none")], images=300, training=LEARNING)
    data = digits()
    unlabeled = TrainingData(data.train.images, torch.full_like(data.train.labels, -1), few(300), data.augmentation)
    student, teacher = make_student("kd", seed=1), NetworkTeacher(good.network, data.normalization)
    train([student], data=unlabeled, training=LEARNING, teacher=teacher)
    held_out = data.normalization(data.test.images)
    agreement = student.network.eval()(held_out).argmax(1) == good.network.eval()(held_out).argmax(1)
    assert agreement.float().mean() > 0.4  # chance is 0.1


def test_the_positions_left_out_teach_nothing():
    data = digits()
    left_out = torch.ones(len(data.train), dtype=torch.bool)
    left_out[few(40)] = False
    spoilt = type(data.train)(data.train.images.clone(), data.train.labels.clone())
    spoilt.images[left_out], spoilt.labels[left_out] = 255, 0
    first, second = make_student("kd"), make_student("kd")
    for images, one in ((data.train, first), (spoilt, second)):
        train([one], data=TrainingData.of_images(images, few(40), data.augmentation))
    assert same_bits(weights(first.network), weights(second.network))


def test_teacher_and_students_receive_the_same_views():
    queried: list[Tensor] = []
    seen: dict[str, list[Tensor]] = {"kd": [], "none": []}

    class Recording(NetworkTeacher):
        def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
            queried.append(inputs.clone())
            return super().outputs(inputs, index, view)

    students = [make_student("kd"), make_student("none")]
    for one in students:
        one.network.register_forward_pre_hook(lambda _, inputs, seen=seen[one.name]: seen.append(inputs[0].clone()))
    train(students, teacher=Recording(network(99), digits().normalization))
    assert len(queried) == 2 * 3  # 40 images in batches of 16, two epochs
    for views in seen.values():
        assert all(torch.equal(digits().normalization(inputs), own) for inputs, own in zip(queried, views, strict=True))


def test_a_teacher_that_no_loss_uses_is_not_queried():
    class Unused:
        classes = None

        def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
            raise AssertionError("queried")

    train([make_student("none")], teacher=Unused())


def test_a_bare_network_is_no_teacher():
    with pytest.raises(InputError, match=r"teacher: a ConvNet.*NetworkTeacher\(network, normalization\)"):
        train([make_student("kd")], teacher=network())


def test_what_the_loss_learns_joins_the_optimizer_and_not_the_student():
    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_temperature = nn.Parameter(torch.tensor(1.0))

        def forward(self, context) -> Tensor:
            return self.log_temperature.exp()

    loss = DistillationLoss(**{**recipe("kd"), "temperature": Learned()})
    student = network()
    names = set(student.state_dict())
    train([Student("learned", student, loss)])
    assert loss.temperature.log_temperature.item() != 1.0
    assert set(student.state_dict()) == names


def test_the_student_is_as_its_last_epoch_left_it():
    one, by_epoch = make_student("kd"), []
    keep = AfterEpochs(lambda trainer: by_epoch.append(weights(one.network)))
    train([one], training=TrainingConfig(epochs=3, batch_size=16), callbacks=[keep])
    assert len(by_epoch) == 3
    assert same_bits(by_epoch[-1], weights(one.network))
    assert not same_bits(by_epoch[-2], by_epoch[-1])


def test_a_student_left_in_eval_mode_between_epochs_goes_on_learning():
    """Whoever measures it between epochs need not remember to set it back."""
    first, second = make_student("none"), make_student("none")
    train([first], images=32, callbacks=[AfterEpochs(lambda trainer: first.network.eval())])
    train([second], images=32)
    assert same_bits(weights(first.network), weights(second.network))


def test_a_loss_that_is_not_finite_is_named():
    loss = DistillationLoss(
        terms={"ce": LossTerm(CrossEntropy()), "broken": LossTerm(lambda logits, label: logits[:, 0] * torch.nan)}
    )
    with pytest.raises(InputError, match="student 'unlucky': epoch 1, step 1 of 1: loss term 'broken' is nan"):
        train([Student("unlucky", network(), loss)], images=16)


def test_a_run_that_diverges_says_when():
    with pytest.raises(InputError, match=r"epoch 1, step \d of 5: .* (nan|inf).*lower the learning rate"):
        train([make_student("none")], training=TrainingConfig(epochs=3, batch_size=8, learning_rate=1e18))


@pytest.mark.parametrize("positions", [[], [5]])
def test_too_few_samples(positions):
    with pytest.raises(InputError, match=f"{len(positions)} training samples: at least 2 are needed"):
        TrainingData.of_images(digits().train, torch.tensor(positions, dtype=torch.int64))


def test_a_loss_without_its_teacher():
    with pytest.raises(InputError, match="a loss compares with the teacher, and teacher is None: give one"):
        train([make_student("none"), make_student("kd")], teacher=None)


def test_two_students_of_one_name():
    with pytest.raises(InputError, match="each with a name of its own"):
        train([make_student("none"), make_student("none")])


def test_setting_up_changes_neither_mode_nor_hooks_nor_weights_of_a_teacher():
    module = network(99).train()
    before = weights(module)
    teacher = NetworkTeacher(module, digits().normalization)
    trainer_of([make_student("fitnet"), make_student("kd")], data_of(40), teacher=teacher).fit()
    assert module.training
    assert same_bits(before, weights(module))
    assert not any(one._forward_hooks for one in module.modules())


@pytest.mark.usefixtures("bf16_units")
def test_in_bf16_the_weights_and_losses_stay_in_fp32():
    seen = []
    one = make_student("kd")
    one.network.register_forward_hook(lambda module, inputs, logits: seen.append(logits.dtype))
    exact, rough = train([make_student("kd")], precision="fp32"), train([one], precision="bf16")
    assert set(seen) == {torch.bfloat16}
    assert {tensor.dtype for tensor in one.network.parameters()} == {torch.float32}
    assert rough[-1][0].total == pytest.approx(exact[-1][0].total, rel=0.05)
    assert rough[-1][0].total != exact[-1][0].total


SYNCS = ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy", "nonzero")
"""Whatever makes the host wait for the device."""


@pytest.fixture
def no_host_sync(monkeypatch) -> Iterator[None]:
    """While a step is made or taken, whatever would wait for the device is an error."""
    from preceptor.training.student import StudentTrainer

    def refuse(*_, **__):
        raise AssertionError("the host waited for the device in a step")

    def guarded(method):
        def run(*arguments):
            with monkeypatch.context() as patch:
                for name in SYNCS:
                    patch.setattr(torch.Tensor, name, refuse)
                return method(*arguments)

        return run

    def guarded_steps(method):
        def run(*arguments):
            steps = method(*arguments)
            following = guarded(lambda: next(steps, None))
            first = next(steps, None)  # what an epoch takes to begin may wait
            while first is not None:
                yield first
                first = following()

        return run

    # It reads labels on the CPU alone, where nothing waits.
    monkeypatch.setattr("preceptor.loss_checks._check_label_range", lambda label, classes: None)
    monkeypatch.setattr(StudentTrainer, "train_step", guarded(StudentTrainer.train_step))
    monkeypatch.setattr(Trainer, "steps_from", guarded_steps(Trainer.steps_from))
    return


@pytest.mark.usefixtures("no_host_sync")
def test_no_step_of_any_recipe_waits_for_the_device():
    train([make_student(name) for name in recipe_names() if name not in ("crld", "mlkd-views", "mlkd-lsk")], images=32)
    views = TwoViews(digits().augmentation, digits().augmentation)
    train([make_student(name) for name in ("crld", "mlkd-views", "mlkd-lsk")], images=32, augmentation=views)


@pytest.mark.usefixtures("no_host_sync")
def test_a_step_that_waits_is_noticed():
    def reading(logits: Tensor, label: Tensor) -> Tensor:
        return logits[:, 0] * logits.sum().item()

    with pytest.raises(AssertionError, match="waited"):
        train([Student("reading", network(), DistillationLoss(label_loss=reading))], images=32)
