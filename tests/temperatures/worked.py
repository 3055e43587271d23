"""The worked numbers of the dynamic temperatures."""

import torch
from torch import Tensor

from preceptor import KL, CrossEntropy, DistillationLoss, LossTerm, ProbabilityShift
from preceptor.temperatures import CWSM, FLSW, cwsm_weight, dynamic_temperature, flsw_weight
from tests.worked import VECTORS, Vector, batch, checks, doubles, same


def temperatures_follow(vector: Vector, weight: Tensor) -> None:
    same(weight, vector["w"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"]), vector["T"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"], "sum"), vector["T_weights_sum_normalised"])


@checks(*(key for key in VECTORS if key.startswith("dtd.flsw_gamma")))
def temperature_by_direction(vector: Vector) -> None:
    logits = doubles(vector["student_logits"]), doubles(vector["teacher_logits"])
    temperatures_follow(vector, flsw_weight(*logits, vector["gamma"], vector["eps"]))


@checks("dtd.flsw_opposite")
def the_largest_weight_of_opposite_directions(vector: Vector) -> None:
    logits = doubles(vector["student_logits"]), doubles(vector["teacher_logits"])
    same(flsw_weight(*logits, vector["gamma"], 0), vector["w"])


@checks("dtd.cwsm_eps0", "dtd.cwsm_eps1e-3")
def temperature_by_confidence(vector: Vector) -> None:
    temperatures_follow(vector, cwsm_weight(doubles(vector["student_probs"]).log(), vector["eps"]))


@checks("dtd.cwsm_negative_T")
def raw_weights_are_clamped(vector: Vector) -> None:
    classes = 20  # the unsure sample of the two is uniform over as many
    largest = doubles(vector["v_max"]).unsqueeze(1)
    others = (1 - largest) / (classes - 1)
    weight = cwsm_weight(torch.cat([largest, others.expand(-1, classes - 1)], dim=1).log(), 0)
    same(weight, vector["w"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"], minimum=-100), vector["T_unnormalised"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"], "sum"), vector["T_weights_sum_normalised"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"]), [vector["T_unnormalised"][0], 1.0])


def adjusted_at_a_temperature_a_sample(vector: Vector, temperature: FLSW | CWSM) -> None:
    student, teacher, label = batch(vector)
    terms = DistillationLoss(correction=ProbabilityShift(), temperature=temperature, loss=KL())(student, teacher, label)
    assert terms.audit is not None
    assert isinstance(terms.audit.temperature, Tensor)
    same(terms.audit.temperature, vector["T"])
    same(terms.audit.target.exp(), vector["adjusted_teacher"])
    same(KL()(student, terms.audit.target, terms.audit.temperature, label), vector["per_sample_T2_KL"])
    same(terms.total, vector["total"])
    with_labels = {"kl": LossTerm(KL(), 0.7), "ce": LossTerm(CrossEntropy(), 0.3)}
    mixed = DistillationLoss(correction=ProbabilityShift(), temperature=temperature, terms=with_labels)(
        student, teacher, label
    )
    same(mixed.total, vector["total_alpha0p7_with_ce"])
    same(DistillationLoss(temperature=temperature, loss=KL())(student, teacher, label).total, vector["total_no_ka"])


@checks("dtd.ka_loss_flsw")
def adjusted_by_direction(vector: Vector) -> None:
    student, teacher, _ = batch(vector)
    same(flsw_weight(student, teacher, vector["gamma"], 0), vector["w"])
    temperature = FLSW(vector["T0"], vector["beta"], vector["gamma"], eps=0.0)
    adjusted_at_a_temperature_a_sample(vector, temperature)


@checks("dtd.ka_loss_cwsm")
def adjusted_by_confidence(vector: Vector) -> None:
    student, _, _ = batch(vector)
    same(cwsm_weight(student, 0), vector["w"])
    adjusted_at_a_temperature_a_sample(vector, CWSM(vector["T0"], vector["beta"], eps=0.0))
