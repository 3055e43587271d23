"""Student-label mixing: the student may be surer than a doubtful teacher."""

import torch

from preceptor.losses import SLaM, kl_divergence, mixed_log_probs
from tests.recalibrations.test_recalibrations import calibrated, data


def fitted() -> SLaM:
    component = SLaM()
    component.fit(data(*calibrated()))
    return component


def test_a_reliable_teacher_makes_it_plain_distillation() -> None:
    logits, _ = calibrated(30)
    log_q = logits.log_softmax(dim=1)
    torch.testing.assert_close(mixed_log_probs(log_q, torch.ones(30)), log_q)


def test_a_teacher_that_guesses_teaches_nothing() -> None:
    logits, _ = calibrated(30)
    student = logits.clone().requires_grad_()
    mixed = mixed_log_probs(student.log_softmax(dim=1), torch.full((30,), 0.25))
    torch.testing.assert_close(mixed.exp(), torch.full_like(mixed, 0.25))
    mixed.sum().backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros_like(student))


def test_the_mixture_is_a_distribution() -> None:
    logits, _ = calibrated(30)
    mixed = mixed_log_probs(logits.log_softmax(dim=1), torch.linspace(0.25, 1, 30))
    torch.testing.assert_close(mixed.exp().sum(dim=1), torch.ones(30))


def test_a_student_surer_than_a_doubtful_teacher_has_the_smaller_loss() -> None:
    doubtful = torch.tensor([[1.5, 0.0, 0.0, 0.0]])
    sure, label = 4 * doubtful, torch.tensor([0])
    of_teacher, of_sure = (float(fitted()(student, doubtful, 1.0, label)) for student in (doubtful, sure))
    assert of_sure < of_teacher
    assert float(kl_divergence(sure, doubtful.log_softmax(dim=1))) > 0.1
