"""Planned queries against those of a real training; what a cache lacks of them; whether a run compiles its teacher."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor import DistillationLoss, recipe
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.run import resolve
from preceptor.run.cache_plan import cache_coverage, check_coverage, planned_queries, resolve_teacher
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, set_up
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, open_cache
from preceptor.training import Student, TrainingConfig
from tests.run.kinds import rows_file
from tests.training_helpers import SMALL_RUN, data_of, digits, few, network, train

KD = {"terms": {"kl": {"loss": "kl"}, "ce": {"label_loss": "cross_entropy"}}}
HALF = {**KD, "selection": {"name": "random", "keep": 0.5}}
LATE = {"terms": {"ce": {"label_loss": "cross_entropy"}, "kl": {"loss": "kl", "since": 0.4, "until": 0.9}}}
ALONE = {"terms": {"ce": {"label_loss": "cross_entropy"}}}
VIEWS = CropFlip(padding=1, flip=False)


class Recording:
    """A teacher that records what it is queried about."""

    classes = 10

    def __init__(self) -> None:
        self.queried: list[tuple[int, int]] = []

    def outputs(self, images: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.queried += zip(index.tolist(), view.tolist(), strict=True)
        return TeacherOutput(torch.zeros(len(images), 10))


def loss_of(content: dict[str, Any], tmp_path: Any) -> DistillationLoss:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    loss = DistillationLoss(**recipe(path))
    if loss.needs_fit:
        logits = ModelOutputs(torch.zeros(40, 10))
        labels = digits().train.labels[few(40)]
        loss.fit(
            SelectionData(few(40), labels, None, (TeacherSnapshot(1.0, logits, None),), False, len(digits().train))
        )
    return loss


@pytest.mark.parametrize("batch_size", [13, 16, 40, 64], ids="batches of {}".format)
@pytest.mark.parametrize("content", [KD, HALF, LATE], ids=["always", "of half of them", "for a while"])
def test_planned_queries_are_those_of_the_training(content: dict[str, Any], batch_size: int, tmp_path: Any) -> None:
    """With batches of 13 a single image is left over of 40, and joins the batch before it."""
    loss, teacher = loss_of(content, tmp_path), Recording()
    training = TrainingConfig(epochs=3, batch_size=batch_size)
    planned = [
        pair
        for index, view in planned_queries(loss, few(40), VIEWS, training, seed=5)
        for pair in zip(index.tolist(), view.tolist(), strict=True)
    ]
    students = [Student("student", network(0), loss)]
    train(students, training=training, teacher=teacher, data=data_of(40, VIEWS), seed=5)
    assert planned == teacher.queried
    assert len(planned) > 0


def test_a_loss_without_a_teacher_queries_nothing(tmp_path: Any) -> None:
    queries = planned_queries(loss_of(ALONE, tmp_path), few(40), VIEWS, TrainingConfig(epochs=2), seed=0)
    assert [len(index) for index, _ in queries] == [0, 0]


def cache_of(tmp_path: Any, entries: list[tuple[int, int]]) -> Any:
    key = CacheKey(teacher="t", data="d", normalization={}, views={}, class_names=tuple("0123456789"))
    cache = open_cache(tmp_path / "cache", key, Layout(samples=6, views=9, classes=10), Recording())
    index, view = torch.tensor(entries, dtype=torch.int64).reshape(-1, 2).unbind(1)
    cache.query_and_store(torch.zeros(len(entries), 1, 8, 8, dtype=torch.uint8), index, view)
    return cache


def test_coverage_counts_queries_entries_and_gaps(tmp_path: Any) -> None:
    cache = cache_of(tmp_path, [(0, 3), (5, 8), (2, 2)])
    queries = [(torch.tensor([0, 4, 5]), torch.tensor([3, 1, 8])), (torch.tensor([0, 5, 4]), torch.tensor([3, 7, 1]))]
    coverage = cache_coverage(cache, queries)
    assert (coverage.queries, coverage.entries, coverage.missing, coverage.first_missing) == (6, 4, 2, (4, 1))
    message = r"lacks 2 of the 4 views that this run shows its student, the first sample 4, view 1: give"
    with pytest.raises(InputError, match=message):
        check_coverage(cache, coverage)


def test_a_cache_that_holds_all_is_no_error(tmp_path: Any) -> None:
    cache = cache_of(tmp_path, [(0, 3), (5, 8)])
    coverage = cache_coverage(cache, [(torch.tensor([5, 0]), torch.tensor([8, 3]))])
    assert (coverage.queries, coverage.entries, coverage.missing, coverage.first_missing) == (2, 2, 0, None)
    check_coverage(cache, coverage)


CPU = torch.device("cpu")


def run_context(**settings: Any) -> tuple[Any, RunContext]:
    config = resolve({**SMALL_RUN, "recipe": "kd", **settings})
    prepared = set_up(config, CPU)
    resolve_selection(config, prepared)
    return config, prepared


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Facts on which the decision to compile was made, always yes; nothing is really compiled."""
    decisions: list[dict[str, Any]] = []

    def rule(role: str, **facts: Any) -> bool:
        decisions.append({"role": role, **facts})
        return True

    monkeypatch.setattr("preceptor.run.cache_plan.compiling_pays", rule)
    monkeypatch.setattr("preceptor.run.cache_plan.compile_teacher", lambda teacher, *_: "compiled")
    return decisions


