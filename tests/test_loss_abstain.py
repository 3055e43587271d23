"""Losses of a student that may abstain, and terms that are active for a part of training."""

import pytest
import torch
from torch.nn import functional as F

from preceptor import KL, CrossEntropy, DistillationLoss, InputError, LossTerm
from preceptor.abstention import Gambler, SoftGambler
from tests.examples import LABEL, STUDENT, TEACHER

WIDE = torch.cat([STUDENT, torch.tensor([[0.4], [-0.2], [0.1], [0.3]])], dim=1).double()
TEACHER_LOGITS = TEACHER.double()


def test_a_gambling_term_makes_the_loss_abstain() -> None:
    assert DistillationLoss(label_loss=Gambler()).abstains
    assert DistillationLoss(loss=SoftGambler()).abstains
    assert not DistillationLoss(loss=KL(), label_loss=CrossEntropy()).abstains


def test_beside_a_gambler_loss_plain_losses_get_the_classes_alone() -> None:
    loss = DistillationLoss(loss=KL(), terms={"ce": LossTerm(CrossEntropy()), "gamble": LossTerm(Gambler())})
    student = WIDE.clone().requires_grad_()
    terms = loss(student, TEACHER_LOGITS, LABEL)
    classes = WIDE[:, :3]
    labeled = LABEL != -1
    ce = F.cross_entropy(classes[labeled], LABEL[labeled], reduction="sum") / 4
    torch.testing.assert_close(terms["ce"], ce)
    torch.testing.assert_close(terms["kl"], DistillationLoss(loss=KL())(classes, TEACHER_LOGITS, LABEL).total)
    (terms["ce"] + terms["kl"]).backward()
    assert student.grad is not None
    assert (student.grad[:, 3] == 0).all()


def test_without_a_teacher_too() -> None:
    loss = DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "gamble": LossTerm(Gambler())})
    label = torch.tensor([0, 1, 2, 0])
    terms = loss(WIDE, None, label)
    torch.testing.assert_close(terms["ce"], F.cross_entropy(WIDE[:, :3], label))


def test_a_student_without_the_extra_output_is_refused() -> None:
    with pytest.raises(InputError, match="needs 4, one to abstain with"):
        DistillationLoss(loss=SoftGambler())(STUDENT, TEACHER, LABEL)


class TestTimes:
    def loss(self) -> DistillationLoss:
        return DistillationLoss(terms={"ce": LossTerm(CrossEntropy(), until=0.25), "kl": LossTerm(KL(), since=0.25)})

    @pytest.mark.parametrize(
        ("progress", "counts"), [(0.0, "ce"), (0.2499, "ce"), (0.25, "kl"), (0.9, "kl"), (1.0, "kl")]
    )
    def test_a_term_is_active_only_between_since_and_until(self, progress: float, counts: str) -> None:
        terms = self.loss()(STUDENT, TEACHER, LABEL, progress=progress)
        other = {"ce": "kl", "kl": "ce"}[counts]
        assert terms[counts] > 0
        assert terms[other] == 0
        assert torch.equal(terms.total, terms[counts])

    def test_an_inactive_term_gives_no_gradient(self) -> None:
        student = STUDENT.clone().requires_grad_()
        self.loss()(student, TEACHER, LABEL, progress=0.5).total.backward()
        alone = STUDENT.clone().requires_grad_()
        DistillationLoss(loss=KL())(alone, TEACHER, LABEL).total.backward()
        assert torch.equal(student.grad, alone.grad)  # type: ignore[arg-type]

    def test_the_teacher_is_needed_while_an_active_term_uses_it(self) -> None:
        loss = self.loss()
        assert loss.uses_teacher
        assert not loss.uses_teacher_at(0.1)
        assert loss.uses_teacher_at(0.25)
        assert loss(STUDENT, None, LABEL, progress=0.1)["kl"] == 0
        with pytest.raises(InputError, match="teacher_logits is None"):
            loss(STUDENT, None, LABEL, progress=0.3)

    @pytest.mark.parametrize(
        ("spans", "moment"), [([(0.1, 1.0)], "0"), ([(0.0, 0.5)], "0.5"), ([(0.0, 0.3), (0.4, 1.0)], "0.3")]
    )
    def test_a_gap_without_an_active_term_is_refused(self, spans: list[tuple[float, float]], moment: str) -> None:
        terms = {f"ce{n}": LossTerm(CrossEntropy(), since=since, until=until) for n, (since, until) in enumerate(spans)}
        with pytest.raises(InputError, match=f"no term is active when {moment} of training"):
            DistillationLoss(terms=terms)

    @pytest.mark.parametrize(("since", "until"), [(-0.1, 1.0), (0.5, 0.5), (0.6, 0.5), (0.0, 1.1), (0.0, float("nan"))])
    def test_invalid_since_and_until_are_refused(self, since: float, until: float) -> None:
        with pytest.raises(InputError, match=r"since <|shares of training"):
            LossTerm(KL(), since=since, until=until)
