"""Self-adaptive training against NumPy, and what becomes of its beliefs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor import CrossEntropy, DistillationLoss, InputError, LossTerm
from preceptor.abstention import SelfAdaptive, self_adaptive_loss
from preceptor.training import Student
from tests.training_helpers import digits, few, network, train

LOGITS = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 1.0, 0.0, -2.0]], dtype=torch.float64)
LABEL = torch.tensor([0, 2])


def softmax(row):
    return np.exp(row) / np.exp(row).sum()


def by_hand(visits: list[np.ndarray], label: int, momentum: float) -> tuple[float, float]:
    """Loss of the last visit and the belief after it, with the whole vector of soft labels kept as published."""
    target = np.eye(len(visits[0]) - 1)[label]
    for logits in visits:
        target = momentum * target + (1 - momentum) * softmax(logits[:-1])
        p = softmax(logits)
    return -target[label] * np.log(p[label]) - (1 - target[label]) * np.log(p[-1]), target[label]


@given(seed=st.integers(0, 2**32 - 1), visits=st.integers(1, 6), momentum=st.floats(0, 1))
def test_one_number_a_sample_does_what_the_whole_vector_does(seed, visits, momentum):
    logits = torch.randn(visits, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    label, index = torch.tensor([0, 3, 1]), torch.tensor([7, 2, 4])
    component = SelfAdaptive(momentum).double()
    component.expect_samples(9)
    for visit in logits:
        loss = component(visit, label, index)
    for place in range(3):
        expected, belief = by_hand([visit[place].numpy() for visit in logits], int(label[place]), momentum)
        assert float(loss[place]) == pytest.approx(expected)
        assert float(component.belief[index[place]]) == pytest.approx(belief)
    assert set(component.belief[[0, 1, 3, 5, 6, 8]].tolist()) == {1.0}  # never visited


def test_whoever_is_fully_believed_learns_by_cross_entropy_over_all_outputs():
    loss = self_adaptive_loss(LOGITS, LABEL, torch.ones(2))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(LOGITS, LABEL, reduction="none"))


def test_what_is_not_believed_is_kept_back():
    logits = LOGITS.clone().requires_grad_()
    self_adaptive_loss(logits, LABEL, torch.zeros(2)).sum().backward()
    assert (logits.grad[:, -1] < 0).all()
    assert (logits.grad[:, :-1] > 0).all()


def test_beliefs_rest_in_eval_mode_and_no_gradient_goes_through_them():
    component = SelfAdaptive()
    component.expect_samples(5)
    component.eval()
    component(LOGITS.float(), LABEL, torch.tensor([1, 3]))
    assert component.belief.tolist() == [1.0] * 5
    assert not component.train()(LOGITS.float(), LABEL, torch.tensor([1, 3])).requires_grad


def test_in_the_loop_doubt_gathers_where_labels_are_wrong():
    loss = DistillationLoss(
        terms={"ce": LossTerm(CrossEntropy(), until=0.34), "sat": LossTerm(SelfAdaptive(0.5), since=0.34)}
    )
    index = few(40)
    train([Student("sat", network(outputs=11), loss)], training=_training(), teacher=None)
    belief = loss.terms["sat"].loss.belief
    untouched = torch.ones(len(digits().train), dtype=torch.bool)
    untouched[index] = False
    assert len(belief) == len(digits().train)
    assert (belief[untouched] == 1).all()
    assert ((belief[index] > 0) & (belief[index] < 1)).all()


def _training():
    from preceptor.training import TrainingConfig

    return TrainingConfig(epochs=3, batch_size=16)


def test_missing_arguments():
    loss = DistillationLoss(terms={"sat": LossTerm(SelfAdaptive())})
    with pytest.raises(InputError, match="keeps a value for every sample: give index="):
        loss(LOGITS.float(), None, LABEL)
    with pytest.raises(InputError, match=r"call loss.expect_samples\(len\(training_set\)\) first"):
        loss(LOGITS.float(), None, LABEL, index=LABEL)
    with pytest.raises(InputError, match=r"momentum = 1\.5: expected 0 to 1"):
        SelfAdaptive(1.5)
