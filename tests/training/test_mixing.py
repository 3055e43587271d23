"""Mixup and cutmix: what is mixed, that teacher and student see the same, and who refuses."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from torch import Tensor, nn

from preceptor import KL, CrossEntropy, DistillationLoss, Fixed, LossTerm, recipe_names
from preceptor.context import UNLABELED, BatchContext
from preceptor.data import Composition, CropFlip, NumberedTransform
from preceptor.data.randomness import RandomStream, random_words
from preceptor.errors import InputError
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.ensemble import Ensemble
from preceptor.training import Batch, Student, Trainer, TrainingData
from preceptor.training.mixing import beta_quantile, cut_box, mix, mixed_up
from tests.training_helpers import (
    BRIEF,
    StateAfter,
    batches,
    cache_of,
    data_of,
    digits,
    make_student,
    network,
    same_bits,
    train,
    untrained_teacher,
    weights,
)

MIXUP = BRIEF.model_copy(update={"mixup": 0.4})
CUTMIX = BRIEF.model_copy(update={"cutmix": 1.0})
BOTH = BRIEF.model_copy(update={"mixup": 0.4, "cutmix": 1.0})


def batch() -> Batch:
    return batches(data_of(40), 16)[0]


def drawn(step: int, size: int, seed: int = 3, epoch: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The first four uniform numbers of a step and the order of its pairs."""
    words = random_words(seed, RandomStream.MIXING, step * 2**32, step * 2**32 + 4 + size, epoch)
    return words[:4] / 2.0**64, np.argsort(words[4:], kind="stable")


@pytest.mark.parametrize("step", [0, 1, 700])
def test_mixup_is_the_equation_on_the_uint8_scale(step):
    plain = batch()
    mixed = mix(plain, MIXUP, seed=3, epoch=1, number=step)
    uniform, partner = drawn(step, 16)
    share = beta.ppf(uniform[1], 0.4, 0.4)
    images = plain.inputs.numpy().astype(np.float64)
    expected = share * images + (1 - share) * images[partner]
    assert mixed.inputs.dtype == torch.uint8
    assert np.abs(mixed.inputs.numpy() - expected).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(mixed.mixed.partner.numpy(), plain.label.numpy()[partner])
    np.testing.assert_allclose(mixed.mixed.share.numpy(), share, rtol=1e-5)
    assert torch.equal(mixed.label, plain.label)


@pytest.mark.parametrize("step", [0, 2, 700])
def test_cutmix_puts_a_rectangle_of_the_partner_into_the_image(step):
    plain = batch()
    mixed = mix(plain, CUTMIX, seed=3, epoch=1, number=step)
    uniform, partner = drawn(step, 16)
    side = np.sqrt(1 - uniform[1])  # Beta(1, 1) is uniform
    images, expected, inside = plain.inputs.numpy(), plain.inputs.numpy().copy(), np.zeros((8, 8), bool)
    for row in range(8):
        for column in range(8):
            # A pixel is replaced where its middle lies in the rectangle.
            down, across = (row + 0.5) / 8, (column + 0.5) / 8
            inside[row, column] = abs(down - uniform[3]) < side / 2 and abs(across - uniform[2]) < side / 2
    expected[:, :, inside] = images[partner][:, :, inside]
    np.testing.assert_array_equal(mixed.inputs.numpy(), expected)
    np.testing.assert_allclose(mixed.mixed.share.numpy(), 1 - inside.mean(), rtol=1e-6)


def test_with_both_each_step_draws_one_of_them_evenly_and_all_follows_from_the_step():
    plain, by_mixup = batch(), 0
    for step in range(400):
        mixed = mix(plain, BOTH, seed=3, epoch=1, number=step)
        single = [mix(plain, one, seed=3, epoch=1, number=step).inputs for one in (MIXUP, CUTMIX)]
        which = [torch.equal(mixed.inputs, one) for one in single]
        assert any(which)
        by_mixup += which[0]
    assert by_mixup / 400 == pytest.approx(0.5, abs=0.08)
    again, other = (mix(plain, BOTH, seed=3, epoch=epoch, number=7).inputs for epoch in (1, 2))
    assert torch.equal(again, mix(plain, BOTH, seed=3, epoch=1, number=7).inputs)
    assert not torch.equal(again, other)
    assert mix(plain, BRIEF, seed=3, epoch=1, number=0) is plain


