"""A study, against the same numbers computed from the arguments of the trainer and the networks it left."""

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from experiments.studies.engine import Study, StudyResult, arms_of, run_study
from experiments.studies.engine import run as run_module
from experiments.studies.engine import seed as seed_module
from preceptor.data import hold_out
from preceptor.errors import InputError, MachineError
from preceptor.teachers import NetworkTeacher
from preceptor.training import Trainer, TrainingData
from tests.experiments.studies.tiny import RECIPES, TINY
from tests.training_helpers import digits, same_bits, weights


@dataclass
class Call:
    """One training: the trainer's arguments, and the networks it left."""

    data: TrainingData
    teacher: NetworkTeacher | None
    initial: dict[str, dict[str, Tensor]]
    networks: dict[str, nn.Module]
    """They take raw images."""


@dataclass
class Observed:
    result: StudyResult
    calls: list[Call]
    images: list[int]


class Counting:
    def __init__(self) -> None:
        self.planned: tuple = ()
        self.images: list[int] = []

    def start(self, name: str, images: int) -> None:
        self.planned = (name, images)

    def advance(self, images: int) -> None:
        self.images.append(images)


@pytest.fixture(scope="module")
def progress() -> Counting:
    return Counting()


@pytest.fixture(scope="module")
def observed(progress) -> Observed:
    """The tiny study, with every training recorded."""
    calls = []

    def spy(students, teacher, data, *arguments, **options):
        initial = {one.name: weights(one.network) for one in students}
        calls.append(Call(data, teacher, initial, {one.name: one.network for one in students}))
        return Trainer(students, teacher, data, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_module, "Trainer", spy)
        result = run_study(TINY, progress=progress, jobs=1, device="cpu")
    return Observed(result, calls, progress.images)


@pytest.fixture(params=[0, 1])
def seed(request) -> int:
    return request.param


@pytest.fixture
def of_teacher(observed, seed) -> Call:
    return observed.calls[2 * seed]


@pytest.fixture
def of_students(observed, seed) -> Call:
    return observed.calls[2 * seed + 1]


def prediction(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network.eval()(images).argmax(dim=1)


def accuracy(network: nn.Module) -> float:
    return float((prediction(network, digits().test.images) == digits().test.labels).double().mean())


def test_students_of_a_seed_begin_alike(of_students):
    first, *others = of_students.initial.values()
    assert list(of_students.initial) == list(RECIPES)
    assert all(same_bits(first, other) for other in others)


def test_another_seed_begins_from_other_weights(observed):
    assert not same_bits(observed.calls[1].initial["kd"], observed.calls[3].initial["kd"])


def test_the_teacher_learns_from_swapped_labels(observed, of_teacher, seed):
    labels, right = of_teacher.data.labels[of_teacher.data.index], digits().train.labels[of_teacher.data.index]
    partner = {1: 7, 7: 1, 3: 8, 8: 3}
    wrong = labels != right
    assert all(partner[r] == g for g, r in zip(labels[wrong].tolist(), right[wrong].tolist(), strict=True))
    assert observed.result.teachers[0].wrong_labels[seed] == int(wrong.sum()) > 0
    everyone = of_teacher.data.labels != digits().train.labels
    for label in range(10):
        share = everyone[digits().train.labels == label].double().mean()
        assert share == pytest.approx(0.4 if label in partner else 0, abs=0.01)


def test_the_teacher_learns_from_more_images_than_its_students_do(observed, of_teacher, of_students):
    pool, training_images = set(of_teacher.data.index.tolist()), set(of_students.data.index.tolist())
    assert len(training_images) == 40 < len(pool) == observed.result.teachers[0].images == 135
    assert training_images < pool


def test_nobody_learns_from_what_is_held_out(of_teacher, seed):
    assert torch.equal(of_teacher.data.index, hold_out(digits().train.labels, 0.9, seed)[0])


def test_students_of_unseen_images_share_none_with_the_teacher():
    calls = []

    def spy(students, teacher, data, *arguments, **options):
        calls.append(set(data.index.tolist()))
        return Trainer(students, teacher, data, *arguments, **options)

    unseen = changed(unseen=True, arms=arms_of("kd"), seeds=(0,), training_images=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_module, "Trainer", spy)
        run_study(unseen, jobs=1, device="cpu")
    of_teacher, of_students = calls
    assert len(of_students) == 300
    assert of_students.isdisjoint(of_teacher)


def test_students_have_the_right_labels(of_students):
    assert torch.equal(of_students.data.labels, digits().train.labels)


def test_students_are_taught_by_the_teacher_as_its_last_epoch_left_it(of_teacher, of_students):
    images = digits().test.images
    assert torch.equal(of_students.teacher(images).argmax(dim=1), prediction(of_teacher.networks["teacher"], images))


def test_accuracies_are_those_of_the_networks_on_the_test_set(observed, of_teacher, of_students, seed):
    assert observed.result.teachers[0].accuracy[seed] == pytest.approx(accuracy(of_teacher.networks["teacher"]))
    for name in RECIPES:
        assert observed.result.row(name).accuracy.values[seed] == pytest.approx(accuracy(of_students.networks[name])), (
            name
        )


def test_what_the_teacher_gets_wrong_is_what_recipes_affect(observed, of_students, seed):
    truth = digits().train.labels[of_students.data.index]
    wrong = of_students.teacher(digits().train.images[of_students.data.index]).argmax(dim=1) != truth
    assert 0 < wrong.sum() < 40
    for name in ("ka-ps", "drop-wrong", "label-revision"):
        assert observed.result.row(name).affected[seed] == int(wrong.sum())
    assert observed.result.row("none").affected is None
    assert observed.result.row("kd").affected is None
    teacher = observed.result.teachers[0]
    assert teacher.accuracy_on_training_images[seed] == pytest.approx(1 - wrong.double().mean())
    by_class = [wrong[truth == label].double().mean().item() for label in range(10)]
    assert teacher.error_by_class[seed] == pytest.approx(by_class)


def test_differences_are_paired_with_the_baseline(observed):
    from scipy.stats import ttest_rel

    base = observed.result.row("kd").accuracy.values
    assert observed.result.row("kd").accuracy.difference is None
    for name in set(RECIPES) - {"kd"}:
        row = observed.result.row(name).accuracy
        expected = np.subtract(row.values, base)
        assert row.difference.mean == pytest.approx(expected.mean())
        if expected.std() > 0:
            interval = ttest_rel(row.values, base).confidence_interval(0.95)
            assert (row.difference.low, row.difference.high) == pytest.approx((interval.low, interval.high))


def test_progress_counts_every_image(observed, progress):
    assert progress.planned == ("tiny", 2 * (135 * 4 + 40))
    assert sum(observed.images) == progress.planned[1]


def test_the_result_can_be_made_again_from_its_configuration(observed):
    config = dict(observed.result.config)
    for not_a_setting in ("device", "threads_a_seed"):
        config.pop(not_a_setting)
    texts = {key: getattr(TINY, key) for key in ("name", "title", "setting", "shows", "does_not_show")}
    assert Study(**texts, **config) == TINY


def test_two_at_a_time_come_to_the_same_numbers(observed):
    result = run_study(TINY, jobs=2, device="cpu")
    same = {"seconds": 0.0}
    assert result.model_copy(update=same) == observed.result.model_copy(update=same)


def changed(**settings) -> Study:
    return Study.model_validate({**TINY.model_dump(), **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "kdd"}, "study tiny: the baseline 'kdd' is not among its arms"),
        ({"arms": arms_of("kd", "ka-pz")}, "unknown recipe 'ka-pz': did you mean 'ka-ps'"),
        ({"data": "digts"}, "unknown data set 'digts': did you mean 'digits'"),
        ({"training_images": 136}, "subset of 136 images; expected 0 to 135"),
        ({"pairs": ((1, 7), (7, 2))}, "name every class at most once"),
        ({"teacher": "convnett8"}, "unknown model 'convnett8'"),
    ],
)
def test_what_cannot_be_run_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        run_study(changed(**settings), jobs=1)


