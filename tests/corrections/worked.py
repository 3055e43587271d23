"""The worked numbers of the corrections, and of the losses they are used in."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from preceptor import (
    KL,
    DistillationLoss,
    Fixed,
    LabelSmoothing,
    LossOutput,
    ProbabilityShift,
    SquaredErrorLogits,
    recipe,
)
from preceptor.corrections import label_probability, label_revision, probability_shift, revision_beta, smoothed_one_hot
from preceptor.selections import RankedSelection
from tests.worked import VECTORS, Vector, batch, checks, doubles, same


@checks(*(key for key in VECTORS if key.startswith("lr.revise.")))
def revision(vector: Vector) -> None:
    log_probs, label = doubles([vector["teacher_probs"]]).log(), torch.tensor([vector["target"]])
    top = torch.tensor([vector["argmax_teacher"]])
    beta = revision_beta(log_probs, label, top, vector["eta"])
    same(beta, [vector["beta"]])
    assert vector["eta"] / 2 <= beta <= vector["eta"]
    revised = label_revision(log_probs, label, top, vector["eta"]).exp()
    same(revised, [vector["revised"]])
    same(revised.sum(), vector["sum"])
    same(revised[0, label[0]] - revised[0, top[0]], vector["margin_target_minus_teachertop"])


def label_revision_terms(vector: Vector, reduction: str) -> tuple[LossOutput, Tensor]:
    student, teacher, label = batch(vector)
    overrides: dict[str, Any] = {f"terms.{name}.reduction": reduction for name in ("ce", "logits", "revised")}
    overrides |= {
        "correction.eta": vector["eta"],
        "terms.logits.weight": vector["lambda1"],
        "terms.revised.weight": vector["lambda2"],
    }
    terms = DistillationLoss(**recipe("label-revision", overrides))(student, teacher, label)
    terms.total.backward()
    assert student.grad is not None
    return terms, student.grad


def check_label_revision_terms(vector: Vector, reduction: str) -> None:
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


@checks("lr.loss.batch3_subset", "lr.loss.all_right", "lr.loss.all_wrong")
def subset_loss(vector: Vector) -> None:
    check_label_revision_terms(vector, "where")


@checks("lr.loss.batch3_batch")
def batch_loss(vector: Vector) -> None:
    check_label_revision_terms(vector, "batch")


@checks("lr.kl_variant")
def kl_variant(vector: Vector) -> None:
    student, teacher, label = batch(vector)
    overrides = {
        "terms.kl.weight": vector["alpha"],
        "terms.ce.weight": 1 - vector["alpha"],
        "temperature.temperature": vector["T"],
        "correction.eta": vector["eta"],
    }
    for key, scope in (("wrong_only", "wrong"), ("all_samples", "all")):
        loss = DistillationLoss(**recipe("label-revision-kl", {**overrides, "correction.apply_to": scope}))
        same(loss(student, teacher, label).total, vector[key])


@checks(*(key for key in VECTORS if key.startswith("ds.loss_")))
def data_selection_loss(vector: Vector) -> None:
    student, teacher, label = batch(vector)
    overrides = {"correction.eta": vector["eta"], "selection.keep": sum(vector["selected"]) / len(label)}
    overrides |= {"terms.logits.weight": vector["lambda1"], "terms.revised.weight": vector["lambda2"]}
    loss = DistillationLoss(**recipe("lr-ds", overrides))
    index = torch.arange(len(label))
    assert isinstance(loss.selection, RankedSelection)
    loss.selection.set_scores(index, torch.tensor(vector["selected"]).double(), len(label))
    alone = [loss(student[[i]], teacher[[i]], label[[i]], index=index[[i]]).total for i in range(len(label))]
    same(torch.stack(alone), vector["per_sample"])
    same(loss(student, teacher, label, index=index).total, vector["total_batch_mean"])


@checks("ka.ps_probs")
def shift(vector: Vector) -> None:
    probs = doubles(vector["probs"])
    label, top = torch.tensor(vector["target"]), probs.argmax(dim=1)
    same(probability_shift(probs, label, top), vector["shifted"])
    same(probability_shift(probs.log(), label, top).exp(), vector["shifted"])


@checks("ka.ps_commutes_with_softmax")
def shift_commutes(vector: Vector) -> None:
    logits, label = doubles(vector["logits"]), torch.tensor(vector["target"])
    top = logits.argmax(dim=1)
    shifted = probability_shift(logits, label, top)
    same(shifted, vector["shifted_logits"])
    same((shifted / vector["T"]).softmax(dim=1), vector["softmax_of_shifted"])
    same(probability_shift((logits / vector["T"]).softmax(dim=1), label, top), vector["shifted_of_softmax"])
    # The loss shifts log-probabilities; a component with target_space "logits" gets the shifted logits themselves.
    loss = DistillationLoss(correction=ProbabilityShift(), temperature=Fixed(vector["T"]), loss=SquaredErrorLogits())
    same(loss(shifted, logits, label).total, 0.0)


@checks("ka.top2_swap_is_wrong")
def not_the_runner_up(vector: Vector) -> None:
    probs = doubles([vector["probs"]])
    top, second = probs.topk(2).indices[0]
    same(probability_shift(probs, torch.tensor([vector["target"]]), top.view(1)), [vector["ps"]])
    same(probability_shift(probs, second.view(1), top.view(1)), [vector["top1_top2_swap"]])
    assert vector["ps"] != vector["top1_top2_swap"]


@checks("ka.lsr")
def smoothing(vector: Vector) -> None:
    label, log_probs = torch.tensor(vector["target"]), doubles([[1.0 / vector["K"]] * vector["K"]]).log()
    by_eps = LabelSmoothing(eps=vector["eps"])
    by_prob = LabelSmoothing(correct_prob=vector["kdlib_correct_prob"])
    same(by_eps(log_probs, label, label).exp(), vector["standard"])
    same(by_prob(log_probs, label, label).exp(), vector["kdlib"])
    same(label_probability(vector["eps"], vector["K"]), vector["c_equivalent_to_eps0p1"])
    same(label_probability(vector["eps_equivalent_to_c0p9"], vector["K"]), vector["kdlib_correct_prob"])
    same(smoothed_one_hot(log_probs, label, vector["c_equivalent_to_eps0p1"]).exp(), vector["standard"])


@checks("ka.lsr_only_on_wrong")
def smoothing_on_wrong(vector: Vector) -> None:
    logits = doubles(vector["probs"]).log()
    loss = DistillationLoss(correction=LabelSmoothing(eps=vector["eps"]), loss=KL())
    audit = loss(torch.zeros_like(logits), logits, torch.tensor(vector["target"])).audit
    assert audit is not None
    same(audit.target.exp(), vector["adjusted"])


def shift_distillation(student: Tensor, teacher: Tensor, label: Tensor, temperature: float) -> Tensor:
    total: Tensor = DistillationLoss(**recipe("ka-ps", {"temperature.temperature": temperature}))(
        student, teacher, label
    ).total
    return total


@checks("ka.ps_loss_T4")
def shift_loss(vector: Vector) -> None:
    student, teacher, label = batch(vector)
    same(shift_distillation(student, teacher, label, vector["T"]), vector["total"])
    alone = [shift_distillation(student[[i]], teacher[[i]], label[[i]], vector["T"]) for i in range(len(label))]
    same(torch.stack(alone).detach(), vector["per_sample_T2_KL"])


@checks("ka.kdlib_defect")
def not_the_defect(vector: Vector) -> None:
    source = VECTORS["ka.ps_loss_T4"]
    student, teacher, label = batch(source)
    actual = shift_distillation(student, teacher, label, source["T"])
    same(actual, vector["correct_T2_KL"])
    assert abs(float(actual.detach()) - vector["kdlib_value"]) > 1
    # What the defect computes: probabilities in the wrong order, none of them in log-space.
    adjusted = probability_shift((teacher / source["T"]).softmax(dim=1), label, teacher.argmax(dim=1))
    swapped = F.kl_div(adjusted, (student / source["T"]).softmax(dim=1), reduction="batchmean")
    same(swapped * source["T"] ** 2, vector["kdlib_value"])
