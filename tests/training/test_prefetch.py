from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from preceptor.training.batches import Batch
from preceptor.training.prefetch import prefetched
from preceptor.training.step import Step
from tests.classroom import pupil, same_bits, taught, weights

CPU = torch.device("cpu")


def step(number: int) -> Step:
    some = torch.zeros(1, dtype=torch.int64)
    batch = Batch(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), some, some, some, some)
    return Step(0, number, 0.0, 0, batch, torch.zeros(1, 1, 2, 2), None)


def making(count: int, log: list[str]) -> Iterator[Step]:
    for number in range(count):
        log.append(f"make {number}")
        yield step(number)


def test_each_step_is_made_one_ahead_and_none_is_lost():
    log: list[str] = []
    for one in prefetched(making(3, log), CPU):
        log.append(f"take {one.number}")
    assert log == ["make 0", "make 1", "take 0", "make 2", "take 1", "take 2"]


def test_no_steps_at_all():
    assert list(prefetched(iter([]), CPU)) == []


def test_what_fails_in_the_making_is_raised():
    def failing() -> Iterator[Step]:
        yield step(0)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(prefetched(failing(), CPU))


def test_the_streams_wait_for_each_other(monkeypatch):
    """Making waits for what was there, and taking for each step; nothing that is made waits for what is being taken."""
    log: list[str] = []

    class Stream:
        def __init__(self, name: str = "making") -> None:
            self.name = name

        def wait_stream(self, other: "Stream") -> None:
            log.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def stream(which: Stream) -> Iterator[None]:
        log.append(f"on {which.name}")
        yield

    taking = Stream("taking")
    module = SimpleNamespace(Stream=Stream, stream=stream, current_stream=lambda: taking)
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    for one in prefetched(making(2, log), torch.device("cuda")):
        log.append(f"take {one.number}")
    assert log == [
        "making waits for taking",
        *("on making", "make 0", "taking waits for making"),
        *("on making", "make 1", "take 0", "taking waits for making"),
        *("on making", "take 1"),
    ]


@pytest.mark.parametrize("recipe", ["kd", "ka-dtd", "lr"])
def test_overlapping_changes_no_bit(recipe):
    one, other = pupil(recipe), pupil(recipe)
    first = taught([one], overlap=False)
    second = taught([other], overlap=True)
    assert same_bits(weights(one.student), weights(other.student))
    assert [epoch[0].losses for epoch in first] == [epoch[0].losses for epoch in second]
