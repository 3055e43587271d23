"""What a run will ask, foretold, against what a training asks."""

from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor import Chain, recipe
from preceptor.data import ViewRule
from preceptor.errors import InputError
from preceptor.evidence import Checkpoint, Evidence, Outputs
from preceptor.runs.questions import check_coverage, coverage, questions
from preceptor.teachers.bank import Fingerprint, Layout, open_bank
from preceptor.training import Protocol, Pupil, fit
from tests.classroom import digits, few, network

KD = {"terms": {"kl": {"match": "kl"}, "ce": {"truth": "cross_entropy"}}}
HALF = {**KD, "select": {"stage": "random", "keep": 0.5}}
LATE = {"terms": {"ce": {"truth": "cross_entropy"}, "kl": {"match": "kl", "since": 0.4, "until": 0.9}}}
ALONE = {"terms": {"ce": {"truth": "cross_entropy"}}}
RULE = ViewRule(padding=1, flip=False)


class Noting:
    """A teacher that notes what it is asked."""

    classes = 10

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def said(self, images: Tensor, index: Tensor, view: Tensor) -> Tensor:
        self.asked += zip(index.tolist(), view.tolist(), strict=True)
        return torch.zeros(len(images), 10)


def chain_of(content: dict[str, Any], tmp_path: Any) -> Chain:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    chain = Chain(**recipe(path))
    if chain.needs_fit:
        logits = Outputs(torch.zeros(40, 10))
        labels = digits().train.labels[few(40)]
        chain.fit(Evidence(few(40), labels, None, (Checkpoint(1.0, logits, None),), False, len(digits().train)))
    return chain


@pytest.mark.parametrize("batch_size", [13, 16, 40, 64], ids="batches of {}".format)
@pytest.mark.parametrize("content", [KD, HALF, LATE], ids=["always", "of half of them", "for a while"])
def test_what_is_foretold_is_what_is_asked(content: dict[str, Any], batch_size: int, tmp_path: Any) -> None:
    """With batches of 13 a single image is left over of 40, and joins the batch before it."""
    chain, teacher = chain_of(content, tmp_path), Noting()
    protocol = Protocol(epochs=3, batch_size=batch_size)
    foretold = [
        pair
        for index, view in questions(chain, few(40), RULE, protocol, seed=5)
        for pair in zip(index.tolist(), view.tolist(), strict=True)
    ]
    pupils = [Pupil("student", network(0), chain)]
    data = digits()
    list(fit(pupils, data.train, few(40), RULE, data.normalisation, protocol, teacher=teacher, seed=5))
    assert foretold == teacher.asked
    assert len(foretold) > 0


def test_of_a_chain_without_a_teacher_nothing_is_foretold(tmp_path: Any) -> None:
    asked = questions(chain_of(ALONE, tmp_path), few(40), RULE, Protocol(epochs=2), seed=0)
    assert [len(index) for index, _ in asked] == [0, 0]


def bank_of(tmp_path: Any, cells: list[tuple[int, int]]) -> Any:
    fingerprint = Fingerprint(teacher="t", data="d", normalisation={}, views={}, class_names=tuple("0123456789"))
    bank = open_bank(tmp_path / "bank", fingerprint, Layout(samples=6, views=9, classes=10), Noting())
    index, view = torch.tensor(cells, dtype=torch.int64).reshape(-1, 2).unbind(1)
    bank.learn(torch.zeros(len(cells), 1, 8, 8, dtype=torch.uint8), index, view)
    return bank


def test_coverage_counts_questions_cells_and_gaps(tmp_path: Any) -> None:
    bank = bank_of(tmp_path, [(0, 3), (5, 8), (2, 2)])
    asked = [(torch.tensor([0, 4, 5]), torch.tensor([3, 1, 8])), (torch.tensor([0, 5, 4]), torch.tensor([3, 7, 1]))]
    found = coverage(bank, asked)
    assert (found.asked, found.cells, found.missing, found.first_missing) == (6, 4, 2, (4, 1))
    told = r"holds nothing of 2 of the 4 views that this run shows its student, the first sample 4, view 1: give"
    with pytest.raises(InputError, match=told):
        check_coverage(bank, found)


def test_what_is_all_there_is_no_error(tmp_path: Any) -> None:
    bank = bank_of(tmp_path, [(0, 3), (5, 8)])
    found = coverage(bank, [(torch.tensor([5, 0]), torch.tensor([8, 3]))])
    assert (found.asked, found.cells, found.missing, found.first_missing) == (2, 2, 0, None)
    check_coverage(bank, found)
