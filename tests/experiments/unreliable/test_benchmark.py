import json
from pathlib import Path

import pytest

from experiments.unreliable import benchmark
from experiments.unreliable.result import BenchmarkResult
from experiments.unreliable.running import TrainedStudent, at_rate, choose_rates
from tests.experiments.unreliable import tiny


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A benchmark of two settings on digits."""
    out = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "read_source", lambda name: tiny.digits())
        yield out, *(run(out) for _ in range(2))


def run(out):
    return benchmark.run_benchmark(
        [
            tiny.setting("first"),
            tiny.setting("second", unlabeled=20, labeled_epochs=2),
            tiny.setting("more", more_seeds=1),
        ],
        out,
        teachers=tiny.TEACHERS,
        seeds=(0, 1),
        recipes=("none", "kd", "safe", "safe-audited"),
        rates=(0.1, 0.05),
        jobs=1,
    )


def test_every_recipe_has_a_student_a_seed(done):
    _, result, _ = done
    for setting in result.settings:
        assert [own.recipe for own in setting.recipes] == ["none", "kd", "safe", "safe-audited"]
        seeds = 3 if setting.name == "more" else 2
        assert all(len(own.accuracy) == seeds and own.rate in (0.1, 0.05) for own in setting.recipes)
        assert all(0 <= share <= 1 for own in setting.recipes for share in (*own.copied, *own.mended))
        assert len(setting.teacher.accuracy_on_students) == seeds


def test_the_result_file_is_the_result_and_a_second_call_makes_the_same_of_what_is_there(done):
    out, result, again = done
    assert BenchmarkResult.model_validate(json.loads((out / "result.json").read_text())) == result == again


def student(rate, held_out):
    return TrainedStudent("kd", rate, held_out, accuracy=1 - held_out, ece=0, folder=Path())


def test_the_rate_is_chosen_on_held_out_images_and_the_first_wins_ties():
    seeds = [[student(0.1, 0.5), student(0.05, 0.7)], [student(0.1, 0.8), student(0.05, 0.7)]]
    assert choose_rates(seeds, ["kd"]) == {"kd": 0.05}
    assert choose_rates([[student(0.05, 0.7), student(0.1, 0.7)]], ["kd"]) == {"kd": 0.1}


def test_a_rate_at_which_a_student_diverged_is_not_chosen():
    good, other = student(0.1, 0.5), student(0.2, 0.9)
    assert choose_rates([[good, other], [good]], ["kd"]) == {"kd": 0.1}
    assert choose_rates([[good], []], ["kd", "none"]) == {}


def test_the_students_of_a_recipe_are_those_at_its_rate():
    seeds = [[student(0.1, 0.5), student(0.05, 0.7)], [student(0.1, 0.8)]]
    assert [one.held_out for one in at_rate(seeds, "kd", 0.1)] == [0.5, 0.8]
    assert at_rate(seeds, "kd", 0.05) == at_rate(seeds, "kd", None) == []
