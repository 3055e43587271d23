import pytest

from preceptor.data import load_dataset, subset, swap_pairs
from preceptor.errors import InputError
from preceptor.studies import STUDIES, find_study
from tests.classroom import digits


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_found_by_its_name(name):
    assert find_study(name).name == name


def test_an_unknown_name_is_offered_the_nearest():
    with pytest.raises(InputError, match="unknown study 'demmo': did you mean 'demo'"):
        find_study("demmo")


@pytest.mark.parametrize("name", ["demo", "teacher-quality"])
def test_no_recipe_is_left_out_because_it_is_unflattering(name):
    study = find_study(name)
    assert {"none", "kd", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong"} <= {arm.recipe for arm in study.arms}
    assert study.baseline == "kd"


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_it_can_be_run(study):
    study.check()
    assert len(study.seeds) >= 3
    assert all(len(arm.said) > 10 for arm in study.arms)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_a_rival_is_not_held_against_a_third(study):
    """Otherwise a difference would not say what it is a difference to."""
    arms = {arm.name: arm for arm in study.arms}
    rivals = {arm.against for arm in study.arms if arm.against is not None}
    assert all(arms[name].against is None for name in rivals)


def test_selections_are_held_against_random_ones_of_their_size():
    study = find_study("data-selection")
    arms = {arm.name: arm for arm in study.arms}
    held = [arm for arm in study.arms if arm.against is not None]
    assert sorted((arm.overrides["selection.keep"], "selection.ascending" in arm.overrides) for arm in held) == [
        (share, lowest) for share in (0.5, 0.7, 0.9) for lowest in (False, True)
    ]
    for arm in held:
        control = arms[arm.against].overrides["selection"]
        assert control == {"name": "random", "keep": arm.overrides["selection.keep"]}
        assert arms[arm.against].recipe == arm.recipe


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_it_says_what_it_shows_and_what_not(study):
    assert min(len(text) for text in (study.title, study.setting, study.shows, study.does_not_show)) > 20
    for kind in study.teachers:
        assert f"{100 * kind.rate:.0f}" in study.setting or kind.rate == 0


def test_the_demo_runs_on_digits_that_are_already_here():
    demo = find_study("demo")
    assert demo.data == "digits"
    assert "half" in demo.setting
    pool = len(digits().train) * (1 - demo.held_out)
    assert demo.training_images == pytest.approx(pool / 2, rel=0.02)


def test_the_demos_pairs_hold_forty_percent_wrong_labels():
    demo, labels = find_study("demo"), digits().train.labels
    wrong = swap_pairs(labels, demo.pairs, demo.teachers[0].rate, 0) != labels
    confused = [label for pair in demo.pairs for label in pair]
    assert sorted(confused) == [1, 3, 4, 5, 6, 7, 8, 9]
    for label in range(10):
        assert wrong[labels == label].double().mean() == pytest.approx(0.4 if label in confused else 0, abs=0.01)


def test_every_class_is_among_the_demos_lessons():
    demo, labels = find_study("demo"), load_dataset("digits").train.labels
    assert len(labels[subset(labels, demo.training_images, 0)].unique()) == 10
