import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given

from preceptor.context import UNLABELED, BatchContext, at_class, column, is_class, predicted_class
from tests.strategies import LogitBatch, logit_batches


def context_of(batch: LogitBatch) -> BatchContext:
    return BatchContext(batch.student, batch.teacher, batch.label, batch.teacher_class)


@given(logit_batches())
def test_the_predicted_class_is_the_first_of_the_largest(batch: LogitBatch) -> None:
    np.testing.assert_array_equal(predicted_class(batch.teacher).numpy(), batch.teacher.numpy().argmax(axis=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ties_go_to_the_smallest_index(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1, 3, 3, 3], [0, 0, 0, 0], [-1e4, -1e4, 1e4, 1e4], [5, 4, 3, 5]], dtype=dtype)
    assert predicted_class(logits).tolist() == [1, 0, 2, 0]


def test_infinite_logits_have_a_predicted_class_and_nan_stays_in_range() -> None:
    infinite, nan = float("inf"), float("nan")
    assert predicted_class(torch.tensor([[0.0, infinite, infinite], [-infinite, -infinite, 0.0]])).tolist() == [1, 2]
    assert predicted_class(torch.tensor([[0.0, nan, 1.0]])).tolist() == [2]


@given(logit_batches(unlabeled=True))
def test_every_sample_is_right_wrong_or_unlabeled(batch: LogitBatch) -> None:
    context = context_of(batch)
    for i, label in enumerate(batch.label.tolist()):
        top = int(batch.teacher[i].numpy().argmax())
        expected = (label != UNLABELED, label == top, label not in (UNLABELED, top))
        assert (bool(context.labeled[i]), bool(context.right[i]), bool(context.wrong[i])) == expected


def test_a_context_cannot_be_changed() -> None:
    context = BatchContext(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1).long(), torch.zeros(1).long())
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.progress = 0.5  # type: ignore[misc]


def test_a_temperature_is_shaped_to_divide_logits() -> None:
    assert column(4.0) == 4.0
    assert column(torch.tensor(4.0)).shape == ()  # type: ignore[union-attr]
    assert torch.equal(torch.ones(2, 3) / column(torch.tensor([1.0, 2.0])), torch.tensor([[1.0] * 3, [0.5] * 3]))


def test_values_and_masks_at_one_class_of_each_row() -> None:
    values, index = torch.arange(6.0).view(2, 3), torch.tensor([2, 0])
    assert at_class(values, index).tolist() == [2.0, 3.0]
    assert is_class(values, index).tolist() == [[False, False, True], [True, False, False]]