def test_a_data_set_without_a_test_set(monkeypatch):
    monkeypatch.setattr(seed_module, "load_dataset", lambda *_, **__: dataclasses.replace(digits(), test=None))
    with pytest.raises(InputError, match="digits has no test set: the study needs one"):
        run_study(TINY, jobs=1)


def test_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="no CUDA device"):
        run_study(TINY, device="cuda")


@pytest.mark.parametrize(("device", "jobs"), [("auto", 1), ("cuda", 1), ("cpu", None)])
def test_on_a_gpu_seeds_run_one_at_a_time(monkeypatch, device, jobs):
    asked = []

    def stop(run, seeds, report, jobs):
        asked.append(jobs)
        raise InputError("that is all")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(run_module, "run_seeds", stop)
    with pytest.raises(InputError, match="that is all"):
        run_study(TINY, device=device)
    assert asked == [jobs]


def test_pairs_are_found_when_none_are_given(monkeypatch):
    found = []

    def stop(run, seeds, report, jobs):
        found.append(run.args[1])
        raise InputError("that is all")

    monkeypatch.setattr(run_module, "run_seeds", stop)
    with pytest.raises(InputError, match="that is all"):
        run_study(changed(pairs=None))
    assert sorted(label for pair in found[0] for label in pair) == list(range(10))


def test_measures_that_one_seed_lacks_are_left_out():
    measures = {"accuracy": 0.1, "temperature": 4.0}, {"accuracy": 0.2}
    seeds = [{"faulty": SimpleNamespace(students={"kd": SimpleNamespace(measures=own)})} for own in measures]
    assert run_module._values(seeds, "faulty", "kd") == {"accuracy": [0.1, 0.2]}


def test_fewer_images_than_classes_leave_classes_without_an_error_rate(tmp_path):
    from experiments.studies.engine import load_result, save_result

    result = run_study(changed(training_images=6, arms=arms_of("kd", "ka-ps"), seeds=(0,)), jobs=1)
    assert result.teachers[0].error_by_class[0].count(None) == 4
    save_result(result, tmp_path / "result.json")
    assert load_result(tmp_path / "result.json") == result
