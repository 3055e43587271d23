import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, LossOutput, recipe
from preceptor.training.metrics import EpochMetrics


def terms(**losses: float) -> LossOutput:
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in losses.items()}
    return LossOutput(tensors, torch.stack(list(tensors.values())).sum(), None)


def logits_predicting(*classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), 4).float()


def test_a_mean_loss_is_over_samples_not_over_steps():
    metrics = EpochMetrics()
    metrics.add(terms(ce=1.0, kl=0.5), logits_predicting(0, 0, 0, 0, 0, 0), torch.zeros(6, dtype=torch.int64))
    metrics.add(terms(ce=4.0, kl=0.5), logits_predicting(0, 0, 0), torch.zeros(3, dtype=torch.int64))
    assert metrics.mean_losses() == pytest.approx({"ce": 2.0, "kl": 0.5, "total": 2.5})


def test_accuracy_is_the_share_of_the_labeled():
    metrics = EpochMetrics()
    metrics.add(terms(ce=0.0), logits_predicting(0, 1, 2, 3), torch.tensor([0, 1, 3, -1]))
    metrics.add(terms(ce=0.0), logits_predicting(3, 3), torch.tensor([-1, 3]))
    assert metrics.accuracy() == pytest.approx(3 / 4)


def test_without_a_label_accuracy_is_zero():
    metrics = EpochMetrics()
    metrics.add(terms(ce=0.0), logits_predicting(0), torch.tensor([-1]))
    assert metrics.accuracy() == 0


def test_an_abstaining_output_is_not_a_class():
    student = torch.tensor([[1.0, 0.0, 0.0, 9.0], [0.0, 1.0, 0.0, 9.0]])
    label = torch.tensor([0, 1])
    metrics = EpochMetrics()
    metrics.add(DistillationLoss(**recipe("kd"))(student, torch.eye(3)[:2], label), student, label)
    assert metrics.accuracy() == 1


def test_the_corrected_are_counted():
    teacher, label = torch.eye(4), torch.tensor([0, 2, 1, -1])  # right, wrong, wrong, unlabeled
    metrics = EpochMetrics()
    for _ in range(2):
        metrics.add(DistillationLoss(**recipe("ka-ps"))(torch.zeros(4, 4), teacher, label), torch.zeros(4, 4), label)
    assert metrics.share("corrected") == pytest.approx(2 / 4)


def test_without_a_teacher_nothing_is_corrected():
    metrics = EpochMetrics()
    metrics.add(terms(ce=0.0), logits_predicting(0), torch.tensor([0]))
    assert metrics.share("corrected") == 0


def test_sums_hold_no_graph():
    metrics = EpochMetrics()
    metrics.add(terms(ce=1.0), logits_predicting(0).requires_grad_(), torch.tensor([0]))
    assert not any(value.requires_grad for value in [*metrics.losses.values(), *metrics.counts.values()])
