import math

import pytest
import torch

from preceptor.data import epoch_order
from preceptor.run.doctor.probe import LossScale, loss_finding, probe_losses
from preceptor.run.set_up import set_up
from tests.run.doctor.conftest import about
from tests.training_helpers import same_bits, weights


def probed(config, **options):
    context = set_up(config, torch.device("cpu"))
    if context.loss.needs_fit:
        scores = torch.rand(len(context.index), generator=torch.Generator().manual_seed(0))
        context.loss.selection.set_scores(context.index, scores, len(context.train))
    teacher = None if context.teacher is None else context.teacher.teacher
    return context, probe_losses(config, context, teacher, **options)


def test_the_gradient_of_cross_entropy_is_softmax_minus_label():
    config = about(None, train_images=64, augment=False)
    context, scales = probed(config, steps=1)
    order = context.index[epoch_order(config.seed, 0, 64)]
    images, label = context.train.images[order], context.train.labels[order]
    logits = context.network.train()(context.dataset.normalization(images)).detach().double()
    slope = (logits.softmax(dim=1) - torch.eye(10)[label]) / 64
    assert scales["ce"].gradient == pytest.approx(float(slope.norm()), rel=1e-4)
    wanted = -float(logits.log_softmax(dim=1)[torch.arange(64), label].mean())
    assert scales["ce"].loss == pytest.approx(wanted, rel=1e-4)


def test_every_term_is_probed_and_nothing_is_changed(able_teacher):
    """Terms that start late too; on a copy, whatever it draws."""
    config = about(able_teacher, recipe="select-correct-abstain", train_images=200)
    before = weights(set_up(config, torch.device("cpu")).network)
    drawn = torch.get_rng_state()
    context, scales = probed(config)
    assert set(scales) == set(context.loss.terms)
    assert any(scale.since > 0 for scale in scales.values())
    assert all(scales[name].since == term.since for name, term in context.loss.terms.items())
    assert not any(scale.is_unusual for scale in scales.values())
    assert all(scale.gradient > 0 for scale in scales.values())
    assert same_bits(weights(context.network), before)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_term_with_no_sample_in_one_batch_is_looked_for_in_others(able_teacher):
    config = about(able_teacher, recipe="label-revision", training={"epochs": 1, "batch_size": 2})
    assert probed(config, steps=1)[1]["revised"].gradient == 0
    assert probed(config, steps=200)[1]["revised"].gradient > 0


FINE = LossScale(2.0, 1.0, since=0.0, until=1.0)


@pytest.mark.parametrize(
    ("other", "status", "message"),
    [
        (LossScale(1.0, 0.1, since=0.0, until=1.0), "ok", "ce 2 (gradient 1), kl 1 (gradient 0.1)"),
        (LossScale(1.0, 1e-3, since=0.5, until=1.0), "warning", "the gradient of ce is 1,000 times that of kl"),
        (LossScale(1.0, 1e3, since=0.0, until=0.5), "warning", "the gradient of kl is 1,000 times that of ce"),
        (LossScale(1.0, 0.0, since=0.0, until=1.0), "warning", "the gradient of kl is 0 "),
        (LossScale(math.nan, 1.0, since=0.0, until=1.0), "problem", "not finite in the first 8 steps: kl"),
        (LossScale(1.0, math.inf, since=0.0, until=1.0), "problem", "not finite in the first 8 steps: kl"),
    ],
)
def test_two_terms(other, status, message):
    finding = loss_finding({"ce": FINE, "kl": other})
    assert finding.status == status
    assert message in finding.message
    assert ("kl" in finding.numbers["terms"]) == (status != "problem")


@pytest.mark.parametrize(
    ("scale", "status"),
    [
        (LossScale(50.0, 0.5, 0.0, 1.0, samples=64), "ok"),
        (LossScale(500.0, 0.5, 0.0, 1.0, samples=64), "warning"),
        (LossScale(500.0, 0.5, 0.0, 1.0, weight=10.0, samples=64), "ok"),
        (LossScale(2.0, 20.0, 0.0, 1.0, samples=64), "warning"),
        (LossScale(2.0, 20.0, 0.0, 1.0, samples=64, of_features=True), "ok"),
    ],
)
def test_a_term_that_is_far_larger_than_usual_for_its_weight(scale, status):
    finding = loss_finding({"logits": scale})
    assert finding.status == status
    assert ("unusually large for its weight: logits" in finding.message) == (status == "warning")


def test_a_feature_loss_has_a_gradient_on_features_which_is_not_compared_with_one_on_logits(able_teacher):
    _, scales = probed(about(able_teacher, recipe="fitnet", train_images=100))
    assert scales["hint"].of_features
    assert scales["hint"].gradient > 0
    assert loss_finding({"ce": FINE, "hint": LossScale(1.0, 1e-6, 0.0, 1.0, of_features=True)}).status == "ok"


def test_terms_active_at_different_times_are_not_compared():
    early, late = LossScale(2.0, 1e-6, since=0.0, until=0.5), LossScale(2.0, 1.0, since=0.5, until=1.0)
    assert loss_finding({"ce": early, "kl": late}).status == "ok"
