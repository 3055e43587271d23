"""Tables and chart of a made-up result."""

import json

import pytest

from experiments.bench import unreliable
from experiments.bench.common import RESULTS
from experiments.unreliable.chart import SHOWN, headline
from experiments.unreliable.gains import PACKAGED, gains
from experiments.unreliable.result import BenchmarkResult, RecipeResult, SettingResult, TeacherResult
from experiments.unreliable.running import RECIPES
from preceptor.compare.differences import Difference


def difference(mean, reach=0.01):
    return Difference(
        mean=mean, low=mean - reach, high=mean + reach, seeds=2, samples=9, compared=3, of_seeds=0.1, of_samples=0.1
    )


def recipe(name, accuracy, labels=0.7, kd=0.6):
    return RecipeResult(
        recipe=name,
        rate=0.1,
        held_out=[0.5, 0.5],
        accuracy=[accuracy - 0.01, accuracy + 0.01],
        ece=[0.04, 0.06],
        copied=[0.5, 0.5],
        mended=[0.2, 0.3],
        to_labels=None if name == "none" else difference(accuracy - labels),
        to_kd=None if name == "kd" else difference(accuracy - kd),
        to_drop_wrong=None if name == "drop-wrong" else difference(accuracy - 0.65),
    )


def setting(name, accuracies, wrong="teacher"):
    teacher = TeacherResult(
        accuracy_on_students=[0.8, 0.82],
        confidence_on_students=[0.9, 0.9],
        accuracy_on_test=[0.8, 0.8],
        confidence_on_test=[0.9, 0.9],
    )
    return SettingResult(
        name=name,
        about="It is made up.",
        kind="natural",
        wrong=wrong,
        source="fashion-mnist",
        student="convnet16",
        labels=10,
        unlabeled=0,
        epochs=1,
        wrong_labels=[0.0, 0.0],
        teacher=teacher,
        situation="errors",
        recipes=[recipe(own, accuracies.get(own, 0.65)) for own in RECIPES],
        diverged=[],
    )


@pytest.fixture(scope="module")
def content():
    settings = [
        setting("harmful", {"none": 0.7, "kd": 0.6, "drop-wrong": 0.72, "dist": 0.8}),
        setting("noisy", {"none": 0.7, "kd": 0.75}, wrong="labels"),
    ]
    result = BenchmarkResult(seeds=[0, 1], rates=[0.1], settings=settings, versions={})
    return result.model_dump(mode="json")


def test_a_row_says_what_a_setting_shows(content):
    row = next(line for line in unreliable.markdown(content).splitlines() if line.startswith("| harmful |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["teacher", "81.0", "70.0"]
    assert cells[4] == "**−10.0** [−11.0, −9.0]"
    assert cells[5] == "drop-wrong", "dist is better, but checks nothing"
    assert cells[6:] == ["**+2.0** [+1.0, +3.0]", "**+12.0** [+11.0, +13.0]", "", "120 %"]


def test_where_kd_does_no_harm_none_is_undone(content):
    row = next(line for line in unreliable.markdown(content).splitlines() if line.startswith("| noisy |"))
    assert row.endswith("|  |")


def test_every_setting_says_what_it_is(content):
    assert "| harmful | natural | It is made up. | fashion-mnist | 10 | 0 | 90 | 80.0 |" in unreliable.markdown(content)


def test_the_decision_table_has_a_row_for_each_situation(content):
    text = unreliable.markdown(content)
    better = "the teacher is better than labels alone by 10 points or more"
    assert f"| {better} | 1 | −10.0 | −5.0 | −5.0 | dist | +10.0 |" in text
    assert "| labels are wrong, the teacher is good | 1 | +5.0 | −5.0 | −5.0 | kd | +5.0 |" in text


def test_a_recipe_that_diverged_somewhere_is_left_out_there():
    whole, broken = (setting(name, {"none": 0.7, "kd": 0.72}) for name in ("whole", "broken"))
    recipes = [own for own in broken.recipes if own.recipe != "dist"]
    broken = broken.model_copy(update={"recipes": recipes, "diverged": ["dist"]})
    text = unreliable.markdown(
        BenchmarkResult(seeds=[0], rates=[0.1], settings=[whole, broken], versions={}).model_dump(mode="json")
    )
    assert "| dist | −5.0 | −5.0 | 0 of 1 |" in text
    assert "| kd | +2.0 | +2.0 to +2.0 | 2 of 2 |" in text


def test_the_chart_has_the_gain_of_every_recipe_shown(content):
    panels = headline(content)["vconcat"]
    assert [panel["title"] for panel in panels] == ["Your labels are right", "Some of your labels are wrong"]
    rows = panels[0]["data"]["values"]
    assert list(dict.fromkeys(row["recipe"] for row in rows)) == list(SHOWN)
    (kd,) = [row for row in rows if row["recipe"] == "kd"]
    assert (kd["accuracy"], kd["gain"]) == pytest.approx((81, -10))


def test_the_gains_of_recipe_safe_are_those_that_an_audit_shows(content):
    own = next(one for one in content["settings"] if one["name"] == content["settings"][0]["name"])
    row = gains(content)["errors"]
    assert row["settings"] == len(content["settings"])
    accuracy = {one["recipe"]: one["accuracy"] for one in own["recipes"]}
    gain = 100 * (sum(accuracy["safe-audited"]) - sum(accuracy["none"])) / 2
    assert row["to_labels"][0] == pytest.approx(gain, abs=0.06)


def test_the_packages_file_is_made_of_the_committed_result():
    result = RESULTS / "unreliable-supervision.json"
    expected = gains(json.loads(result.read_text())) if result.exists() else {}
    assert json.loads(PACKAGED.read_text()) == expected, "run: make tables"
