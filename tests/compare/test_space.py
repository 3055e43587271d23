"""Spaces of settings: how they are written, what is refused, and where the defaults lie in them."""

import pytest

from preceptor.compare.space import Range, as_text, checked_space, configured, defaults_in, grid, parse_space
from preceptor.errors import InputError
from preceptor.run import resolve
from tests.training_helpers import SMALL_RUN


def config(recipe="kd", **settings):
    return resolve({**SMALL_RUN, "student": "convnet4", "precision": "fp32", "recipe": recipe, **settings})


def checked(*texts, **settings):
    return checked_space(config(**settings), parse_space(texts))


def test_ranges_and_lists():
    space = parse_space(
        [
            "training.learning_rate=0.01..3e-1:log",
            "training.epochs = 5..20",
            "recipe=kd,ka-ps",
            "recipe.temperature.temperature=-1..8",
            "augment=true,false",
            "cache=null,a..b",
        ]
    )
    assert space == {
        "training.learning_rate": Range(0.01, 0.3, log=True),
        "training.epochs": Range(5, 20),
        "recipe": ("kd", "ka-ps"),
        "recipe.temperature.temperature": Range(-1, 8),
        "augment": (True, False),
        "cache": (None, "a..b"),
    }
    numbers = {key: one for key, one in space.items() if isinstance(one, Range)}
    assert parse_space([f"{key}={text}" for key, text in as_text(numbers).items()]) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.epochs", "expected KEY=A..B, KEY=A..B:log or KEY=X,..."),
        ("=1..2", "expected KEY=A..B"),
        ("training.epochs=", "expected KEY=A..B"),
        ("training.epochs=5", "nothing to choose"),
        ("recipe=kd,kd", "nothing to choose"),
        ("training.epochs=20..5", "a larger number"),
        ("training.epochs=5..5", "a larger number"),
        ("training.epochs=..5", "nothing to choose"),
        ("training.epochs=e..5", "a larger number"),
        ("training.learning_rate=0.1..0.2:lgo", "unknown scale 'lgo'"),
        ("training.learning_rate=0..0.2:log", "a logarithmic scale has no 0"),
        ("recipe={a: 1},kd", "expected a range A..B or a list of values"),
    ],
)
def test_what_is_no_dimension_is_one_line(text, message):
    with pytest.raises(InputError, match="space") as caught:
        parse_space([text])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_is_set_once():
    with pytest.raises(InputError, match="set twice"):
        parse_space(["seed=1..2", "seed=3..4"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "the space is empty"),
        (["seed=0..9"], "space of seed: what is measured"),
        (["validation=0.1,0.2"], "space of validation: what is measured"),
        (["training.epoch=1..2"], "training.epoch=1 does not fit: .*unknown key"),
        (["training.epochs=0..2"], "training.epochs=0 does not fit"),
        (["training.epochs=1.5..2"], "training.epochs=1.5 does not fit"),
        (["recipe=kd,kdd"], "unknown recipe 'kdd'"),
        (["recipe.temperature.temperatur=1..8"], "unknown option"),
        (["recipe=kd,none", "recipe.temperature.temperature=1..8"], "recipe=none, recipe.temperature.temperature=1"),
        (["recipe.temperature.temperature=1,0"], "temperature"),
    ],
)
def test_what_does_not_fit_the_run_is_one_line(texts, message):
    with pytest.raises(InputError, match=message) as caught:
        checked(*texts)
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_those_of_the_setting():
    space = checked("training.epochs=1..3", "training.weight_decay=0..1", "recipe.temperature.temperature=1..8")
    assert [one.whole for one in space.values()] == [True, False, False]


def test_the_defaults_in_a_space():
    made = config("label-revision", training={"epochs": 2, "learning_rate": 0.05})
    for texts, point in [
        (["training.learning_rate=0.01..0.1:log", "training.epochs=1..3"], [0.05, 2]),
        (["recipe=kd,label-revision", "student=resnet8,convnet4"], ["label-revision", "convnet4"]),
        (["recipe.correction.eta=0.5,0.8", "recipe.terms.logits.weight=1..9"], [0.8, 4.0]),
        (["training.learning_rate=0.1..0.2"], None),
        (["recipe=kd,ka-ps"], None),
        (["augment=false,null"], None),
    ]:
        space = checked_space(made, parse_space(texts)) if "null" not in texts[0] else parse_space(texts)
        defaults = defaults_in(made, space)
        assert (defaults and list(defaults.values())) == point
        if defaults is not None:
            assert configured(made, defaults) == made


def test_a_components_own_default_counts():
    made = config({"correction": "label_revision", "terms": {"kl": {"loss": "kl"}}})
    assert defaults_in(made, parse_space(["recipe.correction.eta=0.1..1"])) == {"recipe.correction.eta": 0.8}


def test_a_recipe_of_the_space_replaces_that_of_the_run():
    made = configured(config(**{"training": {"epochs": 7}}), {"recipe": "ka-ps", "training.learning_rate": 0.2})
    assert made == config("ka-ps", training={"epochs": 7, "learning_rate": 0.2})


def test_a_grid_is_every_combination():
    space = checked("training.epochs=1..3", "recipe=kd,none")
    assert len(list(grid(space))) == 6
    assert {tuple(point.values()) for point in grid(space)} == {(n, name) for n in (1, 2, 3) for name in ("kd", "none")}
    with pytest.raises(InputError, match="a grid takes lists"):
        list(grid(checked("training.learning_rate=0.1..0.2")))
