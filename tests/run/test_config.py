from pathlib import Path

import pytest
import yaml

from preceptor.errors import InputError
from preceptor.recipes import read_recipe
from preceptor.run import read_config, resolve
from preceptor.training import PRESETS


def test_the_defaults():
    config = resolve({})
    assert (config.data, config.student, config.validation, config.seed) == ("digits", "convnet8", 0.1, 0)
    assert config.training == PRESETS["short"]
    assert config.recipe == read_recipe("none")


def test_names_are_looked_up():
    config = resolve({"recipe": "ka-ps", "training": "standard"})
    assert config.training.epochs == 240
    assert config.recipe.correction.name == "probability_shift"


def test_a_recipe_may_be_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("terms:\n  ce: {label_loss: cross_entropy, weight: 0.25}\n")
    for given in (str(path), path):
        assert resolve({"recipe": given}).recipe.terms["ce"].weight == 0.25


def test_overrides_reach_into_recipe_and_protocol():
    given = [
        ("recipe", "label-revision"),
        ("recipe.correction.eta", 0.5),
        ("recipe.terms.logits.weight", 2),
        ("training.epochs", 7),
        ("seed", 3),
    ]
    config = resolve({"recipe": "kd", "training": "standard"}, given)
    assert config.recipe.correction.model_dump() == {"name": "label_revision", "eta": 0.5}
    assert config.recipe.terms["logits"].weight == 2
    assert (config.training.epochs, config.training.schedule, config.seed) == (7, "steps", 3)


def test_overrides_do_not_change_what_was_given():
    content = {"recipe": {"terms": {"ce": {"label_loss": "cross_entropy"}}}, "training": {"epochs": 3}}
    resolve(content, [("recipe.terms.ce.weight", 9.0), ("training.epochs", 5)])
    assert content == {"recipe": {"terms": {"ce": {"label_loss": "cross_entropy"}}}, "training": {"epochs": 3}}


def test_of_two_overrides_the_later_counts():
    assert resolve({}, [("training.epochs", 3), ("seed", 1), ("training.epochs", 4), ("seed", 2)]).seed == 2
    assert resolve({}, [("training.epochs", 3), ("training.epochs", 4)]).training.epochs == 4


@pytest.mark.parametrize("name", ["kd", "label-revision", "ka-lsr", "drop-wrong"])
def test_a_written_configuration_is_read_back_as_it_was(tmp_path, name):
    config = resolve({"recipe": name, "data_root": tmp_path, "training": "standard", "train_images": 7})
    path = tmp_path / "run.yaml"
    content = {"config": config.model_dump(mode="json", exclude_none=True), "record": {"versions": {}}}
    path.write_text(yaml.safe_dump(content))
    assert resolve(read_config(path)) == config


def test_a_plain_file_of_settings_is_read_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: kd\ntraining: {epochs: 3}\nteacher: runs/teacher\n")
    config = resolve(read_config(path))
    assert (config.teacher, config.training.epochs) == (Path("runs/teacher"), 3)


