import math

import torch

from preceptor import KL, CrossEntropy, DistillationLoss, LossTerm
from preceptor.run.doctor.first_steps import FirstSteps, TermScale, loss_finding, scales_on
from preceptor.run.set_up import prepare
from tests.classroom import same_bits, weights
from tests.examples import LABEL, STUDENT, TEACHER
from tests.run.doctor.conftest import about


def scales(**terms: LossTerm) -> list[TermScale]:
    return scales_on(DistillationLoss(terms=terms), STUDENT, TEACHER, LABEL, torch.arange(4))


def test_the_gradient_of_cross_entropy_is_softmax_minus_label():
    (found,) = scales(ce=LossTerm(CrossEntropy(), 3.0))
    slope = STUDENT[:3].softmax(dim=1) - torch.eye(3)[LABEL[:3]]
    assert math.isclose(found.gradient, 3 * float(slope.norm()) / 4, rel_tol=1e-5)
    said = STUDENT[:3].log_softmax(dim=1)[torch.arange(3), LABEL[:3]]
    assert math.isclose(found.loss, -3 * float(said.sum()) / 4, rel_tol=1e-5)


def test_terms_alike_are_in_order():
    found = loss_finding(scales(ce=LossTerm(CrossEntropy()), kl=LossTerm(KL())))
    assert found.status == "ok"
    assert [term["name"] for term in found.numbers["terms"]] == ["ce", "kl"]


def test_a_term_that_drowns_another_is_named():
    found = loss_finding(scales(ce=LossTerm(CrossEntropy()), kl=LossTerm(KL(), 1e5)))
    assert found.status == "warning"
    assert "the gradient of kl is " in found.found
    assert "recipe.terms.ce.weight" in found.remedy


def test_terms_that_count_at_different_times_drown_nobody():
    far = [TermScale("ce", 0.0, 0, 2.0, 1e-6), TermScale("kl", 0.5, 0, 2.0, 1.0)]
    assert loss_finding(far).status == "ok"


def test_a_term_that_teaches_nothing_is_named():
    found = loss_finding(scales(ce=LossTerm(CrossEntropy()), kl=LossTerm(KL(), 0.0)))
    assert found.status == "warning"
    assert found.found.startswith("kl teaches nothing")


def test_a_term_that_is_not_finite_is_a_problem():
    found = loss_finding([TermScale("ce", 0.0, 0, math.nan, 1.0), TermScale("kl", 0.0, 0, 2.0, 1.0)])
    assert found.status == "problem"
    assert "ce" in found.found
    assert [term["name"] for term in found.numbers["terms"]] == ["kl"]


def test_steps_on_a_copy_leave_everything_as_it_was(able_teacher):
    config = about(able_teacher, recipe="select-correct-abstain", train_images=200)
    material = prepare(config, torch.device("cpu"))
    assert material.teacher is not None
    if material.loss.needs_fit:
        material.loss.selection.set_scores(material.positions, torch.rand(200), len(material.train))
    before, drawn = weights(material.student), torch.get_rng_state()
    first = FirstSteps(config, material, material.teacher.teacher)
    assert len(first.times) > 1
    names = {scale.name for scale in first.scales()}
    assert names == set(material.loss.terms)
    seconds, steps = first.step_seconds()
    assert seconds > 0
    assert steps >= 1
    assert same_bits(weights(material.student), before)
    assert not same_bits(weights(first.seat.pupil.student), before)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_term_silent_in_the_first_batch_is_looked_for_in_the_next_ones(able_teacher):
    config = about(able_teacher, recipe="label-revision", training={"epochs": 1, "batch_size": 4})
    material = prepare(config, torch.device("cpu"))
    assert material.teacher is not None
    found = {scale.name: scale for scale in FirstSteps(config, material, material.teacher.teacher).scales()}
    assert found["ce"].batch == 0
    assert found["revised"].batch > 0
