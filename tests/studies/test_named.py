import pytest

from preceptor.data import load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.recipes import recipe_names
from preceptor.studies import STUDIES, find_study
from tests.classroom import digits


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_found_by_its_name(name):
    assert find_study(name).name == name


def test_an_unknown_name_is_offered_the_nearest():
    with pytest.raises(InputError, match="unknown study 'demmo': did you mean 'demo'"):
        find_study("demmo")


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_no_recipe_is_left_out_because_it_is_unflattering(study):
    assert {"none", "kd", "label-revision", "ka-ps", "ka-lsr", "drop-wrong"} <= set(study.recipes)
    assert set(study.recipes) <= set(recipe_names())
    assert study.baseline == "kd"
    assert len(study.seeds) >= 3


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_it_says_what_it_shows_and_what_not(study):
    assert min(len(text) for text in (study.title, study.setting, study.shows, study.does_not_show)) > 20
    assert f"{study.rate:.0%}".replace("%", " %") in study.setting


def test_the_demo_runs_on_digits_that_are_already_here():
    demo = find_study("demo")
    assert demo.data == "digits"
    assert "half" in demo.setting
    pool = len(digits().train) * (1 - demo.held_out)
    assert demo.lessons == pytest.approx(pool / 2, rel=0.02)


def test_the_demos_pairs_hold_forty_percent_wrong_labels():
    demo, labels = find_study("demo"), digits().train.labels
    wrong = swap_pairs(labels, demo.pairs, demo.rate, 0) != labels
    confused = [label for pair in demo.pairs for label in pair]
    assert sorted(confused) == [1, 3, 4, 5, 6, 7, 8, 9]
    for label in range(10):
        assert wrong[labels == label].double().mean() == pytest.approx(0.4 if label in confused else 0, abs=0.01)


def test_every_class_is_among_the_demos_lessons():
    demo, labels = find_study("demo"), load_dataset("digits").train.labels
    assert len(labels[subset(labels, demo.lessons, 0)].unique()) == 10
