"""A pupil's state from a checkpoint is taken for its kind, not for its word."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor.training import TrainingConfig
from preceptor.training.student import Seat
from tests.classroom import digits, pupil, same_bits, taught

CPU = torch.device("cpu")


def seat(schedule: str = "cosine", epochs: int = 2) -> Seat:
    """In the middle of a training of several terms, one of them with beliefs."""
    one, training = pupil("corrected-self-adaptive"), TrainingConfig(epochs=epochs, batch_size=16, schedule=schedule)
    taught([one], training=training)
    sat = Seat(one, training, CPU, len(digits().train))
    logits = one.student(torch.rand(10, 1, 8, 8))
    sum(parameter.square().sum() for parameter in one.student.parameters()).backward()
    sat.optimizer.step()
    sat.scheduler.step()
    sat.tally.losses, sat.tally.counts = {"total": logits.sum().detach()}, {"right": torch.tensor(3)}
    return sat


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_a_sound_state_is_taken_as_it_is(schedule: str) -> None:
    one = seat(schedule)
    found = one.fitting(deepcopy(one.state()))
    assert found["scheduler"] == one.state()["scheduler"]
    assert type(found["scheduler"].get("milestones")) is type(one.state()["scheduler"].get("milestones"))
    assert found["optimizer"]["param_groups"] == one.state()["optimizer"]["param_groups"]
    assert found["optimizer"]["state"].keys() == one.state()["optimizer"]["state"].keys()
    assert found["tally"] == one.state()["tally"]
    for part in ("student", "chain"):
        assert same_bits(found[part], one.state()[part])
    one.resume(found)


def test_what_another_version_knows_is_left_out_and_what_it_lacks_is_added() -> None:
    one = seat()
    state = deepcopy(one.state())
    state["scheduler"] |= {"optimizer": "mine", "step": 3}
    del state["scheduler"]["eta_min"]
    state["optimizer"]["param_groups"][0]["unheard_of"] = 1
    del state["optimizer"]["param_groups"][0]["foreach"]
    one.resume(state)
    assert one.scheduler.optimizer is one.optimizer
    assert callable(one.scheduler.step)
    assert one.scheduler.eta_min == 0
    assert one.optimizer.param_groups[0]["foreach"] is True
    assert "unheard_of" not in one.optimizer.param_groups[0]


def leaves(state: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The paths to all values."""
    if isinstance(state, dict | list) and state:
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves(value, *path, key)
    else:
        yield path


def changed(state: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = there = deepcopy(state)
    for key in path[:-1]:
        there = there[key]
    there[path[-1]] = value
    return made


def test_whatever_is_of_another_kind_is_refused() -> None:
    one = seat("steps")
    state = one.state()
    paths = [path for path in leaves(state) if path[-1] != "milestones"]
    assert len(paths) > 40
    for path in paths:
        for value in ("text", torch.zeros(2, 2, 2, 2, 2), [], {"a": 1}):
            with pytest.raises((ValueError, LookupError, RuntimeError, TypeError, AttributeError)):
                seat_again(one).resume(changed(state, path, value))


def seat_again(one: Seat) -> Seat:
    return Seat(one.pupil, TrainingConfig(epochs=2, schedule="steps"), CPU, len(digits().train))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("lowered",), -1, "lowered is -1, not a number from 0 on"),
        (("lowered",), True, "lowered is True"),
        (("tally", "samples"), 1.5, r"tally.samples is 1.5"),
        (("tally", "losses"), {"kl": torch.zeros(2)}, "not one number"),
        (("scheduler", "last_epoch"), float("nan"), "scheduler.last_epoch is nan, not a number that float32 holds"),
        (("scheduler", "last_epoch"), 10**400, "scheduler.last_epoch is 10+, not a number that float32 holds"),
        (("optimizer", "param_groups", 0, "lr"), 1e300, r"lr is 1e\+300, not a number that float32 holds"),
        (("optimizer", "param_groups", 0, "lr"), float("-inf"), "lr is -inf, not"),
        (("tally", "samples"), 2**63, "tally.samples is 9"),
        (("optimizer", "param_groups"), [], r"optimizer is \[\], not 1 values"),
        (("optimizer", "param_groups", 0, "params"), [0], "values"),
        (("optimizer", "state", 99), {"momentum_buffer": None}, "99 is no parameter"),
        (("optimizer", "state", 0), {"momentum_buffer": torch.zeros(1)}, "the momentum of parameter 0 is not"),
        (("chain", "_terms.head.loss.belief"), torch.zeros(3), "belief is"),
        (("student",), [], "student is a list, not a mapping"),
    ],
)
def test_what_is_wrong_is_said(path: tuple[Any, ...], value: Any, message: str) -> None:
    one = seat()
    with pytest.raises(ValueError, match=message):
        one.fitting(changed(one.state(), path, value))


def test_what_begins_empty_may_have_grown() -> None:
    from preceptor.training.state import _tensors_like

    own, grown = {"kept": torch.zeros(0)}, {"kept": torch.zeros(5)}
    assert _tensors_like(grown, own, "chain") == grown
    with pytest.raises(ValueError, match=r"chain\.kept"):
        _tensors_like({"kept": Tensor([1, 2]).long()}, own, "chain")
