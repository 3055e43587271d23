"""Runs taught together: each is the run that it would be alone, whatever happens to the others."""

import json
from pathlib import Path

import pytest
import torch

from preceptor.errors import InputError, Interrupted
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.resume import run_state
from preceptor.run.together import run_together
from preceptor.training import StudentFailed
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN

RECIPES = ("kd", "none", "ka-ps", "ds", "select-correct-abstain")


def config(recipe: str, teacher: Path, **overrides):
    teaches = {} if recipe == "none" else {"teacher": str(teacher)}
    return resolve({**SMALL_RUN, "recipe": recipe, **teaches}, [*overrides.pop("settings", [])])


def same_files(folder: Path, alone: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
    for name in ("student.safetensors", "student.json"):
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), (folder, name)
    # Only one of several students counts what was cached, and there is no cache here.
    assert epochs(folder) == epochs(alone)


def test_each_is_the_run_that_it_is_alone(tmp_path, teacher, bf16_units):
    configs = {tmp_path / "together" / recipe: config(recipe, teacher) for recipe in RECIPES}
    results = run_together(configs, force=True)
    for (folder, one), result in zip(configs.items(), results, strict=True):
        alone = run(one, tmp_path / "alone" / folder.name, force=True)
        same_files(folder, tmp_path / "alone" / folder.name)
        assert (result.test, result.validation, result.teacher) == (alone.test, alone.validation, alone.teacher)


def test_students_and_optimizers_may_differ(tmp_path, teacher):
    varied = {
        "rate": config("kd", teacher, settings=[("training.learning_rate", 0.01)]),
        "adam": config("kd", teacher, settings=[("training.optimizer", "adamw"), ("training.learning_rate", 0.01)]),
        "larger": config("ka-ps", teacher, settings=[("student", "convnet6")]),
    }
    run_together({tmp_path / name: one for name, one in varied.items()}, force=True)
    for name, one in varied.items():
        run(one, tmp_path / f"{name} alone", force=True)
        same_files(tmp_path / name, tmp_path / f"{name} alone")


@pytest.mark.parametrize("other", [("training.batch_size", 9), ("training.epochs", 3), ("seed", 5), ("augment", False)])
def test_what_differs_otherwise_is_refused(tmp_path, teacher, other):
    configs = {tmp_path / "a": config("kd", teacher), tmp_path / "b": config("kd", teacher, settings=[other])}
    with pytest.raises(InputError, match="may differ in audit, recipe, scores, student, training alone"):
        run_together(configs)
    assert not any(tmp_path.iterdir())


def test_two_teachers_are_refused(tmp_path, teacher):
    configs = {tmp_path / "a": config("kd", teacher), tmp_path / "b": config("kd", tmp_path / "another")}
    with pytest.raises(InputError, match="have one teacher, of logits or of features"):
        run_together(configs)


def test_recipes_of_features_are_taught_together(tmp_path, teacher):
    recipes = ("fitnet", "at", "none")
    run_together({tmp_path / recipe: config(recipe, teacher) for recipe in recipes}, force=True)
    for recipe in recipes:
        run(config(recipe, teacher), tmp_path / "alone" / recipe, force=True)
        same_files(tmp_path / recipe, tmp_path / "alone" / recipe)
    with pytest.raises(InputError, match="of logits or of features"):
        run_together({tmp_path / f"{recipe} again": config(recipe, teacher) for recipe in ("fitnet", "kd")})


def stop_together(tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch):
    configs = {tmp_path / recipe: config(recipe, teacher) for recipe in ("kd", "none", "ds")}
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run_together(configs, force=True)
    assert {run_state(folder) for folder in configs} == {"stopped"}
    return configs


def test_after_a_stop_they_go_on_together_or_alone(tmp_path, teacher, monkeypatch):
    configs = stop_together(tmp_path, teacher, monkeypatch)
    resume(tmp_path / "ds")
    del configs[tmp_path / "ds"]
    run_together(configs, force=True)
    for recipe in ("kd", "none", "ds"):
        run(config(recipe, teacher), tmp_path / "alone" / recipe, force=True)
        same_files(tmp_path / recipe, tmp_path / "alone" / recipe)


def test_where_they_stand_at_different_steps_the_earlier_one_counts(tmp_path, teacher, monkeypatch):
    configs = stop_together(tmp_path, teacher, monkeypatch)
    for path in (tmp_path / "none/checkpoint").glob("*.pt"):
        path.unlink()
    run_together(configs, force=True)
    run(config("kd", teacher), tmp_path / "alone", force=True)
    same_files(tmp_path / "kd", tmp_path / "alone")


def test_one_that_cannot_be_trained_is_named_and_the_others_go_on(tmp_path, teacher):
    configs = {
        tmp_path / "kd": config("kd", teacher),
        tmp_path / "wild": config("none", teacher, settings=[("training.learning_rate", 1e30)]),
    }
    with pytest.raises(StudentFailed) as caught:
        run_together(configs, force=True)
    assert caught.value.student == str(tmp_path / "wild")
    assert run_state(tmp_path / "wild") == "failed"
    last = json.loads((tmp_path / "wild/metrics.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "failed"
    with pytest.raises(InputError, match="ended where it would end again"):
        resume(tmp_path / "wild")
    del configs[tmp_path / "wild"]
    run_together(configs, force=True)
    run(config("kd", teacher), tmp_path / "alone", force=True)
    same_files(tmp_path / "kd", tmp_path / "alone")


def test_a_student_that_abstains_on_everything_is_named(tmp_path, teacher, monkeypatch):
    monkeypatch.setattr("preceptor.training.student.MOST_RESERVED", 0.0)
    configs = {tmp_path / recipe: config(recipe, teacher) for recipe in ("kd", "gambler")}
    with pytest.raises(StudentFailed, match="it reserves") as caught:
        run_together(configs, force=True)
    assert caught.value.student == str(tmp_path / "gambler")
    assert run_state(tmp_path / "gambler") == "failed"


def test_the_teacher_is_asked_once_for_all(tmp_path, teacher, monkeypatch):
    from preceptor.teachers import NetworkTeacher

    asked = []
    outputs = NetworkTeacher.outputs

    def counted(self, inputs, index, view):
        asked.append(len(torch.as_tensor(index)))
        return outputs(self, inputs, index, view)

    monkeypatch.setattr(NetworkTeacher, "outputs", counted)
    run(config("kd", teacher), tmp_path / "alone", force=True)
    alone, asked[:] = sum(asked), []
    run_together({tmp_path / name: config(name, teacher) for name in ("kd", "ka-ps", "dist")}, force=True)
    # The doctor's quick look asks for a few images for each recipe.
    assert sum(asked) <= 1.5 * alone
