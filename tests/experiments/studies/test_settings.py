import pytest

from experiments.studies import STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_it_can_be_run_and_says_what_it_shows_and_what_not(name):
    study = STUDIES[name]
    assert study.name == name
    study.check()
    assert len(study.seeds) >= 3
    assert min(len(text) for text in (study.title, study.setting, study.shows, study.does_not_show)) > 20
    assert all(len(arm.description) > 10 for arm in study.arms)


@pytest.mark.parametrize("name", ["teacher-quality", "faulty-teacher-fashion-mnist"])
def test_no_recipe_is_left_out_because_it_is_unflattering(name):
    study = STUDIES[name]
    assert {"none", "kd", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong"} <= {arm.recipe for arm in study.arms}
    assert study.baseline == "kd"
    for kind in study.teachers:
        assert f"{100 * kind.rate:.0f}" in study.setting or kind.rate == 0


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_a_baseline_has_no_baseline_of_its_own(study):
    """Otherwise a difference would not say what it is a difference to."""
    arms = {arm.name: arm for arm in study.arms}
    baselines = {arm.baseline for arm in study.arms if arm.baseline is not None}
    assert all(arms[name].baseline is None for name in baselines)


def test_selections_are_compared_with_random_ones_of_their_size():
    study = STUDIES["data-selection"]
    arms = {arm.name: arm for arm in study.arms}
    selections = [arm for arm in study.arms if arm.baseline is not None]
    assert sorted((arm.overrides["selection.keep"], "selection.ascending" in arm.overrides) for arm in selections) == [
        (share, lowest) for share in (0.5, 0.7, 0.9) for lowest in (False, True)
    ]
    for arm in selections:
        control = arms[arm.baseline].overrides["selection"]
        assert control == {"name": "random", "keep": arm.overrides["selection.keep"]}
        assert arms[arm.baseline].recipe == arm.recipe