@pytest.mark.parametrize("a", [0.1, 0.4, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(a):
    config = BRIEF.model_copy(update={"mixup": a})
    shares = [float(mix(batch_of_floats(), config, 0, 0, step).mixed.share[0]) for step in range(500)]
    assert kstest(shares, beta(a, a).cdf).pvalue > 0.01
    assert beta_quantile(a, 0.5) == pytest.approx(0.5)


def batch_of_floats() -> Batch:
    inputs = torch.tensor([[0.0], [1.0]])
    index = torch.arange(2)
    return Batch(inputs, index, index, index, index)


def test_floating_inputs_stay_exact():
    inputs, other = torch.tensor([[0.3], [2.0]]), torch.tensor([[1.3], [-2.0]])
    torch.testing.assert_close(mixed_up(inputs, other, 0.75), torch.tensor([[0.55], [1.0]]))
    assert cut_box(0.0, 0.5, 0.5, 4, 6) == (slice(0, 4), slice(0, 6))
    assert cut_box(1.0, 0.5, 0.5, 4, 6) == (slice(2, 2), slice(3, 3))


class Watching(nn.Module):
    """Keeps what it is shown while it is trained, or as a teacher."""

    classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.seen = network(), []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        return self.inner(images.float())

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        with torch.no_grad():
            return TeacherOutput(self(images))


def test_teacher_and_students_are_shown_the_same_mixed_images():
    teacher, watchers = Watching(), [Watching(), Watching()]
    students = [Student(f"s{n}", one, DistillationLoss(loss=KL())) for n, one in enumerate(watchers)]
    data = data_of(40)
    Trainer(students, teacher, data, BOTH, compile="never").fit()
    assert len(teacher.seen) == 6
    for watcher in watchers:
        assert all(torch.equal(a, b) for a, b in zip(teacher.seen, watcher.seen, strict=True))
    plain = [one for epoch in range(2) for one in batches(data, 16, epoch=epoch)]
    assert not all(torch.equal(a, b.inputs) for a, b in zip(teacher.seen, plain, strict=True))


@pytest.mark.parametrize("steps", [1, 3, 4, 5])
@pytest.mark.parametrize("training", [MIXUP, BOTH], ids=["mixup", "both"])
def test_it_ends_in_the_same_bits_wherever_it_stopped(torchvision_ops, steps, training):
    views = Composition((CropFlip(1, flip=False), NumberedTransform("randaugment")))
    whole, resumed, after = make_student("kd"), make_student("kd"), StateAfter(steps)
    train([whole], training=training, augmentation=views, callbacks=[after])
    train([resumed], training=training, augmentation=views, state=after.state())
    assert same_bits(weights(whole.network), weights(resumed.network))


ALLOWED = {
    *("none", "kd", "dist", "cmkd", "cmkd-static", "dtd-cwsm", "dtd-flsw", "at", "fitnet", "slam"),
    *("kd-lsk", "normkd", "ttm", "wttm", "ctkd", "ctkd-lsk", "mlkd", "ldrld", "tf-kd"),
    *("sp", "rkd", "pkt", "review", "vid", "itrd", "cmkd-lsk", "ltkd", "simkd"),
    *("confusion", "prior"),  # their recalibration looks at the teacher's logits alone
}
REASONS = (
    "compares the teacher's class|weighs samples|depends on the label|limited to samples by|teaches to abstain|"
    "compares two views"
)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_trains_or_says_why_not(name):
    student = make_student(name)
    before = weights(student.network)
    training = MIXUP.model_copy(update={"epochs": 1})
    if name in ALLOWED:
        records = train([student], training=training)
        assert np.isfinite(records[0][0].total)
        assert not same_bits(weights(student.network), before)
        return
    told = rf"({REASONS}).* and a mixed image has two labels: leave mixup and cutmix out, or choose a recipe"
    with pytest.raises(InputError, match=told):
        train([student], training=training)
    assert same_bits(weights(student.network), before)


def test_a_component_is_named_with_the_reason():
    named = {
        "ka-ps": "correction probability_shift compares the teacher's class with the label",
        "wsld": "selection wsld weighs samples one by one",
        "rld": r"term 'rld' \(rld\) depends on the label",
        "gambler": r"term 'head' \(gambler\) teaches to abstain",
        "lr": "correction label_revision",
    }
    for name, reason in named.items():
        with pytest.raises(InputError, match=reason):
            make_student(name).loss.check_mixing()
    with pytest.raises(InputError, match=r"term 'ce' \(cross_entropy\) is limited .*\(where: right\)"):
        DistillationLoss(terms={"ce": LossTerm(CrossEntropy(), where="right")}).check_mixing()


@dataclass(frozen=True)
class ByLabel:
    """A temperature that looks at the label, and declares it."""

    uses_label = True

    def __call__(self, context: BatchContext) -> Tensor:
        return torch.where(context.right, 2.0, 4.0)


def test_a_temperature_that_declares_its_use_of_the_label_is_refused():
    DistillationLoss(loss=KL(), temperature=Fixed(2.0)).check_mixing()
    with pytest.raises(InputError, match="temperature bylabel looks at the label"):
        DistillationLoss(loss=KL(), temperature=ByLabel()).check_mixing()


def test_stored_outputs_and_audits_are_refused_before_the_first_step(tmp_path):
    with cache_of(tmp_path / "cache", untrained_teacher()) as cache:
        for teacher in (cache, Ensemble([untrained_teacher(), cache])):
            with pytest.raises(InputError, match=r"looked up by image and view .* queried live"):
                train([make_student("kd")], training=MIXUP, teacher=teacher)
        train([make_student("kd")], teacher=cache)
    judged = make_student("kd")
    judged.loss.use_verdicts(torch.full((len(digits().train),), -1))
    with pytest.raises(InputError, match="an audit judges single images"):
        train([judged], training=CUTMIX)


def test_inputs_that_cannot_be_mixed_are_refused():
    labels = torch.arange(8) % 2
    tokens = TrainingData({"ids": torch.zeros(8, 3, dtype=torch.int64)}, labels)
    numbers = TrainingData(torch.zeros(8, 3, dtype=torch.int64), labels)
    rows = TrainingData(torch.rand(8, 3), labels)
    student = Student("one", nn.Linear(3, 2), DistillationLoss(label_loss=CrossEntropy()))
    for data, complaint in ((tokens, "tensors by name"), (numbers, "torch.int64")):
        with pytest.raises(InputError, match=f"inputs are {complaint}"):
            Trainer([student], None, data, MIXUP)
    with pytest.raises(InputError, match="inputs have 2 dimensions; expected images"):
        Trainer([student], None, rows, CUTMIX)
    Trainer([student], None, rows, MIXUP).fit()


def test_students_with_other_mixing_are_not_trained_together():
    student = Student("one", network(), DistillationLoss(label_loss=CrossEntropy()), CUTMIX)
    with pytest.raises(InputError, match=r"mixup 0 and cutmix 1, and the trainer 0\.4 and 0"):
        Trainer([student], None, data_of(40), MIXUP)


def test_accuracy_counts_the_label_of_the_larger_share():
    plain = batch()
    mixed = mix(plain, MIXUP, seed=3, epoch=1, number=2)
    share, partner = float(mixed.mixed.share[0]), mixed.mixed.partner
    assert torch.equal(mixed.leading_label, plain.label if share >= 0.5 else partner)
    assert torch.equal(plain.leading_label, plain.label)


def test_unlabeled_partners_have_no_share():
    plain = batch()
    plain = Batch(plain.inputs, torch.full_like(plain.label, UNLABELED), plain.index, plain.own_index, plain.view)
    mixed = mix(plain, MIXUP, seed=3, epoch=1, number=2)
    loss = DistillationLoss(label_loss=CrossEntropy())
    logits = torch.randn(16, 10, requires_grad=True)
    output = loss(logits, None, mixed.label, mixed=mixed.mixed)
    output.total.backward()
    assert float(output.total.detach()) == 0
    assert not logits.grad.any()
