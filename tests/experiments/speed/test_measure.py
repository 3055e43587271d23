from dataclasses import dataclass, field
from statistics import median

import pytest

from experiments.speed.cases import find_variants
from experiments.speed.measure import WARM_UP_ROUNDS, in_turns, measure
from tests.experiments.speed.tiny import CASE, CPU


@dataclass
class Fake:
    name: str
    turns: list[str]
    precision: str = "fp32"
    warnings: list[str] = field(default_factory=list)

    def round(self) -> float:
        self.turns.append(self.name)
        return float(len(self.turns))

    def close(self) -> None:
        pass


def test_in_every_round_each_has_a_turn_and_another_begins():
    turns: list[str] = []
    done: list[str] = []
    seconds = in_turns({name: Fake(name, turns) for name in "abc"}, rounds=3, done=done.append, warm_up=1)
    assert "".join(turns) == "abc" + "bca" + "cab" + "abc"
    assert done == turns
    assert seconds == {"a": [1.0, 6.0, 8.0, 10.0], "b": [2.0, 4.0, 9.0, 11.0], "c": [3.0, 5.0, 7.0, 12.0]}


class Watching:
    def __init__(self) -> None:
        self.cases: list[tuple[str, int]] = []
        self.images = 0

    def start(self, name: str, images: int) -> None:
        self.cases.append((name, images))

    def advance(self, images: int) -> None:
        self.images += images


@pytest.fixture(scope="module")
def watched():
    progress = Watching()
    variants = find_variants(["live", "live-fp32", "cache", "student-alone", "live-8"])
    result = measure([CASE], variants, rounds=3, device=CPU, compile="never", command="bench it", progress=progress)
    return result, progress


def test_it_says_what_was_measured_and_how(watched):
    result, _ = watched
    [case] = result.cases
    assert (result.command, result.compile, result.machine.device) == ("bench it", "never", "cpu")
    assert (case.pair, case.image, case.batch_size, case.batches, case.rounds) == (
        "resnet8:resnet8",
        (1, 8, 8),
        4,
        2,
        3,
    )
    assert [row.variant for row in case.rows] == ["baseline", "live-fp32", "live", "cache", "student-alone", "live-8"]
    assert case.row("live").teacher.startswith("9 batch norms folded")
    assert case.row("cache").teacher is None
    assert result.seconds > 0


def test_ratios_and_rates_follow_from_the_seconds(watched):
    [case] = watched[0].cases
    baseline, alone = case.row("baseline").seconds, case.row("student-alone").seconds
    for row in case.rows:
        assert len(row.seconds) == 3
        ratios = [row.students * theirs / own for theirs, own in zip(baseline, row.seconds, strict=True)]
        assert row.to_baseline.median == pytest.approx(median(ratios))
        floor = [row.students * theirs / own for theirs, own in zip(alone, row.seconds, strict=True)]
        assert row.to_alone.median == pytest.approx(median(floor))
        rate = median(CASE.images * row.students / own for own in row.seconds)
        assert row.images_per_second.median == pytest.approx(rate)
    assert case.row("baseline").to_baseline.median == case.row("student-alone").to_alone.median == 1
    assert case.row("live-8").students == 8


def test_progress_ends_at_what_was_announced(watched):
    _, watcher = watched
    assert watcher.cases == [("resnet8:resnet8, batch 4", watcher.images)]
    assert watcher.images == CASE.images * 6 * (3 + WARM_UP_ROUNDS)


def test_without_the_student_alone_there_is_nothing_to_hold_against_it():
    result = measure([CASE], find_variants(["cache", "cache-fp32"]), rounds=1, device=CPU, compile="never")
    [case] = result.cases
    assert case.row("cache").to_alone is None
    assert {row.variant for row in case.rows} | set(case.left_out) == {"baseline", "cache", "cache-fp32"}