def test_a_run_file_whose_config_is_no_mapping(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("config: 3\nrecord: {}\n")
    with pytest.raises(InputError, match=r"run\.yaml: config is a int; expected a mapping"):
        read_config(path)


@pytest.mark.parametrize(
    ("content", "overrides", "told"),
    [
        ({"recipe": "lable-revision"}, [], "unknown recipe 'lable-revision': did you mean 'label-revision'"),
        ({"training": "shrt"}, [], "unknown training preset 'shrt': did you mean 'short'"),
        ({"trian_images": 5}, [], "unknown key in the configuration 'trian_images': did you mean train_images?"),
        ({}, [("training.epoch", 5)], "unknown key in the configuration 'epoch': did you mean 'epochs'"),
        ({}, [("recipe.tmper", "fixed")], "unknown key in recipe none 'tmper': did you mean 'temperature'"),
        ({}, [("recipe.terms.ce.wieght", 1)], "unknown key in recipe none 'wieght': did you mean 'weight'"),
        ({"recipe": {"terms": {"ce": {"lable_loss": "x"}}}}, [], "'lable_loss': did you mean 'label_loss'"),
        ({}, [("seed", 1.5)], "the configuration: seed is "),
        ({}, [("seed", -1)], "the configuration: seed is "),
        ({}, [("seed", 2**63)], "the configuration: seed is "),
        ({}, [("validation", float("nan"))], "the configuration: validation is "),
        ({}, [("validation", 1)], "the configuration: validation is "),
        ({}, [("train_images", 1)], "the configuration: train_images is "),
        ({}, [("device", "gpu")], "the configuration: device is 'gpu'; expected 'auto', 'cpu' or 'cuda'"),
        ({}, [("precision", "fp16")], "the configuration: precision is "),
        ({}, [("training.epochs", "ten")], "the configuration: training.epochs is 'ten'; expected a whole number"),
        ({}, [("compile", "yes")], "the configuration: compile is 'yes'; expected 'auto', 'never'"),
        ({"teacher": []}, [], "the configuration: teacher: an empty list: name at least one teacher"),
        ({"teacher": 3}, [], "the configuration: teacher"),
        (
            {"teacher_output": "logit"},
            [],
            "teacher_output is 'logit'; expected 'logits' or 'probabilities'",
        ),
        ({"ensemble_mean": "median"}, [], "ensemble_mean is 'median'; expected 'probabilities' or 'logits'"),
        ({"cache_top_k": 0}, [], "cache_top_k is 0; expected a number greater than or equal to 1"),
        ({"teacher_normalization": {"mean": [0.5]}}, [], "teacher_normalization.std is missing"),
        ({"epochs": 2}, [], "unknown key in the configuration 'epochs': did you mean training.epochs (--epochs)? "),
        ({"init": "x"}, [], "unknown key in the configuration 'init': preceptor methods --settings lists all"),
        ({"recipe": "kd", "weight": 2}, [], "recipe.terms.kl.weight"),
        ({"recipe": None}, [], "recipe is None; expected a recipe's name"),
        ({"training": 3}, [], "training is 3; expected short, standard"),
    ],
)
def test_what_is_wrong_is_named(content, overrides, told):
    with pytest.raises(InputError) as caught:
        resolve(content, overrides)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "teachers"),
    [
        (None, ()),
        ("runs/a", (Path("runs/a"),)),
        (["runs/a"], (Path("runs/a"),)),
        (["runs/a", "b.onnx"], (Path("runs/a"), Path("b.onnx"))),
    ],
    ids=["none", "one", "a list of one", "two"],
)
def test_one_teacher_or_several(tmp_path, given, teachers):
    config = resolve({"teacher": given})
    assert config.teachers == teachers
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
    assert resolve(read_config(path)) == config


def test_one_teacher_is_written_as_it_always_was():
    assert resolve({"teacher": ["runs/a"]}).model_dump(mode="json")["teacher"] == "runs/a"


def test_a_configuration_of_before_there_were_other_teachers_is_read(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("config: {data: digits, teacher: runs/teacher, recipe: kd, precision: fp32}\nrecord: {}\n")
    config = resolve(read_config(path))
    assert (config.teacher, config.precision, config.cache, config.compile) == (
        Path("runs/teacher"),
        "fp32",
        None,
        "auto",
    )


def test_keys_of_teacher_and_bank_by_override():
    given = [
        ("teacher", ["a", "b.onnx"]),
        ("teacher_normalization.mean", [0.5]),
        ("teacher_normalization.std", [0.25]),
        ("ensemble_weights", [2, 1]),
    ]
    config = resolve({}, given)
    assert config.teacher_normalization.normalization(3).std == (0.25,) * 3
    assert config.ensemble_weights == (2.0, 1.0)


def test_a_configuration_cannot_be_changed_once_checked():
    with pytest.raises(ValueError, match="frozen"):
        resolve({}).seed = 3  # type: ignore[misc]
