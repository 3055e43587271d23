import dataclasses
from pathlib import Path

import pytest
import torch

from preceptor.errors import InputError, NetworkFitted
from preceptor.models import load_student, save_student
from preceptor.run.class_names import match_classes
from preceptor.run.members import load_network
from tests.training_helpers import digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMED = dataclasses.replace(digits(), class_names=NAMES)
CPU = torch.device("cpu")


def permuted(teacher: Path, folder: Path, order: torch.Tensor, names: tuple[str, ...]) -> Path:
    """The same network, its outputs and their names in another order."""
    network, card = load_student(teacher)
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight[order])
        network.head.bias.copy_(network.head.bias[order])
    save_student(folder, network, card.model_copy(update={"class_names": tuple(names[place] for place in order)}))
    return folder


def test_a_teacher_in_another_order_gives_the_same_logits(teacher: Path, tmp_path: Path) -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    shuffled = permuted(teacher, tmp_path / "permuted", order, NAMES)
    with pytest.warns(NetworkFitted, match=r"its 10 classes are matched by name to the 10 of digits"):
        other, _ = load_network(shuffled, NAMED, CPU)
    images = digits().train.images[:50]
    original, _ = load_network(teacher, digits(), CPU)
    torch.testing.assert_close(other(images), original(images))
    for optimized in (other.optimize_for_inference(bf16=False), other.with_features(["head"])):
        index = torch.arange(50)
        torch.testing.assert_close(optimized.outputs(images, index, index).logits, original(images))


def test_a_teacher_of_more_classes_gives_those_of_the_data(teacher: Path, tmp_path: Path) -> None:
    named = permuted(teacher, tmp_path / "named", torch.arange(10), NAMES)
    few = dataclasses.replace(digits(), class_names=("seven", "two", "nine"))
    with pytest.warns(NetworkFitted, match="its 10 classes are matched by name to the 3 of digits"):
        chosen, _ = load_network(named, few, CPU)
    images = digits().train.images[:50]
    original, _ = load_network(teacher, digits(), CPU)
    torch.testing.assert_close(chosen(images), original(images)[:, [7, 2, 9]])
    assert chosen.classes == 3


def test_wordnet_ids_in_order_are_the_outputs_of_a_network_that_states_words() -> None:
    data = dataclasses.replace(digits(), class_names=("n01440764", "n01443537", "n01484850"))
    assert match_classes("teacher", ("tench", "goldfish", "great white shark"), data) is None
    with pytest.raises(InputError, match="has no class 'n01440764'"):
        match_classes("teacher", ("tench", "goldfish"), data)
    with pytest.raises(InputError, match="has no class 'n01440764'"):
        match_classes("teacher", ("n01484850", "goldfish", "great white shark"), data)
    ids = ("n01484850, shark", "n01440764, tench", "n01443537, goldfish")
    with pytest.warns(NetworkFitted):
        assert match_classes("teacher", ids, data) == (1, 2, 0)


def test_synonyms() -> None:
    data = dataclasses.replace(digits(), class_names=("bee", "ant", "n03"))
    names = ("n01, ant, emmet", "bee fly", "n02, bee", "n03, crane", "n04, crane")
    with pytest.warns(NetworkFitted):
        assert match_classes("teacher", names, data) == (2, 0, 3)
    with pytest.raises(InputError, match="has no class 'crane'"):  # two of its outputs are cranes
        match_classes("teacher", names, dataclasses.replace(data, class_names=("ant", "crane")))


@pytest.mark.parametrize("names", [NAMES, tuple("0123456789")])
def test_plain_numbers_are_no_names(names: tuple[str, ...]) -> None:
    assert match_classes("teacher", names, digits()) is None
    with pytest.raises(InputError, match="has 10 classes, digits has 2: without names"):
        match_classes("teacher", names, dataclasses.replace(digits(), class_names=("0", "1")))


def test_a_class_that_the_teacher_lacks() -> None:
    data = dataclasses.replace(NAMED, class_names=(*NAMES[:9], "ten"))
    with pytest.raises(InputError, match="teacher has no class 'ten' of digits; it has 'zero', 'one'"):
        match_classes("teacher", NAMES, data)
