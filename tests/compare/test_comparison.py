"""The plan of a comparison: which runs it is, and what is refused before anything is trained."""

from pathlib import Path

import pytest

from preceptor.compare.comparison import cells, comparison
from preceptor.compare.passes import divide
from preceptor.errors import InputError

RUN = {"data": "digits", "training": {"epochs": 2, "batch_size": 32}}


def plan(recipes=("none", "kd", "ka-ps"), **options):
    return comparison(recipes, run=RUN, **{"teachers": ["runs/a"], "seeds": 2, **options})


def test_every_combination_is_a_run():
    planned = list(cells(plan(teachers=["runs/a", "runs/b.onnx"], vary={"training.learning_rate": [0.05, 0.1]})))
    assert len(planned) == 2 * 2 * (1 + 2 * 2)  # seeds, rates; none once, the others with both teachers
    assert len({cell.place for cell in planned}) == len(planned)
    assert {cell.teacher for cell in planned} == {None, "a", "b"}
    for cell in planned:
        assert cell.config.seed == cell.seed
        assert cell.config.training.learning_rate == cell.settings["training.learning_rate"]
        assert (cell.config.teacher is None) == (cell.recipe == "none")


def test_a_recipe_has_settings_of_its_own():
    made = plan(
        {"kd": None, "hot": {"recipe": "kd", "recipe.temperature.temperature": 8, "training.learning_rate": 0.2}}
    )
    hot = next(cell for cell in cells(made) if cell.recipe == "hot")
    assert hot.config.recipe.temperature.model_extra == {"temperature": 8}
    assert hot.config.training.learning_rate == 0.2
    assert next(cell for cell in cells(made) if cell.recipe == "kd").config.training.learning_rate == 0.05


def test_settings_of_teacher_files_are_left_away_for_run_folders(tmp_path):
    (tmp_path / "a").mkdir()
    run = {**RUN, "teacher_output": "logits"}
    made = comparison(["kd"], run=run, teachers=[tmp_path / "a", tmp_path / "b.npy"], seeds=1)
    assert [cell.config.teacher_output for cell in cells(made)] == [None, "logits"]


def test_several_paths_are_an_ensemble_and_teachers_of_one_name_keep_their_paths():
    assert next(cells(plan(["kd"], teachers={"both": ["x", "y"]}))).config.teachers == (Path("x"), Path("y"))
    assert set(plan(teachers=["x/teacher", "y/teacher"]).teachers) == {"x/teacher", "y/teacher"}


def test_names_cannot_lead_out_of_the_folder():
    made = plan({"../../x": {"recipe": "none"}, "..": {"recipe": "none"}, "a/b": {"recipe": "none"}})
    for cell in cells(made):
        assert ".." not in cell.place.parts
        assert len(cell.place.parts) == 3


def test_the_baseline_is_kd_or_the_first():
    assert plan().baseline == "kd"
    assert plan(["ka-ps", "none"]).baseline == "ka-ps"
    assert plan(baseline="none").baseline == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipes": ["none", "nonne"]}, "unknown recipe 'nonne': did you mean 'none'"),
        ({"recipes": ["none", "x/none.yaml"]}, "two have one name"),
        ({"recipes": []}, "recipes"),
        ({"seeds": 0}, "expected one seed or more"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": "many"}, "seeds"),
        ({"baseline": "ks"}, "unknown baseline 'ks'"),
        ({"teachers": []}, "recipe 'kd' needs a teacher"),
        ({"vary": {"training.learning_rat": [1]}}, "unknown key"),
        ({"vary": {"training.epochs": [0]}}, "epochs"),
        ({"vary": {"training.learning_rate": [0.1, 1e-1]}}, "would share folder runs/none/training.learning_rate=0.1/"),
        (
            {"recipes": ["none"], "vary": {"recipe.terms.ce.where": ["labeled | unlabeled", "labeled & unlabeled"]}},
            "would share folder",
        ),
        ({"recipes": {"a b": {"recipe": "none"}, "a-b": {"recipe": "none"}}}, "would share folder runs/a-b/seed-0"),
    ],
)
def test_what_does_not_fit_is_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        plan(**options)
    assert "\n" not in str(caught.value)


def test_students_of_one_seed_and_teacher_are_taught_together():
    planned = list(cells(plan(teachers=["a", "b"], vary={"training.learning_rate": [0.05, 0.1]})))
    groups = divide(planned, largest=100)
    assert sorted(len(group) for group in groups) == [4, 4, 6, 6]  # none is taught beside the first teacher's
    for group in groups:
        assert len({cell.seed for cell in group}) == 1
        assert len({cell.teacher for cell in group} - {None}) == 1
    assert sorted(len(group) for group in divide(planned, largest=5)) == [1, 1, 4, 4, 5, 5]
    assert {cell.place for group in divide(planned, 1) for cell in group} == {cell.place for cell in planned}
