"""A protocol trains its teachers once, compares recipes for every pair, and stands beside what was published."""

import json
from pathlib import Path
from typing import Any

import pytest

from preceptor import DistillationLoss, InputError
from preceptor.models import build_model
from preceptor.models.store import WEIGHTS_FILE
from preceptor.protocols import protocol_names, read_protocol, run_protocol
from preceptor.recipes import build_recipe_parts, read_recipe
from preceptor.run import resolve

SMALL = """
about: small
caveats: [made up]
run: {data: digits, train_images: 200, augment: false, device: cpu, precision: fp32, training: {epochs: 1}}
teacher: {training.epochs: 2}
recipes: [kd, cmkd]
seeds: 2
pairs:
  - {teacher: convnet8, student: convnet4, recipes: {kd: {recipe.terms.kl.weight: 0.5}},
     published: {teacher: 90, student: 50.5, kd: 60}}
  - {teacher: convnet8, student: convnet2, settings: {training.learning_rate: 0.01}}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("protocol")
    (folder / "small.yaml").write_text(SMALL)
    return folder, run_protocol("small", read_protocol(folder / "small.yaml"), folder / "out", jobs=1)


def test_every_pair_has_its_recipes_beside_what_was_published(small: tuple[Path, Any]) -> None:
    folder, result = small
    first, second = result.pairs
    assert [one.recipe for one in first.recipes] == ["none", "kd", "cmkd"]
    assert [one.published for one in first.recipes] == [0.505, 0.6, None]
    assert first.teacher_published == 0.9
    assert all(len(one.accuracy) == 2 for one in (*first.recipes, *second.recipes))
    assert json.loads((folder / "out" / "reproduced.json").read_text())["pairs"][0]["student"] == "convnet4"


def test_settings_of_a_pair_and_of_a_recipe_reach_the_runs(small: tuple[Path, Any]) -> None:
    plans = [(small[0] / "out" / f"convnet8-convnet{n}" / "plan.yaml").read_text() for n in (4, 2)]
    assert "recipe.terms.kl.weight: 0.5" in plans[0]
    assert "training.learning_rate" not in plans[0]
    assert "training.learning_rate: 0.01" in plans[1]


def test_a_teacher_is_trained_once_and_a_second_call_trains_nothing(small: tuple[Path, Any]) -> None:
    folder, result = small
    (run_file,) = (folder / "out" / "teachers").rglob("run.yaml")
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob(WEIGHTS_FILE)}
    assert run_file in {path.parent / "run.yaml" for path in before}
    again = run_protocol("small", read_protocol(folder / "small.yaml"), folder / "out", jobs=1)
    assert again.pairs == result.pairs
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").rglob(WEIGHTS_FILE)} == before


def test_a_teacher_of_other_settings_is_not_taken(small: tuple[Path, Any]) -> None:
    folder, _ = small
    other = read_protocol(folder / "small.yaml").model_copy(update={"teacher": {"training.epochs": 3}})
    with pytest.raises(InputError, match="holds a teacher of other settings"):
        run_protocol("small", other, folder / "out", pairs=["convnet8-convnet4"])


def test_unknown_names_are_refused(small: tuple[Path, Any]) -> None:
    protocol = read_protocol(small[0] / "small.yaml")
    with pytest.raises(InputError, match="unknown pair 'convnet8-convnet5'"):
        run_protocol("small", protocol, small[0] / "out", pairs=["convnet8-convnet5"])
    with pytest.raises(InputError, match="unknown protocol 'cifar10'"):
        read_protocol("cifar10")


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_names_what_there_is(name: str) -> None:
    protocol = read_protocol(name)
    for recipe in protocol.recipes:
        read_recipe(recipe)
    for pair in protocol.pairs:
        assert set(pair.recipes) <= set(protocol.recipes)
        for recipe in set(pair.published) - {"teacher", "student"}:
            read_recipe(recipe)
        for network in (pair.teacher, pair.student):
            if ":" not in network:
                build_model(network, channels=3, classes=10)
        for recipe in ("none", *protocol.recipes):
            settings = {**pair.settings, **pair.recipes.get(recipe, {})}
            run = resolve({**protocol.run, "student": pair.student, "recipe": recipe}, settings.items())
            loss = DistillationLoss(**build_recipe_parts(run.recipe))
            if ":" in pair.student:  # a network of a library lists no layers of its own
                assert all(one.layers for one in loss.feature_losses.values()), recipe
    assert protocol.caveats
