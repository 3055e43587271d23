"""The loss of mixed inputs: each of the two labels has its share."""

import numpy as np
import pytest
import torch
from torch import Tensor

from preceptor import CrossEntropy, DistillationLoss, DropWrong, LossTerm, ProbabilityShift
from preceptor.context import UNLABELED, MixedLabels
from preceptor.errors import InputError
from tests.conformance import references as plain

SHARE = [0.75, 0.5, 0.2, 1.0, 0.9]
LABEL, PARTNER = [0, 1, 2, UNLABELED, 3], [2, 1, UNLABELED, 0, 0]


def logits(seed: int) -> Tensor:
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mixed(partner: list[int] = PARTNER) -> MixedLabels:
    return MixedLabels(torch.tensor(partner), torch.tensor(SHARE))


def test_label_losses_are_shared_and_losses_are_not():
    """Recipe kd against NumPy, sample by sample; an unlabeled image has no part in the label loss."""
    student, teacher = logits(1), logits(2)
    output = DistillationLoss.from_recipe("kd")(student, teacher, torch.tensor(LABEL), mixed=mixed())
    of_class = [plain.cross_entropy(student.numpy(), [y] * 5) for y in range(4)]
    shared = [
        (s * of_class[y][n] if y != UNLABELED else 0) + ((1 - s) * of_class[p][n] if p != UNLABELED else 0)
        for n, (s, y, p) in enumerate(zip(SHARE, LABEL, PARTNER, strict=True))
    ]
    soft = np.log([plain.softmax(row / 4.0) for row in teacher.numpy()])
    assert float(output["ce"]) == pytest.approx(0.1 * np.mean(shared))
    assert float(output["kl"]) == pytest.approx(0.9 * plain.kl(student.numpy(), soft, 4.0, LABEL).mean())
    assert float(output.total) == pytest.approx(float(output["ce"] + output["kl"]))


def test_cross_entropy_is_that_of_the_mixed_one_hot_labels():
    student, label = logits(3).requires_grad_(), torch.tensor([0, 1, 2, 3, 3])
    both = mixed([2, 1, 0, 0, 1])
    output = DistillationLoss(label_loss=CrossEntropy())(student, None, label, mixed=both)
    one_hot = torch.nn.functional.one_hot
    share = both.share.double()[:, None]
    target = share * one_hot(label, 4) + (1 - share) * one_hot(both.partner, 4)
    expected = torch.nn.functional.cross_entropy(student, target)
    torch.testing.assert_close(output.total, expected)
    gradients = [torch.autograd.grad(one, student, retain_graph=True)[0] for one in (output.total, expected)]
    torch.testing.assert_close(*gradients)


def test_a_share_of_one_is_the_plain_loss():
    student, teacher, label = logits(1), logits(2), torch.tensor(LABEL)
    loss = DistillationLoss.from_recipe("kd")
    whole = MixedLabels(torch.tensor(PARTNER), torch.ones(5))
    torch.testing.assert_close(loss(student, teacher, label, mixed=whole).total, loss(student, teacher, label).total)


def test_the_label_of_the_larger_share_leads():
    assert mixed().leading(torch.tensor(LABEL)).tolist() == [0, 1, UNLABELED, UNLABELED, 3]


@pytest.mark.parametrize(
    ("slots", "complaint"),
    [
        ({"correction": ProbabilityShift()}, "correction probability_shift compares the teacher's class"),
        ({"selection": DropWrong()}, "selection drop_wrong weighs samples"),
        ({"terms": {"ce": LossTerm(CrossEntropy(), where="labeled")}}, r"term 'ce' .* \(where: labeled\)"),
    ],
)
def test_what_decides_by_the_label_is_refused(slots, complaint):
    loss = DistillationLoss(**{"label_loss": None, "terms": {"ce": LossTerm(CrossEntropy())}, **slots})
    with pytest.raises(InputError, match=rf"{complaint}.*and a mixed image has two labels: leave mixup"):
        loss(logits(1), logits(2), torch.tensor([0, 1, 2, 3, 3]), mixed=mixed([2, 1, 0, 0, 1]))
    loss(logits(1), logits(2), torch.tensor([0, 1, 2, 3, 3]))


def test_labels_of_partners_are_checked():
    with pytest.raises(InputError, match="label 4 is outside the 4 classes"):
        DistillationLoss(label_loss=CrossEntropy())(logits(1), None, torch.tensor(LABEL), mixed=mixed([4, 1, 2, 0, 0]))
