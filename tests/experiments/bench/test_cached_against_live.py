"""The experiment on a few digits: every way of teaching, the losses of single steps, and the tables."""

from dataclasses import replace

import pytest
import torch

from experiments.bench import cached_against_live
from experiments.bench.cached_against_live import (
    CACHES,
    LIVE,
    NUDGED,
    RECIPES,
    Experiment,
    Settings,
    compared,
    markdown,
)
from preceptor.compare.parallel import Counter
from tests.training_helpers import network, same_bits, weights

TINY = Settings("digits", "convnet8", "convnet8", teacher_images=60, teacher_epochs=1, training_images=40, epochs=1)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    found = Experiment(TINY, tmp_path_factory.mktemp("experiment") / "teacher.safetensors")
    assert 0 < found.train_teacher() < 1
    return found


def test_every_recipe_is_taught_in_every_way(experiment: Experiment) -> None:
    found = experiment(0, Counter(lambda images: None))
    assert list(found) == list(RECIPES)
    for ways in found.values():
        assert list(ways) == [LIVE, *CACHES, NUDGED]
        assert all(0 < accuracy < 1 for accuracy in ways.values())


def test_a_student_of_the_same_teacher_live_twice_is_the_same(experiment: Experiment) -> None:
    counter = Counter(lambda images: None)
    first, second = (experiment.train_students(1, experiment.live(), counter, precision="fp32") for _ in range(2))
    assert first == second


def test_single_steps_are_apart_by_the_rounding_of_the_signal_alone(experiment: Experiment) -> None:
    found = experiment.steps()
    for losses in found["losses"].values():
        assert losses[LIVE]["largest_difference"] == 0
        assert 0 < losses["fp16 entries"]["largest_difference"] < 1e-3 * losses[LIVE]["mean_loss"]
        assert losses["fp16 entries"]["mean_difference"] < losses["and teacher in bf16"]["mean_difference"]
    assert found["share_predicted_otherwise"]["fp16 entries"] == 0


def test_a_nudge_moves_every_weight_by_its_last_bit() -> None:
    moved = network()
    cached_against_live.nudge(moved)
    assert not same_bits(weights(moved), weights(network()))
    for before, after in zip(network().parameters(), moved.parameters(), strict=True):
        assert (after > before).all()
        assert torch.allclose(before, after, rtol=2.0**-22, atol=1e-30)


def test_the_caches_are_compared_with_the_deviation_over_seeds() -> None:
    ways = {LIVE: (0.80, 0.82, 0.84), "cache, fp32": (0.81, 0.82, 0.84), "cache, bf16": (0.84, 0.86, 0.87)}
    found = compared([{way: values[seed] for way, values in ways.items()} | {NUDGED: 0.8} for seed in range(3)])
    assert found["deviation_over_seeds"] == pytest.approx(0.02)
    assert found["difference_to_live"]["cache, fp32"]["mean"] == pytest.approx(0.01 / 3)
    assert found["less_than_the_deviation"] == {"cache, fp32": True, "cache, bf16": False}


def test_the_tables_show_every_way_and_every_signal(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(run, seeds, report):
        return [run(seed, Counter(report)) for seed in seeds]

    monkeypatch.setattr(cached_against_live, "run_seeds", in_this_process)
    content = cached_against_live.measure(replace(TINY, seeds=(0, 1)), tmp_path / "teacher.safetensors")
    shown = markdown(content)
    assert shown.count(f"| {NUDGED} |") == shown.count("| and student in bf16 |") == len(RECIPES)
    assert "convnet8 teaches convnet8 40 images of digits for 1 epochs in 9 views; last epoch, 2 seeds" in shown
