"""Moments of a training: which epochs are kept, and that they come back in order with their learning rates."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.errors import InputError
from preceptor.models import ModelCard, load_checkpoints, load_student, save_checkpoint
from preceptor.models.checkpoints import kept_epochs
from tests.training_helpers import network, same_bits, weights

CARD = ModelCard(
    architecture="convnet2",
    channels=1,
    classes=10,
    class_names=tuple("0123456789"),
    image_size=(8, 8),
    mean=(0.3,),
    std=(0.2,),
    data="digits",
    preceptor="0.1.0",
    notes={"recipe": "none"},
)


def kept(run: Path, epoch: int, learning_rate: float = 0.1, card: ModelCard = CARD) -> Path:
    """Keep a network drawn from the epoch's number; the file of its card."""
    save_checkpoint(run, network(epoch, "convnet2"), card, epoch=epoch, learning_rate=learning_rate)
    [folder] = (run / "checkpoints").glob(f"*{epoch:05d}")
    return folder / "student.json"


def rewrite_notes(card: Path, notes: dict[str, str]) -> None:
    content: dict[str, Any] = json.loads(card.read_text())
    card.write_text(json.dumps({**content, "notes": notes}))


@pytest.mark.parametrize(
    ("epochs", "checkpoints", "expected"),
    [
        (10, 5, {2, 4, 6, 8, 10}),
        (200, 1, {200}),
        (7, 2, {4, 7}),
        (3, 3, {1, 2, 3}),
        (3, 50, {1, 2, 3}),
        (1, 4, {1}),
        (9, 0, set()),
    ],
)
def test_the_epochs_that_are_kept(epochs: int, checkpoints: int, expected: set[int]) -> None:
    assert kept_epochs(epochs, checkpoints) == expected


@given(epochs=st.integers(1, 60), checkpoints=st.integers(1, 80))
def test_they_are_evenly_spaced_and_end_with_the_last(epochs: int, checkpoints: int) -> None:
    found = sorted(kept_epochs(epochs, checkpoints))
    assert len(found) == min(epochs, checkpoints)
    assert found[0] >= 1
    assert found[-1] == epochs
    gaps = [after - before for before, after in zip([0, *found], found, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_a_checkpoint_is_a_student_of_its_own_with_its_learning_rate(tmp_path: Path) -> None:
    rate = 0.1 + 0.2  # not a short decimal
    kept(tmp_path, 4, rate)
    [(found, folder)] = load_checkpoints(tmp_path)
    assert found == rate
    student, card = load_student(folder)
    assert same_bits(weights(student), weights(network(4, "convnet2")))
    assert card.notes == {"recipe": "none", "epoch": "4", "learning_rate": repr(rate)}
    assert card.model_copy(update={"notes": CARD.notes}) == CARD
    assert CARD.notes == {"recipe": "none"}


def test_it_is_the_network_at_that_moment(tmp_path: Path) -> None:
    trained = network(1, "convnet2")
    before = weights(trained)
    save_checkpoint(tmp_path, trained, CARD, epoch=1, learning_rate=0.1)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(1)
    [(_, folder)] = load_checkpoints(tmp_path)
    assert same_bits(weights(load_student(folder)[0]), before)


def test_they_come_oldest_first_however_they_were_written(tmp_path: Path) -> None:
    rates = {100: 0.001, 2: 0.1, 10: 0.02, 9: 0.05}
    for epoch, rate in rates.items():
        kept(tmp_path, epoch, rate)
    found = load_checkpoints(tmp_path)
    assert [rate for rate, _ in found] == [0.1, 0.05, 0.02, 0.001]
    assert [load_student(folder)[1].notes["epoch"] for _, folder in found] == ["2", "9", "10", "100"]


def test_a_run_that_kept_none_has_none(tmp_path: Path) -> None:
    assert load_checkpoints(tmp_path) == []
    assert load_checkpoints(tmp_path / "no such run") == []


@pytest.mark.parametrize("notes", [{}, {"epoch": "2"}, {"learning_rate": "fast"}, {"learning_rate": ""}])
def test_one_that_does_not_say_its_learning_rate_is_named(tmp_path: Path, notes: dict[str, str]) -> None:
    kept(tmp_path, 1)
    card = kept(tmp_path, 2)
    rewrite_notes(card, notes)
    with pytest.raises(InputError, match="learning rate") as caught:
        load_checkpoints(tmp_path)
    assert str(caught.value).startswith(f"{card}: ")
    assert "\n" not in str(caught.value)


def test_one_that_is_not_whole_is_named(tmp_path: Path) -> None:
    kept(tmp_path, 1)
    card = kept(tmp_path, 2)
    card.unlink()
    with pytest.raises(InputError, match="epoch-00002") as caught:
        load_checkpoints(tmp_path)
    assert str(caught.value).startswith(f"{card}: ")


def test_a_network_that_is_not_the_cards_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not fit architecture 'convnet2'"):
        save_checkpoint(tmp_path, network(0, "convnet4"), CARD, epoch=1, learning_rate=0.1)
    assert load_checkpoints(tmp_path) == []
