"""The worked numbers of the gambler and of a gambler with an adjusted teacher."""

import torch
from torch import Tensor

from preceptor import KL, DistillationLoss, recipe
from preceptor.abstention import Gambler, SoftGambler, gambler_loss, optimal_bets, soft_gambler_loss
from tests.worked import VECTORS, Vector, checks, doubles, same


def hard_loss(vector: Vector) -> Tensor:
    probs = doubles(vector.get("probs", vector.get("probs_with_reservation_last")))
    return gambler_loss(probs.log(), torch.tensor([vector["target"]]), vector["o"])


@checks("dg.hard")
def both_forms(vector: Vector) -> None:
    loss = hard_loss(vector)
    same(loss, [vector["code_form"]])
    same(loss - vector["paper_form"], [vector["difference_is_ln_o"]])


@checks("dg.no_reservation_is_ce", "dg.o_large_limit")
def cross_entropy_in_the_limit(vector: Vector) -> None:
    same(hard_loss(vector), [vector["code_form"]])
    if "equals_minus_log_qy" in vector:
        same(hard_loss(vector), [vector["equals_minus_log_qy"]])


@checks("dg.soft_target")
def soft_target(vector: Vector) -> None:
    loss = soft_gambler_loss(doubles(vector["probs"]).log(), doubles(vector["soft"]).log(), 1.0, vector["o"])
    same(loss, [vector["code_form"]])
    same(loss - doubles(vector["o"]).log(), [vector["paper_form"]])


@checks("dg.grad_hard", "dg.grad_soft")
def gradient(vector: Vector) -> None:
    logits = doubles(vector["logits"]).requires_grad_()
    if "soft" in vector:
        loss = soft_gambler_loss(logits, doubles(vector["soft"]).log(), 1.0, vector["o"])
    else:
        loss = gambler_loss(logits, torch.tensor([vector["target"]]), vector["o"])
    loss.sum().backward()
    assert logits.grad is not None
    same(logits.grad, vector["grad"])


@checks(*(key for key in VECTORS if key.startswith("dg.optimal.")))
def best_for_known_odds(vector: Vector) -> None:
    probs = doubles([vector["p"]])
    bets, reserved = optimal_bets(probs, vector["o"])
    same(bets, [vector["bets"]])
    same(reserved, [vector["reservation"]])
    outputs = torch.cat([bets, reserved.unsqueeze(1)], dim=1).log()
    same(soft_gambler_loss(outputs, probs.log(), 1.0, vector["o"]), [vector["min_expected_loss_code_form"]])
    same(-(probs * probs.log()).sum(), vector["entropy"])


@checks("kadg.soft_target_collapse")
def softened_targets_are_not_worth_a_bet(vector: Vector) -> None:
    for row in vector["rows"]:
        probs = (doubles(vector["teacher_logits"]) / row["T"]).softmax(dim=1)
        bets, reserved = optimal_bets(probs, vector["o"])
        same(probs.max(), row["max_target"])
        same(1 / vector["o"], row["one_over_o"])
        same(reserved, [row["optimal_reservation"]])
        same(bets[:, 0], [row["optimal_top_bet"]])


def gamblers(vector: Vector) -> tuple[Tensor, Tensor, Tensor]:
    student, teacher = doubles(vector["student_logits_m_plus_1"]), doubles(vector["teacher_logits"])
    return student, teacher, torch.tensor(vector["target"])


@checks("kadg.variantA")
def one_loss(vector: Vector) -> None:
    student, teacher, label = gamblers(vector)
    warm = {"temperature.temperature": vector["T"], "terms.gamble.loss.payoff": vector["o"]}
    terms = DistillationLoss(**recipe("precise-abstain-a", warm))(student, teacher, label, progress=0.5)
    assert terms.audit is not None
    target = terms.audit.target
    same(target.exp(), vector["adjusted_teacher"])
    same(SoftGambler(vector["o"])(student, target, vector["T"], label), vector["per_sample"])
    same(terms.total, vector["total"])
    same(
        DistillationLoss(**recipe("precise-abstain-a"))(student, teacher, label, progress=0.5).total, vector["T1_total"]
    )


@checks("kadg.variantB")
def two_losses(vector: Vector) -> None:
    student, teacher, label = gamblers(vector)
    shares = {"terms.kl.weight": vector["alpha"], "terms.gamble.weight": 1 - vector["alpha"]}
    overrides = {**shares, "temperature.temperature": vector["T"], "terms.gamble.label_loss.payoff": vector["o"]}
    terms = DistillationLoss(**recipe("precise-abstain-b", overrides))(student, teacher, label, progress=0.5)
    assert terms.audit is not None
    same(KL()(student[:, :-1], terms.audit.target, vector["T"], label), vector["kd_per_sample"])
    same(Gambler(vector["o"])(student, label), vector["dg_per_sample"])
    same(terms.total, vector["total"])
    same(DistillationLoss(**recipe("precise-abstain-b"))(student, teacher, label, progress=0.5).total, vector["total"])