def test_the_decision_is_about_all_images_of_all_epochs(teacher: Path, decisions: list[dict[str, Any]]) -> None:
    config, prepared = run_context(teacher=teacher)
    assert resolve_teacher(config, prepared) == "compiled"
    [facts] = decisions
    assert facts["role"] == "teacher"
    assert facts["device"] == CPU
    assert facts["steps"] == -(-2 * 60 // 32)
    resolve_teacher(*run_context(teacher=[teacher, teacher]))
    assert decisions[1]["flops"] == 2 * facts["flops"]
    resolve_teacher(*run_context(teacher=teacher, training={"epochs": 6, "batch_size": 32}))
    assert decisions[2]["flops"] == 3 * facts["flops"]


def test_a_short_run_compiles_nothing(teacher: Path) -> None:
    config, prepared = run_context(teacher=teacher)
    assert resolve_teacher(config, prepared) is prepared.teacher


@pytest.mark.parametrize(("setting", "is_compiled"), [("never", False), ("always", True)])
def test_a_setting_decides_without_counting(
    teacher: Path, decisions: list[dict[str, Any]], setting: str, is_compiled: bool
) -> None:
    config, prepared = run_context(teacher=teacher, compile=setting)
    assert (resolve_teacher(config, prepared) == "compiled") is is_compiled
    assert decisions == []


def test_nothing_is_compiled_for_queries_about_some_samples_only(
    teacher: Path, decisions: list[dict[str, Any]]
) -> None:
    select = {"name": "random", "keep": 0.5}
    recipe = {"selection": select, "terms": {"kl": {"loss": "kl"}, "ce": {"label_loss": "cross_entropy"}}}
    config, prepared = run_context(teacher=teacher, recipe=recipe)
    assert resolve_teacher(config, prepared) is prepared.teacher
    assert decisions == []


def test_behind_a_cache_the_images_it_lacks_are_counted(
    teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]
) -> None:
    config, prepared = run_context(teacher=teacher, cache=tmp_path / "cache")
    resolve_teacher(*run_context(teacher=teacher))
    assert resolve_teacher(config, prepared) == "compiled"
    assert 0.5 * decisions[0]["flops"] < decisions[1]["flops"] < decisions[0]["flops"]


def test_nothing_is_compiled_behind_a_cache_that_saves_most_queries(
    teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]
) -> None:
    """There are nine views, in however many epochs."""
    config, prepared = run_context(
        teacher=teacher, cache=tmp_path / "cache", training={"epochs": 30, "batch_size": 32}, validation=0.1
    )
    assert resolve_teacher(config, prepared) is prepared.teacher
    assert decisions == []


def test_only_networks_are_compiled(teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    config, prepared = run_context(teacher=rows, teacher_output="logits", compile="always")
    assert resolve_teacher(config, prepared) is prepared.teacher
    assert decisions == []


def test_without_a_teacher_there_is_nothing_to_resolve() -> None:
    config, prepared = run_context(recipe="none")
    assert resolve_teacher(config, prepared) is None
