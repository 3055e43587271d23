"""An audit's verdicts limit corrections and terms."""

import pytest
import torch

from preceptor import DistillationLoss
from preceptor.context import AGREE, VERDICTS
from preceptor.corrections import ProbabilityShift
from preceptor.errors import InputError
from preceptor.label_losses import CrossEntropy
from preceptor.loss_terms import LossTerm
from preceptor.losses import KL
from tests.examples import scored

LABEL = torch.tensor([0, 0, 0, 0, 1])
TEACHER = torch.tensor([[3.0, 1.0], [1.0, 3.0], [1.0, 3.0], [1.0, 3.0], [3.0, 1.0]])
"""Right on the first sample alone."""
WRONG_TEACHER, WRONG_LABEL, AMBIGUOUS = range(len(VERDICTS))
JUDGED = torch.tensor([AGREE, WRONG_TEACHER, WRONG_LABEL, AMBIGUOUS, AGREE])
INDEX = torch.arange(5)


def corrected(loss: DistillationLoss) -> list[bool]:
    output = loss(torch.zeros(5, 2), TEACHER, LABEL, index=INDEX)
    assert output.audit is not None
    assert torch.equal(loss.corrected(INDEX, LABEL, TEACHER.argmax(dim=1)), output.audit.corrected)
    return output.audit.corrected.tolist()


def test_without_an_audit_every_wrong_sample_is_corrected() -> None:
    assert corrected(DistillationLoss(correction=ProbabilityShift(), loss=KL())) == [False, True, True, True, True]


def test_with_an_audit_only_the_teachers_own_errors_are() -> None:
    """The last sample's view is an error of the teacher, which agrees with the label on the image itself."""
    loss = DistillationLoss(correction=ProbabilityShift(), loss=KL())
    loss.use_verdicts(JUDGED)
    assert corrected(loss) == [False, True, False, False, True]
    output = loss(torch.zeros(5, 2), TEACHER, LABEL, index=INDEX)
    assert output.audit.wrong.tolist() == [False, True, True, True, True]
    assert torch.equal(output.audit.target[2], output.audit.teacher_log_probs[2])


def test_verdicts_can_be_named() -> None:
    loss = DistillationLoss(correction=ProbabilityShift(), correction_where="ambiguous | wrong_teacher", loss=KL())
    loss.use_verdicts(JUDGED)
    assert corrected(loss) == [False, True, False, True, True]
    with pytest.raises(InputError, match="did you mean 'wrong_label'"):
        DistillationLoss(loss=KL(), correction_where="wrong_labels")


def test_a_term_can_be_limited_to_a_verdict() -> None:
    loss = DistillationLoss(terms={"kl": LossTerm(KL()), "ce": LossTerm(CrossEntropy(), where="wrong_teacher")})
    loss.use_verdicts(JUDGED)
    student = torch.randn(5, 2, requires_grad=True)
    loss(student, TEACHER, LABEL, index=INDEX).losses["ce"].backward()
    assert (student.grad != 0).any(dim=1).tolist() == [False, True, False, False, True]


@pytest.mark.parametrize("teacher", [TEACHER, None], ids=["with a teacher", "without"])
def test_a_trusted_label_is_one_that_no_audit_blames(teacher: torch.Tensor | None) -> None:
    terms = {"ce": LossTerm(CrossEntropy(), where="trusted_label")}
    if teacher is not None:
        terms["kl"] = LossTerm(KL(), weight=0.0)
    loss = DistillationLoss(terms=terms)
    label = torch.where(INDEX == 0, -1, LABEL)

    def learned() -> list[bool]:
        student = torch.randn(5, 2, requires_grad=True)
        loss(student, teacher, label, index=INDEX).losses["ce"].backward()
        return (student.grad != 0).any(dim=1).tolist()

    assert learned() == [False, True, True, True, True]
    loss.use_verdicts(JUDGED)
    assert learned() == [False, True, False, True, True]


def test_a_term_by_verdict_needs_an_audit_and_an_audit_the_positions() -> None:
    loss = DistillationLoss(terms={"kl": LossTerm(KL(), where="wrong_label")})
    with pytest.raises(InputError, match="there is no audit: give --audit"):
        loss(torch.zeros(5, 2), TEACHER, LABEL, index=INDEX)
    loss.use_verdicts(JUDGED)
    with pytest.raises(InputError, match="give index="):
        loss(torch.zeros(5, 2), TEACHER, LABEL)


@pytest.mark.parametrize("recipe", ["ka-ps", "lr", "corrected-cmkd"])
def test_with_verdicts_that_blame_the_teacher_everywhere_nothing_changes(recipe: str) -> None:
    plain, judged = scored(recipe, size=5), scored(recipe, size=5)
    judged.use_verdicts(torch.full((5,), WRONG_TEACHER))
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 4, generator=generator)
    teacher, label = torch.randn(5, 4, generator=generator), torch.tensor([0, 1, 2, 3, -1])
    for name, value in plain(student, teacher, label, index=INDEX).losses.items():
        assert torch.equal(judged(student, teacher, label, index=INDEX).losses[name], value)


def test_verdicts_are_no_part_of_the_saved_state() -> None:
    loss = DistillationLoss(correction=ProbabilityShift(), loss=KL())
    before = set(loss.state_dict())
    loss.use_verdicts(JUDGED)
    assert set(loss.state_dict()) == before
