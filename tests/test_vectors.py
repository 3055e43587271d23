"""Worked numbers, made by an independent NumPy script (tests/vectors.json), float64, to 1e-6."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from preceptor import (
    KL,
    Chain,
    CrossEntropy,
    LabelRevision,
    LabelSmoothing,
    ProbabilityShift,
    SquaredErrorLogits,
    Term,
    Terms,
    recipe,
)
from preceptor.correct import label_revision, probability_shift, revision_beta, smoothed_one_hot, truth_probability
from preceptor.match import (
    CMKD,
    difficulty,
    kl_divergence,
    pearson,
    pearson_loss,
    permutahedron_soft_rank,
    spearman_loss,
    z_score,
)
from preceptor.select import RankedSelection
from preceptor.temper import CWSM, FLSW, Fixed, cwsm_weight, dynamic_temperature, flsw_weight
from tests.abstain import worked  # noqa: F401  (it adds its checks)
from tests.evaluation import worked as selective  # noqa: F401  (as above)
from tests.select import worked as selections  # noqa: F401  (as above)
from tests.worked import CHECKS, VECTORS, batch, checks, doubles, same


@pytest.mark.parametrize("key", VECTORS)
def test_vector(key: str) -> None:
    assert key in CHECKS, f"{key} has no check"
    CHECKS[key](VECTORS[key])


def test_every_check_has_its_vector() -> None:
    assert set(CHECKS) == set(VECTORS)


@checks("kd.hinton_T4")
def plain_distillation(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    terms = Chain(**recipe("kd"))(student, teacher, label)
    assert terms.audit is not None
    same(terms.audit.target.exp(), vector["teacher_probs_T"])
    same((student / vector["T"]).softmax(dim=1), vector["student_probs_T"])
    same(kl_divergence(student, terms.audit.target, vector["T"]), [vector["kl"]])
    same(terms["kl"] / 0.9, vector["T2_kl"])
    same(terms["ce"] / 0.1, vector["ce"])
    same(terms.total, vector["total_ce0p1_kd0p9"])


@checks(*(key for key in VECTORS if key.startswith("lr.revise.")))
def revision(vector: dict[str, Any]) -> None:
    log_probs, label = doubles([vector["teacher_probs"]]).log(), torch.tensor([vector["target"]])
    top = torch.tensor([vector["argmax_teacher"]])
    same(revision_beta(log_probs, label, top, vector["eta"]), [vector["beta"]])
    revised = label_revision(log_probs, label, top, vector["eta"]).exp()
    same(revised, [vector["revised"]])
    same(revised.sum(), vector["sum"])
    same(revised[0, label[0]] - revised[0, top[0]], vector["margin_target_minus_teachertop"])


def label_revision_terms(vector: dict[str, Any], reduction: str) -> tuple[Terms, Tensor]:
    student, teacher, label = batch(vector)
    overrides: dict[str, Any] = {f"terms.{name}.reduction": reduction for name in ("ce", "logits", "revised")}
    overrides |= {
        "correct.eta": vector["eta"],
        "terms.logits.weight": vector["lambda1"],
        "terms.revised.weight": vector["lambda2"],
    }
    terms = Chain(**recipe("label-revision", overrides))(student, teacher, label)
    terms.total.backward()
    assert student.grad is not None
    return terms, student.grad


def check_label_revision_terms(vector: dict[str, Any], reduction: str) -> Tensor:
    terms, gradient = label_revision_terms(vector, reduction)
    same(terms["ce"], vector["ce_right"])
    same(terms["logits"] / vector["lambda1"], vector["mse_logits_right"])
    same(terms["revised"] / vector["lambda2"], vector["mse_prob_wrong"])
    same(terms.total, vector["total"])
    assert gradient.isfinite().all()
    if "revised_wrong_row" in vector:
        assert terms.audit is not None
        same((~terms.audit.wrong).double(), vector["teacher_right"])
        same(terms.audit.target[terms.audit.wrong].exp(), [vector["revised_wrong_row"]])
        same(gradient, vector["grad_student_logits"])
    return gradient


@checks("lr.loss.batch3_subset", "lr.loss.all_right", "lr.loss.all_wrong")
def subset_loss(vector: dict[str, Any]) -> None:
    check_label_revision_terms(vector, "where")


@checks("lr.loss.batch3_batch")
def batch_loss(vector: dict[str, Any]) -> None:
    check_label_revision_terms(vector, "batch")


@checks("lr.kl_variant")
def kl_variant(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    weights = {"terms.kl.weight": vector["alpha"], "terms.ce.weight": 1 - vector["alpha"]}
    for key, scope in (("wrong_only", "wrong"), ("all_samples", "all")):
        overrides = {**weights, "correct.eta": vector["eta"], "correct.apply_to": scope}
        same(Chain(**recipe("label-revision-kl", overrides))(student, teacher, label).total, vector[key])


@checks("ka.ps_probs")
def shift(vector: dict[str, Any]) -> None:
    probs = doubles(vector["probs"])
    label, top = torch.tensor(vector["target"]), probs.argmax(dim=1)
    same(probability_shift(probs, label, top), vector["shifted"])
    same(probability_shift(probs.log(), label, top).exp(), vector["shifted"])


@checks("ka.ps_commutes_with_softmax")
def shift_commutes(vector: dict[str, Any]) -> None:
    logits, label = doubles(vector["logits"]), torch.tensor(vector["target"])
    top = logits.argmax(dim=1)
    shifted = probability_shift(logits, label, top)
    same(shifted, vector["shifted_logits"])
    same((shifted / vector["T"]).softmax(dim=1), vector["softmax_of_shifted"])
    same(probability_shift((logits / vector["T"]).softmax(dim=1), label, top), vector["shifted_of_softmax"])
    # The chain shifts log-probabilities and hands a match that needs logits the shifted logits themselves.
    chain = Chain(correct=ProbabilityShift(), temper=Fixed(vector["T"]), match=SquaredErrorLogits())
    same(chain(shifted, logits, label).total, 0.0)


@checks("ka.top2_swap_is_wrong")
def not_the_runner_up(vector: dict[str, Any]) -> None:
    probs = doubles([vector["probs"]])
    found = probability_shift(probs, torch.tensor([vector["target"]]), probs.argmax(dim=1))
    same(found, [vector["ps"]])
    assert not torch.allclose(found, doubles([vector["top1_top2_swap"]]))


@checks("ka.lsr")
def smoothing(vector: dict[str, Any]) -> None:
    label, log_probs = torch.tensor(vector["target"]), doubles([[1.0 / vector["K"]] * vector["K"]]).log()
    by_eps = LabelSmoothing(eps=vector["eps"])
    by_prob = LabelSmoothing(correct_prob=vector["kdlib_correct_prob"])
    same(by_eps(log_probs, label, label).exp(), vector["standard"])
    same(by_prob(log_probs, label, label).exp(), vector["kdlib"])
    same(truth_probability(vector["eps"], vector["K"]), vector["c_equivalent_to_eps0p1"])
    same(truth_probability(vector["eps_equivalent_to_c0p9"], vector["K"]), vector["kdlib_correct_prob"])
    same(smoothed_one_hot(log_probs, label, vector["c_equivalent_to_eps0p1"]).exp(), vector["standard"])


@checks("ka.lsr_only_on_wrong")
def smoothing_on_wrong(vector: dict[str, Any]) -> None:
    logits = doubles(vector["probs"]).log()
    chain = Chain(correct=LabelSmoothing(eps=vector["eps"]), match=KL())
    audit = chain(torch.zeros_like(logits), logits, torch.tensor(vector["target"])).audit
    assert audit is not None
    same(audit.target.exp(), vector["adjusted"])


def shift_distillation(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    total: Tensor = Chain(**recipe("ka-ps"))(student, teacher, label).total
    return total


@checks("ka.ps_loss_T4")
def shift_loss(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    same(shift_distillation(student, teacher, label), vector["total"])
    alone = [shift_distillation(*(part[i : i + 1] for part in (student, teacher, label))) for i in range(len(label))]
    same(torch.stack(alone).detach(), vector["per_sample_T2_KL"])


@checks("ka.kdlib_defect")
def not_the_defect(vector: dict[str, Any]) -> None:
    source = VECTORS["ka.ps_loss_T4"]
    student, teacher, label = batch(source)
    found = shift_distillation(student, teacher, label)
    same(found, vector["correct_T2_KL"])
    assert abs(float(found.detach()) - vector["kdlib_value"]) > 1
    # What the defect computes: probabilities in the wrong order, none of them in log-space.
    adjusted = probability_shift((teacher / source["T"]).softmax(dim=1), label, teacher.argmax(dim=1))
    swapped = F.kl_div(adjusted, (student / source["T"]).softmax(dim=1), reduction="batchmean")
    same(swapped * source["T"] ** 2, vector["kdlib_value"])


def test_the_revised_share_lies_between_half_eta_and_eta() -> None:
    betas = [(VECTORS[key]["eta"], VECTORS[key]["beta"]) for key in VECTORS if key.startswith("lr.revise.")]
    assert all(eta / 2 - 1e-12 <= beta <= eta + 1e-12 for eta, beta in betas)
    assert LabelRevision().eta == 0.8


def temperatures_follow(vector: dict[str, Any], weight: Tensor, beta: float) -> None:
    same(weight, vector["w"])
    same(dynamic_temperature(weight, vector["T0"], beta), vector["T"])
    same(dynamic_temperature(weight, vector["T0"], beta, "sum"), vector["T_weights_sum_normalised"])


@checks(*(key for key in VECTORS if key.startswith("dtd.flsw_gamma")))
def temperature_by_direction(vector: dict[str, Any]) -> None:
    weight = flsw_weight(
        *map(doubles, (vector["student_logits"], vector["teacher_logits"])), vector["gamma"], vector["eps"]
    )
    temperatures_follow(vector, weight, vector["beta"])


@checks("dtd.flsw_opposite")
def the_largest_weight_of_opposite_directions(vector: dict[str, Any]) -> None:
    same(
        flsw_weight(*map(doubles, (vector["student_logits"], vector["teacher_logits"])), vector["gamma"], 0),
        vector["w"],
    )


@checks("dtd.cwsm_eps0", "dtd.cwsm_eps1e-3")
def temperature_by_confidence(vector: dict[str, Any]) -> None:
    temperatures_follow(vector, cwsm_weight(doubles(vector["student_probs"]).log(), vector["eps"]), vector["beta"])


@checks("dtd.cwsm_negative_T")
def raw_weights_are_clamped(vector: dict[str, Any]) -> None:
    weight = doubles(vector["w"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"], minimum=-100), vector["T_unnormalised"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"], "sum"), vector["T_weights_sum_normalised"])
    same(dynamic_temperature(weight, vector["T0"], vector["beta"]).min(), 1.0)


@checks("dtd.ka_loss_flsw", "dtd.ka_loss_cwsm")
def adjusted_at_a_temperature_a_sample(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    chosen = {"temperature": vector["T0"], "beta": vector["beta"], "eps": 0.0}
    temper = CWSM(**chosen) if vector["w"][0] > 1 else FLSW(**chosen, gamma=vector["gamma"])
    terms = Chain(correct=ProbabilityShift(), temper=temper, match=KL())(student, teacher, label)
    assert terms.audit is not None
    assert isinstance(terms.audit.temperature, Tensor)
    same(terms.audit.temperature, vector["T"])
    same(terms.audit.target.exp(), vector["adjusted_teacher"])
    same(KL()(student, terms.audit.target, terms.audit.temperature, label), vector["per_sample_T2_KL"])
    same(terms.total, vector["total"])
    same(0.7 * terms.total + 0.3 * F.cross_entropy(student, label), vector["total_alpha0p7_with_ce"])
    same(Chain(temper=temper, match=KL())(student, teacher, label).total, vector["total_no_ka"])


@checks("cm.zscore")
def standardised(vector: dict[str, Any]) -> None:
    same(z_score(doubles([vector["x"]])), [vector["unbiased"]])


@checks("cm.pearson")
def value_correlation(vector: dict[str, Any]) -> None:
    a, b = doubles([vector["a"]]), doubles([vector["b"]])
    same(pearson(a, b), [vector["rho"]])
    same(1 - pearson(a, b), [vector["loss"]])
    same(pearson(5 * a - 3, 0.1 * b + 9), [vector["affine_rho"]])
    same(pearson(-a, b), [vector["negated_rho"]])


@checks("cm.spearman_hard", "cm.spearman_hard_monotone", "cm.spearman_ties")
def rank_correlation(vector: dict[str, Any]) -> None:
    a, b = doubles([vector["a"]]), doubles([vector["b"]])
    for rank in ("window", "permutahedron"):
        same(1 - spearman_loss(a, b, rank, strength=1e-7), [vector["rho"]])
    if "pearson" in vector:
        same(pearson(a, b), [vector["pearson"]])
    if "ranks_a_average" in vector:
        same(permutahedron_soft_rank(a, 1e-7), [vector["ranks_a_average"]])


@checks(*(key for key in VECTORS if key.startswith("cm.softrank.")))
def projected_rank(vector: dict[str, Any]) -> None:
    ranks = permutahedron_soft_rank(doubles([vector["x"]]), vector["eps"])
    same(ranks, [vector["soft_rank"]])
    same(ranks.sum(), vector["sum"])


@checks("cm.soft_spearman_torchsort_readme")
def soft_rank_correlation(vector: dict[str, Any]) -> None:
    ranks = [permutahedron_soft_rank(doubles([vector[name]]), vector["eps"]) for name in ("pred", "target")]
    same(pearson(*ranks), [vector["rho"]])  # its gradient sits on a kink


@checks(*(key for key in VECTORS if key.startswith("cm.soft_spearman_z_")))
def soft_rank_correlation_of_z_scores(vector: dict[str, Any]) -> None:
    student = doubles([vector["student_logits"]]).requires_grad_()
    teacher = doubles([vector["teacher_logits"]])
    for name, logits in (("student", student.detach()), ("teacher", teacher)):
        same(permutahedron_soft_rank(z_score(logits), vector["eps"]), [vector[f"{name}_softrank"]])
    loss = spearman_loss(student, teacher, "permutahedron", vector["eps"])
    same(1 - loss.detach(), [vector["rho_soft"]])
    same(1 - pearson_loss(student.detach(), teacher, on="z"), [vector["rho_pearson"]])
    loss.sum().backward()
    same(student.grad, [vector["grad_student_logits"]])


@checks("cm.softrank_degeneracy")
def too_soft_a_rank_is_linear(vector: dict[str, Any]) -> None:
    for classes, by_strength in vector["table"].items():
        values = z_score(torch.randn(20, int(classes), generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        for strength, found in by_strength.items():
            ranks = permutahedron_soft_rank(values, float(strength))
            linear = float(pearson(ranks, values).mean())
            assert linear == pytest.approx(found["corr_softrank_vs_value"], abs=0.05)  # their rows are others
            assert (linear > 1 - 1e-9) == (found["corr_softrank_vs_value"] > 1 - 1e-9)


@checks("cm.difficulty")
def teachers_entropy(vector: dict[str, Any]) -> None:
    same(difficulty(doubles(vector["probs"]).clamp(min=1e-300).log()), vector["normalised_entropy"])


@checks("cm.dist_reference")
def dist(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    for temperature in (1.0, 4.0):
        terms = Chain(**recipe("dist", {"temper.temperature": temperature}))(student, teacher, label)
        relations = (terms["inter"] + terms["intra"]) / 32
        same(relations * temperature**2, vector[f"T{temperature:g}"])
        if temperature == 1:
            same(terms["inter"] / 32, vector["inter_only_T1"])


@checks(*(key for key in VECTORS if key.startswith("ds.loss_")))
def data_selection_loss(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    chain = Chain(**recipe("lr-ds", {"correct.eta": vector["eta"], "terms.revised.weight": vector["lambda2"]}))
    selected = torch.tensor(vector["selected"])
    index = torch.arange(len(label))
    assert isinstance(chain.select, RankedSelection)
    chain.select.keep = float(selected.double().mean())
    chain.select.adopt(index, selected.double(), len(label))
    alone = [chain(student[[i]], teacher[[i]], label[[i]], index=index[[i]]).total for i in range(len(label))]
    same(torch.stack(alone), vector["per_sample"])
    same(chain(student, teacher, label, index=index).total, vector["total_batch_mean"])


@checks(*(key for key in VECTORS if key.startswith("cm.total_")))
def both_correlations(vector: dict[str, Any]) -> None:
    student, teacher, label = batch(vector)
    cfg = vector["cfg"]
    weighting = {"spearman": "ranks_when_hard", "pearson": "values_when_hard"}[cfg["hard_prefers"]]
    stage = CMKD(
        weighting=weighting if cfg["dyn"] else "static",  # type: ignore[arg-type]
        beta=cfg["beta"],
        gamma=cfg["gamma"],
        on=cfg["on"],
        rank="permutahedron",
        strength=cfg["eps"],
    )
    same(pearson_loss(student, teacher, cfg["T"], cfg["on"]), vector["L_pearson"])
    same(spearman_loss(student, teacher, "permutahedron", cfg["eps"]), vector["L_spearman"])
    same(stage.rank_weight(teacher), vector["w_spearman"])
    terms = {"ce": Term(CrossEntropy(), cfg["alpha"]), "cmkd": Term(stage)}
    same(Chain(temper=Fixed(cfg["T"]), terms=terms)(student, teacher, label).total, vector["total"])
