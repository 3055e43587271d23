import inspect
import json

import pytest

from preceptor.recipes import read_recipe, recipe_names
from preceptor.registry import components, options


@pytest.fixture
def listed(preceptor):
    done = preceptor("methods", "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_json_lists_every_stage_with_paper_and_defaults(listed):
    assert len(listed["components"]) == len(components())
    for info in components():
        [entry] = [entry for entry in listed["components"] if (entry["kind"], entry["name"]) == (info.kind, info.name)]
        assert entry["paper"] == info.paper != ""
        assert entry["summary"] == info.summary
        assert entry["options"].keys() == options(info).keys()
        for name, option in options(info).items():
            expected = "required" if option.default is inspect.Parameter.empty else option.default
            assert entry["options"][name] == json.loads(json.dumps(expected))  # a tuple is listed as a list


def test_json_lists_every_recipe_as_it_is(listed):
    assert [entry["name"] for entry in listed["recipes"]] == recipe_names()
    for entry in listed["recipes"]:
        content = {key: value for key, value in entry.items() if key != "name"}
        assert type(read_recipe(entry["name"])).model_validate(content) == read_recipe(entry["name"])
        assert entry["paper"]


def test_the_stages_and_recipes_of_this_slice_are_there(listed):
    names = {(entry["kind"], entry["name"]) for entry in listed["components"]}
    assert {
        ("correction", "label_revision"),
        ("correction", "probability_shift"),
        ("correction", "label_smoothing"),
        ("selection", "drop_wrong"),
        ("temperature", "fixed"),
        ("loss", "kl"),
        ("label_loss", "cross_entropy"),
    } <= names
    assert {"none", "kd", "label-revision", "ka-ps", "ka-lsr", "drop-wrong"} <= set(recipe_names())


def test_every_setting_is_listed(preceptor):
    settings = json.loads(preceptor("methods", "--settings", "--json").out)["settings"]
    assert {"data", "training", "training.epochs", "seed"} <= {setting["key"] for setting in settings}
    shown = preceptor("methods", "--settings").out
    for setting in settings:
        assert f"  {setting['key']} " in shown


def test_the_list_for_people_names_everything_too(preceptor):
    done = preceptor("methods")
    assert (done.code, done.err) == (0, "")
    words = " ".join(done.out.split())
    for info in components():
        assert f" {info.name} " in words
        assert " ".join(info.paper.split()) in words
        for name, option in options(info).items():
            if option.default is not inspect.Parameter.empty:
                assert f"{name}={option.default}" in words
    for name in recipe_names():
        assert f" {name} " in words
        assert " ".join(read_recipe(name).paper.split()) in words
    assert max(map(len, done.out.splitlines())) <= 110
