"""A chain for a student that may abstain, and terms that count for a part of training."""

import pytest
import torch
from torch.nn import functional as F

from preceptor import KL, Chain, CrossEntropy, InputError, Term
from preceptor.abstain import Gambler, SoftGambler
from tests.examples import LABEL, STUDENT, TEACHER

WIDE = torch.cat([STUDENT, torch.tensor([[0.4], [-0.2], [0.1], [0.3]])], dim=1).double()
SAID = TEACHER.double()


def test_a_gambling_term_makes_the_chain_abstain() -> None:
    assert Chain(truth=Gambler()).abstains
    assert Chain(match=SoftGambler()).abstains
    assert not Chain(match=KL(), truth=CrossEntropy()).abstains


def test_beside_a_gamble_plain_losses_see_the_classes_alone() -> None:
    chain = Chain(match=KL(), terms={"ce": Term(CrossEntropy()), "gamble": Term(Gambler())})
    student = WIDE.clone().requires_grad_()
    terms = chain(student, SAID, LABEL)
    classes = WIDE[:, :3]
    labelled = LABEL != -1
    ce = F.cross_entropy(classes[labelled], LABEL[labelled], reduction="sum") / 4
    torch.testing.assert_close(terms["ce"], ce)
    torch.testing.assert_close(terms["kl"], Chain(match=KL())(classes, SAID, LABEL).total)
    (terms["ce"] + terms["kl"]).backward()
    assert student.grad is not None
    assert (student.grad[:, 3] == 0).all()


def test_without_a_teacher_too() -> None:
    chain = Chain(terms={"ce": Term(CrossEntropy()), "gamble": Term(Gambler())})
    label = torch.tensor([0, 1, 2, 0])
    terms = chain(WIDE, None, label)
    torch.testing.assert_close(terms["ce"], F.cross_entropy(WIDE[:, :3], label))


def test_a_student_without_the_extra_output_is_refused() -> None:
    with pytest.raises(InputError, match="needs 4, one to abstain with"):
        Chain(match=SoftGambler())(STUDENT, TEACHER, LABEL)


class TestTimes:
    def chain(self) -> Chain:
        return Chain(terms={"ce": Term(CrossEntropy(), until=0.25), "kl": Term(KL(), since=0.25)})

    @pytest.mark.parametrize(
        ("progress", "counts"), [(0.0, "ce"), (0.2499, "ce"), (0.25, "kl"), (0.9, "kl"), (1.0, "kl")]
    )
    def test_a_term_counts_in_its_time_alone(self, progress: float, counts: str) -> None:
        terms = self.chain()(STUDENT, TEACHER, LABEL, progress=progress)
        other = {"ce": "kl", "kl": "ce"}[counts]
        assert terms[counts] > 0
        assert terms[other] == 0
        assert torch.equal(terms.total, terms[counts])

    def test_a_term_outside_its_time_gives_no_gradient(self) -> None:
        student = STUDENT.clone().requires_grad_()
        self.chain()(student, TEACHER, LABEL, progress=0.5).total.backward()
        alone = STUDENT.clone().requires_grad_()
        Chain(match=KL())(alone, TEACHER, LABEL).total.backward()
        assert torch.equal(student.grad, alone.grad)  # type: ignore[arg-type]

    def test_the_teacher_is_needed_when_a_term_that_counts_needs_it(self) -> None:
        chain = self.chain()
        assert chain.needs_teacher
        assert not chain.needs_teacher_at(0.1)
        assert chain.needs_teacher_at(0.25)
        assert chain(STUDENT, None, LABEL, progress=0.1)["kl"] == 0
        with pytest.raises(InputError, match="needs teacher logits"):
            chain(STUDENT, None, LABEL, progress=0.3)

    @pytest.mark.parametrize(
        ("spans", "moment"), [([(0.1, 1.0)], "0"), ([(0.0, 0.5)], "0.5"), ([(0.0, 0.3), (0.4, 1.0)], "0.3")]
    )
    def test_a_gap_in_which_nothing_is_learned_is_refused(self, spans: list[tuple[float, float]], moment: str) -> None:
        terms = {f"ce{n}": Term(CrossEntropy(), since=since, until=until) for n, (since, until) in enumerate(spans)}
        with pytest.raises(InputError, match=f"no term counts when {moment} of training"):
            Chain(terms=terms)

    @pytest.mark.parametrize(("since", "until"), [(-0.1, 1.0), (0.5, 0.5), (0.6, 0.5), (0.0, 1.1), (0.0, float("nan"))])
    def test_an_impossible_time_is_refused(self, since: float, until: float) -> None:
        with pytest.raises(InputError, match=r"since <|shares of training"):
            Term(KL(), since=since, until=until)
