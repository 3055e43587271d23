"""The worked numbers of the losses: plain distillation, and correlations of values and of ranks."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from preceptor import CrossEntropy, DistillationLoss, Fixed, LossTerm, recipe
from preceptor.losses import (
    CMKD,
    difficulty,
    kl_divergence,
    pearson,
    pearson_loss,
    permutahedron_soft_rank,
    spearman_loss,
    z_score,
)
from tests.worked import VECTORS, Vector, batch, checks, doubles, same

HARD = 1e-7
"""A strength below every gap that is no tie."""


@checks("kd.hinton_T4")
def plain_distillation(vector: Vector) -> None:
    student, teacher, label = batch(vector)
    terms = DistillationLoss(**recipe("kd"))(student, teacher, label)
    assert terms.audit is not None
    same(terms.audit.target.exp(), vector["teacher_probs_T"])
    same((student / vector["T"]).softmax(dim=1), vector["student_probs_T"])
    same(kl_divergence(student, terms.audit.target, vector["T"]), [vector["kl"]])
    same(terms["kl"] / 0.9, vector["T2_kl"])
    same(terms["ce"] / 0.1, vector["ce"])
    same(terms.total, vector["total_ce0p1_kd0p9"])


@checks("cm.zscore")
def standardised(vector: Vector) -> None:
    actual, classes = z_score(doubles([vector["x"]])), len(vector["x"])
    same(actual, [vector["unbiased"]])
    same(actual * (classes / (classes - 1)) ** 0.5, [vector["population"]])


@checks("cm.pearson")
def value_correlation(vector: Vector) -> None:
    a, b = doubles([vector["a"]]), doubles([vector["b"]])
    same(pearson(a, b), [vector["rho"]])
    same(pearson_loss(a, b, on="z"), [vector["loss"]])
    same(pearson(5 * a - 3, 0.1 * b + 9), [vector["affine_rho"]])
    same(pearson(-a, b), [vector["negated_rho"]])


@checks("cm.spearman_hard", "cm.spearman_hard_monotone", "cm.spearman_ties")
def rank_correlation(vector: Vector) -> None:
    a, b = doubles([vector["a"]]), doubles([vector["b"]])
    for rank in ("window", "permutahedron"):
        same(1 - spearman_loss(a, b, rank, HARD), [vector["rho"]])
    if "pearson" in vector:
        same(pearson(a, b), [vector["pearson"]])
    if "ranks_a_average" in vector:
        same(permutahedron_soft_rank(a, HARD), [vector["ranks_a_average"]])


@checks(*(key for key in VECTORS if key.startswith("cm.softrank.")))
def projected_rank(vector: Vector) -> None:
    values, far = doubles([vector["x"]]), 1e3
    ranks, middle = permutahedron_soft_rank(values, vector["eps"]), (len(vector["x"]) + 1) / 2
    same(ranks, [vector["soft_rank"]])
    same(ranks.sum(), vector["sum"])
    pooled = permutahedron_soft_rank(values, far) - middle
    same(middle + pooled * far / vector["eps"], [vector["fully_pooled_formula"]])


@checks("cm.soft_spearman_torchsort_readme")
def soft_rank_correlation(vector: Vector) -> None:
    pred, target = doubles([vector["pred"]]), doubles([vector["target"]])
    for strength, rho in ((vector["eps"], vector["rho"]), (HARD, vector["rho_hard_scipy"])):
        same(pearson(permutahedron_soft_rank(pred, strength), permutahedron_soft_rank(target, strength)), [rho])


@checks(*(key for key in VECTORS if key.startswith("cm.soft_spearman_z_")))
def soft_rank_correlation_of_z_scores(vector: Vector) -> None:
    student = doubles([vector["student_logits"]]).requires_grad_()
    teacher = doubles([vector["teacher_logits"]])
    assert vector["zscore_ddof"] == 1  # that of z_score
    ranks = [permutahedron_soft_rank(z_score(logits), vector["eps"]) for logits in (student.detach(), teacher)]
    same(ranks[0], [vector["student_softrank"]])
    same(ranks[1], [vector["teacher_softrank"]])
    same(pearson(ranks[0], permutahedron_soft_rank(teacher, HARD)), [vector["rho_soft_hard_teacher"]])
    same(1 - spearman_loss(student.detach(), teacher, "permutahedron", HARD), [vector["rho_hard"]])
    same(1 - pearson_loss(student.detach(), teacher, on="z"), [vector["rho_pearson"]])
    loss = spearman_loss(student, teacher, "permutahedron", vector["eps"])
    same(1 - loss.detach(), [vector["rho_soft"]])
    loss.sum().backward()
    assert student.grad is not None
    same(student.grad, [vector["grad_student_logits"]])


@checks("cm.softrank_degeneracy")
def too_soft_a_rank_is_linear(vector: Vector) -> None:
    generator = np.random.default_rng(vector["seed"])
    for classes, by_strength in vector["table"].items():
        values = torch.from_numpy(generator.normal(size=(1, int(classes))))
        values = (values - values.mean()) / values.std()
        hard = torch.from_numpy(rankdata(values.numpy(), axis=1))
        for strength, expected in by_strength.items():
            ranks = permutahedron_soft_rank(values, float(strength))
            same(pearson(ranks, values), [expected["corr_softrank_vs_value"]])
            same((ranks - hard).abs().max(), expected["max_abs_dev_from_hard_rank"])


@checks("cm.difficulty")
def teachers_entropy(vector: Vector) -> None:
    same(difficulty(doubles(vector["probs"]).clamp(min=1e-300).log()), vector["normalised_entropy"])


@checks("cm.dist_reference")
def dist(vector: Vector) -> None:
    student, teacher, label = batch(vector)
    for temperature in (1.0, 4.0):
        terms = DistillationLoss(**recipe("dist", {"temperature.temperature": temperature}))(student, teacher, label)
        relations = (terms["inter"] + terms["intra"]) / 32
        same(relations * temperature**2, vector[f"T{temperature:g}"])
        if temperature == 1:
            same(terms["inter"] / 32, vector["inter_only_T1"])


def cmkd_of(settings: dict[str, Any]) -> CMKD:
    weighting = {"spearman": "ranks_when_hard", "pearson": "values_when_hard"}[settings["hard_prefers"]]
    return CMKD(
        weighting=weighting if settings["dyn"] else "static",  # type: ignore[arg-type]
        beta=settings["beta"],
        gamma=settings["gamma"],
        on=settings["on"],
        rank="permutahedron",
        strength=settings["eps"],
    )


@checks(*(key for key in VECTORS if key.startswith("cm.total_")))
def both_correlations(vector: Vector) -> None:
    student, teacher, label = batch(vector)
    settings = vector["cfg"]
    component = cmkd_of(settings)
    same(CrossEntropy()(student, label), vector["ce"])
    same(pearson_loss(student, teacher, settings["T"], settings["on"]), vector["L_pearson"])
    same(spearman_loss(student, teacher, "permutahedron", settings["eps"]), vector["L_spearman"])
    same(component.rank_weight(teacher), vector["w_spearman"])
    terms = {"ce": LossTerm(CrossEntropy(), settings["alpha"]), "cmkd": LossTerm(component)}
    loss = DistillationLoss(temperature=Fixed(settings["T"]), terms=terms)
    pooled = settings["eps"] * teacher.shape[1] >= teacher.shape[1]  # every class: the component warns of it
    with pytest.warns(UserWarning, match="rank linear") if pooled else nullcontext():
        total = loss(student, teacher, label).total
        alone: list[Tensor] = [loss(student[[i]], teacher[[i]], label[[i]]).total for i in range(len(label))]
    same(total, vector["total"])
    same(torch.stack(alone), vector["per_sample"])
