"""Items of a Dataset of one's own: the same in every process, in views that numbers decide."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from preceptor.data.items import ItemInputs, ItemViews, check_items, classes_of, labels_of
from preceptor.data.lazy import joined, views_of
from preceptor.errors import InputError
from preceptor.training.batches import TrainingData


class Noisy(Dataset[Any]):
    """Vectors that draw from all three generators, as transforms do."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002
        return torch.tensor([float(number), *drawn]), number % 3


class Broken(Noisy):
    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        if number == 2:
            raise OSError("broken")
        return super().__getitem__(number)


class Named(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {"ids": torch.arange(3) + number, "mask": np.ones(3, dtype=np.int64), "label": number % 2}


def test_a_view_is_the_same_in_every_process_and_batch() -> None:
    requests = [(torch.tensor([3, 1]), torch.tensor([5, 0])), (torch.tensor([1, 9, 3]), torch.tensor([0, 5, 6]))]
    here = list(ItemInputs(Noisy(), "train").batches(requests))
    there = list(ItemInputs(Noisy(), "train", workers=2).batches(requests))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(here[0][1], here[1][0])  # item 1 in view 0, in both batches
    assert not torch.equal(here[0][0], here[1][2])  # item 3 in two views
    assert here[1][1][0] == 9


def test_the_callers_generators_are_left_as_they_were() -> None:
    random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), torch.get_rng_state()
    ItemInputs(Noisy(), "train")[:]
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_indexing_and_joining() -> None:
    items = ItemInputs(Noisy(), "train")
    assert items.shape == (10, 4)
    assert torch.equal(items[4], items[:][4])
    assert items[torch.tensor([7, 2])][:, 0].tolist() == [7, 2]
    assert torch.cat(list(items.take([8, 0, 5]).split(2)))[:, 0].tolist() == [8, 0, 5]
    assert joined(items.take([1]), items.take([9, 2]))[:][:, 0].tolist() == [1, 9, 2]
    assert len(set(items.digests())) == 10
    assert set(items.digests()).isdisjoint(ItemInputs(Noisy(), "test").digests())


def test_items_of_several_tensors() -> None:
    items = ItemInputs(Named(), "train")
    batch = items[[1, 3]]
    assert sorted(batch) == ["ids", "mask"]
    assert batch["ids"].tolist() == [[1, 2, 3], [3, 4, 5]]
    assert items[2]["ids"].tolist() == [2, 3, 4]
    assert items.shape == (4,)
    assert labels_of(Named(), "train").tolist() == [0, 1, 0, 1]


def test_training_batches_come_again_from_the_middle_of_an_epoch() -> None:
    views = ItemViews(1000)
    data = TrainingData(ItemInputs(Noisy(), "train"), labels_of(Noisy(), "train"), augmentation=views)
    plan = data.plan(3, seed=2, epoch=1)
    whole, rest = list(data.batches(plan)), list(data.batches(plan, first=2))
    assert len(whole) == 3  # one left over joins the last
    assert torch.equal(whole[2].inputs, rest[0].inputs)
    other = views_of(data.inputs, whole[0].own_index, whole[0].view + 1, views)
    assert torch.equal(other[:, 0], whole[0].inputs[:, 0])
    assert not torch.equal(other, whole[0].inputs)


class Counted(Noisy):
    """Knows its labels and classes, and counts how often it is asked for an item."""

    classes = ("a", "b", "c")

    def __init__(self) -> None:
        self.targets, self.asked = [number % 3 for number in range(10)], 0

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        self.asked += 1
        return super().__getitem__(number)


def test_a_part_of_a_data_set_has_its_labels_and_classes() -> None:
    whole = Counted()
    part = Subset(Subset(whole, [9, 4, 2, 7]), [3, 0])
    assert labels_of(part, "train").tolist() == [1, 0]
    assert classes_of(part) == ("a", "b", "c")
    assert whole.asked == 0


def test_what_is_no_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="train: a generator has no length"):
        check_items((number for number in range(3)), "train")
    with pytest.raises(InputError, match="train: holds no item"):
        check_items([], "train")
    with pytest.raises(InputError, match="an item is a int; expected"):
        check_items([3, 4], "train")
    with pytest.raises(InputError, match="an item has ids, and none of label, labels, target"):
        check_items([{"ids": 1}], "train")
    with pytest.raises(InputError, match="the label of item 0 is no class number"):
        labels_of([(torch.zeros(2), "cat")], "train")
    with pytest.raises(InputError, match="item 2 cannot be made: OSError: broken"):
        ItemInputs(Broken(), "train")[:]
    with pytest.raises(InputError, match=r"^item 2 cannot be made: OSError: broken$"):
        list(ItemInputs(Broken(), "train", workers=1).split(2))
    ragged = [(torch.zeros(2), 0), (torch.zeros(3), 1)]
    with pytest.raises(InputError, match="cannot be put into one batch"):
        ItemInputs(ragged, "train")[:]
