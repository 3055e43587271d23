import torch
from hypothesis import given

from preceptor import KL, BatchContext, CrossEntropy, DistillationLoss, DropWrong, LossTerm
from tests.strategies import LogitBatch, logit_batches


def context_of(batch: LogitBatch) -> BatchContext:
    return BatchContext(batch.student, batch.teacher, batch.label, batch.teacher_class)


@given(logit_batches(unlabeled=True))
def test_the_teacher_is_ignored_where_it_is_wrong_and_nowhere_else(batch: LogitBatch) -> None:
    weights = DropWrong()(context_of(batch))
    for weight, y, logits in zip(weights.tolist(), batch.label.tolist(), batch.teacher.numpy(), strict=True):
        assert weight == (0.0 if y >= 0 and logits.argmax() != y else 1.0)


def test_ties_go_to_the_smallest_index() -> None:
    teacher = torch.tensor([[2.0, 2.0, 0.0]] * 3)
    label = torch.tensor([0, 1, -1])
    assert DropWrong()(BatchContext(teacher, teacher, label, torch.zeros(3).long())).tolist() == [1.0, 0.0, 1.0]


@given(logit_batches(unlabeled=True))
def test_a_dropped_sample_is_as_good_as_never_taught(batch: LogitBatch) -> None:
    student = batch.student.clone().requires_grad_()
    loss = DistillationLoss(selection=DropWrong(), loss=KL())
    loss(student, batch.teacher, batch.label).total.backward()
    gradient = student.grad
    assert gradient is not None
    assert (gradient[batch.wrong] == 0).all()
    used = batch.student[~batch.wrong].clone().requires_grad_()
    if len(used):
        DistillationLoss(loss=KL())(used, batch.teacher[~batch.wrong], batch.label[~batch.wrong]).total.backward()
        assert used.grad is not None
        torch.testing.assert_close(gradient[~batch.wrong], used.grad * len(used) / len(student))


def test_it_limits_the_losses_and_leaves_the_label_loss_alone() -> None:
    teacher, label = torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1])
    student = torch.zeros(2, 2, requires_grad=True)
    DistillationLoss(selection=DropWrong(), terms={"ce": LossTerm(CrossEntropy())}, loss=None)(
        student, teacher, label
    ).total.backward()
    torch.testing.assert_close(student.grad, torch.tensor([[-0.25, 0.25], [0.25, -0.25]]))
