"""Every case runs on a few hundred samples, in this process, and is compared with what is stated."""

import time

import pytest

from experiments.bench import load
from tests.experiments.speed.tiny import machine

FEW = 300
TAUGHT = round(0.7 * 0.9 * FEW)


@pytest.mark.parametrize("name", load.CASES)
def test_every_case_goes_through_all_samples(name: str) -> None:
    measured = load.measure(name, FEW)
    counts = {key: measured[key] for key in measured if key.startswith(("samples_", "entries"))}
    expected = {"samples_answered": FEW, "samples_measured": FEW, "entries": FEW, "samples_taught": TAUGHT}
    assert counts == {key: expected[key] for key in counts}
    assert len(counts) == 1
    assert load.exceeded([measured]) == []


def case(**changes: object) -> dict:
    usual = {"case": "evaluation of a student", "holds": "logits", "stated_mib": 2048.0, "seconds": 61.4}
    return {**usual, "more_at_the_peak_mib": 1024.0, "more_of_its_own_mib": 512.0, **changes}


def test_what_is_stated_grows_with_the_samples() -> None:
    stated = load.CASES["evaluation of a student"][0]
    more = stated.mib(2 * load.SAMPLES) - stated.mib(load.SAMPLES)
    assert more == pytest.approx(load.SAMPLES * (4000 + 64 + 640) / 2**20)
    assert load.stated_for("tracin").columns == 2 * (4000 + 64)


def test_a_case_that_holds_too_much_is_noticed() -> None:
    over = case(more_at_the_peak_mib=2049.0)
    mapped = case(case="cache, top 50: fill, look up", more_at_the_peak_mib=9000.0)
    assert load.exceeded([case(), over, mapped]) == ["evaluation of a student"]
    assert load.exceeded([{**mapped, "more_of_its_own_mib": 2050.0}]) == [mapped["case"]]


def test_everything_is_shown() -> None:
    content = {
        "samples": 1_000_000,
        "classes": 1000,
        "image": "8 x 8",
        "resamples": 10,
        "machine": machine().model_dump(mode="json"),
        "cases": [case(), case(case="cache, top 50: fill, look up")],
    }
    shown = load.markdown(content)
    assert "| evaluation of a student | logits | 2.00 | 1.00 | 61 |" in shown
    assert "| cache, top 50: fill, look up | logits | 2.00 | 0.50 | 61 |" in shown
    assert "1,000,000 samples of 1,000 classes" in shown


def test_memory_of_its_own_is_seen_while_it_is_held() -> None:
    measured: dict[str, float] = {}
    with load.own_memory(measured):
        held = bytearray(64 * 2**20)
        held[::4096] = b"\1" * len(held[::4096])
        time.sleep(0.5)  # fifty looks
        del held
    assert measured["own_mib"] >= 50
