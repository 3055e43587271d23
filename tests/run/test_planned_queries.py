"""What a run will ask, foretold, against what a training asks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, recipe
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.run.planned_queries import check_coverage, coverage, questions
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, open_cache
from preceptor.training import Student, TrainingConfig, fit
from tests.classroom import digits, few, network

KD = {"terms": {"kl": {"loss": "kl"}, "ce": {"label_loss": "cross_entropy"}}}
HALF = {**KD, "selection": {"name": "random", "keep": 0.5}}
LATE = {"terms": {"ce": {"label_loss": "cross_entropy"}, "kl": {"loss": "kl", "since": 0.4, "until": 0.9}}}
ALONE = {"terms": {"ce": {"label_loss": "cross_entropy"}}}
RULE = CropFlip(padding=1, flip=False)


class Noting:
    """A teacher that notes what it is asked."""

    classes = 10

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.asked += zip(index.tolist(), view.tolist(), strict=True)
        return TeacherOutput(torch.zeros(len(images), 10))


def chain_of(content: dict[str, Any], tmp_path: Any) -> DistillationLoss:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    loss = DistillationLoss(**recipe(path))
    if loss.needs_fit:
        logits = ModelOutputs(torch.zeros(40, 10))
        labels = digits().train.labels[few(40)]
        loss.fit(
            SelectionData(few(40), labels, None, (TeacherSnapshot(1.0, logits, None),), False, len(digits().train))
        )
    return loss


@pytest.mark.parametrize("batch_size", [13, 16, 40, 64], ids="batches of {}".format)
@pytest.mark.parametrize("content", [KD, HALF, LATE], ids=["always", "of half of them", "for a while"])
def test_what_is_foretold_is_what_is_asked(content: dict[str, Any], batch_size: int, tmp_path: Any) -> None:
    """With batches of 13 a single image is left over of 40, and joins the batch before it."""
    loss, teacher = chain_of(content, tmp_path), Noting()
    training = TrainingConfig(epochs=3, batch_size=batch_size)
    foretold = [
        pair
        for index, view in questions(loss, few(40), RULE, training, seed=5)
        for pair in zip(index.tolist(), view.tolist(), strict=True)
    ]
    pupils = [Student("student", network(0), loss)]
    data = digits()
    list(fit(pupils, data.train, few(40), RULE, data.normalization, training, teacher=teacher, seed=5))
    assert foretold == teacher.asked
    assert len(foretold) > 0


def test_of_a_chain_without_a_teacher_nothing_is_foretold(tmp_path: Any) -> None:
    asked = questions(chain_of(ALONE, tmp_path), few(40), RULE, TrainingConfig(epochs=2), seed=0)
    assert [len(index) for index, _ in asked] == [0, 0]


def bank_of(tmp_path: Any, cells: list[tuple[int, int]]) -> Any:
    fingerprint = CacheKey(teacher="t", data="d", normalization={}, views={}, class_names=tuple("0123456789"))
    cache = open_cache(tmp_path / "cache", fingerprint, Layout(samples=6, views=9, classes=10), Noting())
    index, view = torch.tensor(cells, dtype=torch.int64).reshape(-1, 2).unbind(1)
    cache.learn(torch.zeros(len(cells), 1, 8, 8, dtype=torch.uint8), index, view)
    return cache


def test_coverage_counts_questions_cells_and_gaps(tmp_path: Any) -> None:
    cache = bank_of(tmp_path, [(0, 3), (5, 8), (2, 2)])
    asked = [(torch.tensor([0, 4, 5]), torch.tensor([3, 1, 8])), (torch.tensor([0, 5, 4]), torch.tensor([3, 7, 1]))]
    found = coverage(cache, asked)
    assert (found.asked, found.cells, found.missing, found.first_missing) == (6, 4, 2, (4, 1))
    told = r"holds nothing of 2 of the 4 views that this run shows its student, the first sample 4, view 1: give"
    with pytest.raises(InputError, match=told):
        check_coverage(cache, found)


def test_what_is_all_there_is_no_error(tmp_path: Any) -> None:
    cache = bank_of(tmp_path, [(0, 3), (5, 8)])
    found = coverage(cache, [(torch.tensor([5, 0]), torch.tensor([8, 3]))])
    assert (found.asked, found.cells, found.missing, found.first_missing) == (2, 2, 0, None)
    check_coverage(cache, found)
