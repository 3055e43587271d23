"""Runs whose recipe chooses samples beforehand: scores are stored, used again, and refused where they do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.errors import InputError
from preceptor.models import load_checkpoints, load_student
from preceptor.run import RunResult, resolve, run
from preceptor.run.scores import load_scores, save_scores
from preceptor.run.selection import score_samples
from tests.run.kinds import onnx_file, rows_file
from tests.training_helpers import SMALL_RUN

SETTINGS: dict[str, Any] = {**SMALL_RUN, "recipe": "lr-ds"}


def distill(out: Path, teacher: Path, *overrides: tuple[str, object], **settings: Any) -> RunResult:
    return run(resolve({**SETTINGS, "teacher": teacher, **settings}, overrides), out, force=True)


@pytest.fixture(scope="module")
def chosen(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return distill(tmp_path_factory.mktemp("runs") / "chosen", teacher)


def test_the_scores_lie_with_the_run(chosen: RunResult) -> None:
    scores = load_scores(chosen.folder / "scores.safetensors")
    assert len(scores.index) == chosen.training_images == 60
    assert int(scores.selected.sum()) == chosen.distilled_samples == 42
    best = scores.score.argsort(descending=True, stable=True)[:42]
    assert set(scores.index[best].tolist()) == set(scores.index[scores.selected].tolist())
    assert scores.origin.component == "influence"
    assert scores.origin.held_out > 0
    expected = {"keep": 0.7, "ascending": False, "damping": 5e-4, "exact_up_to": 4096, "steps": 20}
    assert scores.origin.options == expected


def test_they_are_the_same_under_the_same_seed_and_can_be_used_again(
    chosen: RunResult, teacher: Path, tmp_path: Path
) -> None:
    again = distill(tmp_path / "again", teacher)
    file = chosen.folder / "scores.safetensors"
    assert (again.folder / "scores.safetensors").read_bytes() == file.read_bytes()
    reused = distill(tmp_path / "reused", teacher, scores=file)
    for name, tensor in load_student(reused.folder)[0].state_dict().items():
        assert torch.equal(tensor, load_student(chosen.folder)[0].state_dict()[name])


def test_another_share_or_direction_of_the_same_scores(chosen: RunResult, teacher: Path, tmp_path: Path) -> None:
    file = chosen.folder / "scores.safetensors"
    lowest = distill(
        tmp_path / "lowest", teacher, ("recipe.selection.ascending", True), ("recipe.selection.keep", 0.3), scores=file
    )
    assert lowest.distilled_samples == 18
    selected, rest = load_scores(lowest.folder / "scores.safetensors"), load_scores(file)
    assert not (selected.selected & rest.selected).any()


def test_what_made_the_scores_may_not_differ_and_what_is_kept_is_recorded(
    chosen: RunResult, teacher: Path, tmp_path: Path
) -> None:
    file = chosen.folder / "scores.safetensors"
    with pytest.raises(InputError, match=r"scores made with damping = 0.0005, the recipe says 3.0"):
        distill(tmp_path / "out", teacher, ("recipe.selection.damping", 3.0), scores=file)
    kept = distill(tmp_path / "kept", teacher, ("recipe.selection.keep", 0.2), scores=file)
    found = load_scores(kept.folder / "scores.safetensors")
    assert found.origin.options["keep"] == 0.2
    assert int(found.selected.sum()) == kept.distilled_samples == 12


@pytest.mark.parametrize(("recipe", "unused"), [("ds", 0), ("lr-ds", 0), ("ka-ps", 30), ("lr", 30)])
def test_the_result_says_how_many_samples_nothing_teaches(
    teacher: Path, tmp_path: Path, recipe: str, unused: int
) -> None:
    select = ("recipe.selection", {"name": "random", "keep": 0.5})
    result = distill(tmp_path / "out", teacher, select, recipe=recipe)
    assert result.distilled_samples == 30
    assert result.unused_samples == unused


def test_a_selection_without_a_term_that_uses_the_teacher_is_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no term uses the teacher"):
        distill(tmp_path / "out", teacher, ("recipe.selection", "influence"), recipe="none")


def test_select_makes_the_scores_the_run_would(chosen: RunResult, teacher: Path, tmp_path: Path) -> None:
    scores = score_samples(resolve({**SETTINGS, "teacher": teacher}))
    assert torch.equal(scores.score, load_scores(chosen.folder / "scores.safetensors").score)


def changed(file: Path, out: Path, **origin: Any) -> Path:
    scores = load_scores(file)
    save_scores(out, type(scores)(scores.index, scores.score, scores.selected, scores.origin.model_copy(update=origin)))
    return out


def test_scores_that_do_not_fit_are_refused_before_anything_is_written(
    chosen: RunResult, teacher: Path, tmp_path: Path
) -> None:
    file = chosen.folder / "scores.safetensors"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"scores": changed(file, tmp_path / "a", data_fingerprint="x")}, "scores of other training data"),
        ({"scores": changed(file, tmp_path / "b", component="el2n")}, "scores of selection 'el2n'"),
        ({"scores": changed(file, tmp_path / "c", teacher_fingerprint="x")}, "scores made with another teacher"),
        ({"scores": file, "train_images": 80}, "has no score for 70 of the 80 samples"),
        ({"scores": file, "recipe": "kd"}, "no selection by score"),
        ({"validation": 0.0}, "nothing is held out"),
    ]
    for settings, said in cases:
        with pytest.raises(InputError, match=said):
            distill(tmp_path / "out", teacher, **settings)
        assert not (tmp_path / "out").exists()


def test_a_selection_that_needs_nothing_held_out_does_without(teacher: Path, tmp_path: Path) -> None:
    select = {"name": "el2n", "keep": 0.5}
    result = distill(tmp_path / "out", teacher, ("recipe.selection", select), validation=0.0)
    assert result.distilled_samples == 30


def test_checkpoints_are_kept_evenly_and_tracin_reads_them(teacher: Path, tmp_path: Path) -> None:
    tracin = ("recipe.selection", {"name": "tracin", "keep": 0.5})
    with pytest.raises(InputError, match="train it with --keep-checkpoints"):
        distill(tmp_path / "out", teacher, tracin)
    settings = {**SMALL_RUN, "student": "convnet4", "training": {"epochs": 4, "batch_size": 32}, "keep_checkpoints": 2}
    run(resolve(settings), tmp_path / "teacher")
    kept = load_checkpoints(tmp_path / "teacher")
    assert [path.name for _, path in kept] == ["epoch-00002", "epoch-00004"]
    lines = [json.loads(line) for line in (tmp_path / "teacher" / "metrics.jsonl").read_text().splitlines()]
    rates = {line["epoch"]: line["learning_rate"] for line in lines if line["event"] == "epoch"}
    assert [rate for rate, _ in kept] == [rates[2], rates[4]]
    last, end = load_student(kept[-1][1])[0], load_student(tmp_path / "teacher")[0]
    assert torch.equal(last.head.weight, end.head.weight)  # type: ignore[union-attr, arg-type]
    result = distill(tmp_path / "out", tmp_path / "teacher", tracin)
    assert load_scores(result.folder / "scores.safetensors").origin.checkpoints == 2


def test_an_abstaining_student_as_teacher_says_nothing_of_declining(teacher: Path, tmp_path: Path) -> None:
    gambler = distill(tmp_path / "gambler", teacher, recipe="precise-abstain-b")
    network, card = load_student(gambler.folder)
    assert card.abstains
    assert network.head.out_features == 11  # type: ignore[union-attr]
    student = distill(tmp_path / "student", gambler.folder, recipe="kd")
    assert student.teacher is not None
    assert not load_student(student.folder)[1].abstains


def by(component: str) -> tuple[str, dict[str, Any]]:
    return "recipe.selection", {"name": component, "keep": 0.5}


@pytest.mark.parametrize("component", ["influence", "gradient_cosine", "tracin"])
def test_what_looks_inside_a_teacher_wants_a_network(teacher: Path, tmp_path: Path, component: str) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    distill(tmp_path / "filled", teacher, cache=tmp_path / "cache", recipe="kd")
    told = (
        rf"select '{component}' looks inside the teacher, and this one is no single network \({{}}\): give a run folder"
    )
    for given, kind in (
        ({"teacher": rows, "teacher_output": "logits"}, "file"),
        ({"teacher": [teacher, teacher]}, "ensemble of 2 .*"),
        ({"teacher": None, "cache": tmp_path / "cache"}, "cache alone"),
    ):
        with pytest.raises(InputError, match=told.format(kind)):
            run(resolve({**SETTINGS, **given}, [by(component)]), tmp_path / "out")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("component", ["el2n", "teacher_loss", "correctness", "random"])
def test_what_goes_by_logits_scores_with_any_teacher(teacher: Path, tmp_path: Path, component: str) -> None:
    usual = score_samples(resolve({**SETTINGS, "teacher": teacher}, [by(component)]))
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    file = onnx_file(teacher, tmp_path / "teacher.onnx")
    kinds: dict[str, dict[str, Any]] = {
        "file": {"teacher": rows, "teacher_output": "logits"},
        "onnx": {"teacher": file, "teacher_output": "logits"},
        "two": {"teacher": [teacher, file], "teacher_output": "logits"},
        "network with a cache": {"teacher": teacher, "cache": tmp_path / "cache"},
        "cache alone": {"cache": tmp_path / "cache"},
    }
    for name, given in kinds.items():
        found = score_samples(resolve({**SETTINGS, **given}, [by(component)]))
        torch.testing.assert_close(found.score, usual.score, rtol=5e-3, atol=5e-3, msg=name)
        assert torch.equal(found.index, usual.index)


def test_scores_fit_a_teacher_and_its_cache_alone(teacher: Path, tmp_path: Path) -> None:
    first = distill(tmp_path / "first", teacher, cache=tmp_path / "cache")
    scores = first.folder / "scores.safetensors"
    alone = run(resolve({**SETTINGS, "cache": tmp_path / "cache", "scores": scores}, []), tmp_path / "alone")
    assert (alone.cached, alone.distilled_samples) == (0, first.distilled_samples)
    with pytest.raises(InputError, match="scores made with another teacher"):
        run(resolve({**SETTINGS, "teacher": [teacher, teacher], "scores": scores}), tmp_path / "out")
