"""Whether a run compiles its teacher: told from its length and its cache, the same every time."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.run import resolve
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, prepare
from preceptor.run.teachers import LoadedTeacher
from preceptor.run.teaching import compiles, resolve_teacher
from tests.classroom import SMALL_RUN, digits
from tests.run.kinds import rows_file

CPU = torch.device("cpu")


def material(**settings: Any) -> tuple[Any, RunContext]:
    config = resolve({**SMALL_RUN, "recipe": "kd", **settings})
    prepared = prepare(config, CPU)
    resolve_selection(config, prepared)
    return config, prepared


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is asked of the rule, which says yes; and a mark of what was compiled, for none is in truth."""
    asked: list[dict[str, Any]] = []

    def rule(role: str, **given: Any) -> bool:
        asked.append({"role": role, **given})
        return True

    monkeypatch.setattr("preceptor.run.teaching.compiling_pays", rule)
    monkeypatch.setattr("preceptor.run.teaching.compiled", lambda teacher, *_: "compiled")
    return asked


def test_the_rule_is_asked_about_all_images_of_all_epochs(teacher: Path, decisions: list[dict[str, Any]]) -> None:
    config, prepared = material(teacher=teacher)
    assert resolve_teacher(config, prepared) == "compiled"
    [asked] = decisions
    assert asked["role"] == "teacher"
    assert asked["device"] == CPU
    assert asked["steps"] == -(-2 * 60 // 32)
    resolve_teacher(*material(teacher=[teacher, teacher]))
    assert decisions[1]["flops"] == 2 * asked["flops"]
    resolve_teacher(*material(teacher=teacher, training={"epochs": 6, "batch_size": 32}))
    assert decisions[2]["flops"] == 3 * asked["flops"]


def test_a_short_run_compiles_nothing(teacher: Path) -> None:
    config, prepared = material(teacher=teacher)
    assert resolve_teacher(config, prepared) is prepared.teacher


@pytest.mark.parametrize(("asked", "is_compiled"), [("never", False), ("always", True)])
def test_who_says_so_is_obeyed_without_counting(
    teacher: Path, decisions: list[dict[str, Any]], asked: str, is_compiled: bool
) -> None:
    config, prepared = material(teacher=teacher, compile=asked)
    found = resolve_teacher(config, prepared)
    assert (found == "compiled") is is_compiled
    assert decisions == []


def test_where_some_samples_alone_are_asked_about_nothing_is_compiled(
    teacher: Path, decisions: list[dict[str, Any]]
) -> None:
    select = {"name": "random", "keep": 0.5}
    recipe = {"selection": select, "terms": {"kl": {"loss": "kl"}, "ce": {"label_loss": "cross_entropy"}}}
    config, prepared = material(teacher=teacher, recipe=recipe)
    assert resolve_teacher(config, prepared) is prepared.teacher
    assert decisions == []


def test_behind_a_bank_the_images_it_lacks_are_counted(
    teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]
) -> None:
    config, prepared = material(teacher=teacher, cache=tmp_path / "cache")
    resolve_teacher(*material(teacher=teacher))
    assert resolve_teacher(config, prepared) == "compiled"
    assert 0.5 * decisions[0]["flops"] < decisions[1]["flops"] < decisions[0]["flops"]


def test_behind_a_bank_that_saves_most_questions_nothing_is_compiled(
    teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]
) -> None:
    """Of nine views at most nine are asked about, in however many epochs."""
    config, prepared = material(
        teacher=teacher, cache=tmp_path / "cache", training={"epochs": 30, "batch_size": 32}, validation=0.1
    )
    assert resolve_teacher(config, prepared) is prepared.teacher
    assert decisions == []


def test_what_is_no_network_is_never_compiled(teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]) -> None:
    rows = rows_file(teacher, tmp_path / "said.npy")
    config, prepared = material(teacher=rows, teacher_output="logits", compile="always")
    assert resolve_teacher(config, prepared) is prepared.teacher
    assert decisions == []


def test_nor_one_whose_features_are_kept(teacher: Path, tmp_path: Path, decisions: list[dict[str, Any]]) -> None:
    from preceptor.run.teachers import load_teacher

    config = resolve({"teacher": teacher, "cache": tmp_path / "cache", "compile": "always"})
    found: LoadedTeacher = load_teacher(config, digits(), digits().augmentation, CPU, features=True)
    assert not compiles(config, found, digits(), 10**12, 32, CPU)
    assert decisions == []


def test_without_a_teacher_there_is_nothing_to_settle() -> None:
    config, prepared = material(recipe="none")
    assert resolve_teacher(config, prepared) is None
