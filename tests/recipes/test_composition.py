"""``a+b`` is one recipe of two: each slot from the one that fills it, or a word on which slot both fill."""

from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import torch

from preceptor import DistillationLoss, InputError
from preceptor.config import read_yaml
from preceptor.recipes import read_recipe, reader, recipe_names
from preceptor.recipes.composition import composed
from preceptor.recipes.reader import FOLDER


def test_each_slot_comes_from_the_recipe_that_fills_it() -> None:
    both = read_recipe("ka-dtd+sp")
    corrects, transfers = read_recipe("ka-dtd"), read_recipe("sp")
    assert (both.correction, both.temperature) == (corrects.correction, corrects.temperature)
    assert both.terms == {**corrects.terms, **transfers.terms}


def test_the_losses_of_one_see_the_correction_of_the_other() -> None:
    joined = DistillationLoss.from_recipe("ka-ps+dist")
    student, teacher = torch.zeros(2, 3), torch.tensor([[3.0, 0, 0], [3.0, 0, 0]])
    output = joined(student, teacher, torch.tensor([0, 1]))
    assert output.audit is not None
    assert output.audit.target.argmax(dim=1).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("kd+at", r"recipe kd\+at: both fill terms.ce: kd \(label_loss: cross_entropy, weight: 0.1\) and at"),
        ("lr+kd", r"both fill temperature: lr \(name: fixed, temperature: 1.0\) and kd \(name: fixed, temperature: 4"),
        ("ka-ps+ka-lsr", "both fill correction: ka-ps .* and ka-lsr .*, or copy one into a YAML file and join them"),
        ("kd+nothing", "unknown recipe 'nothing'"),
        ("kd+", "unknown recipe ''"),
    ],
)
def test_what_does_not_fit_is_named(name: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_recipe(name)


def test_losses_without_a_temperature_keep_theirs(tmp_path: Path) -> None:
    """They are at temperature 1, which another recipe may not change unseen."""
    plain = tmp_path / "plain.yaml"
    plain.write_text("terms: {k2: {loss: kl}}\n")
    with pytest.raises(InputError, match=r"both fill temperature: kd .*plain.yaml \(name: fixed, temperature: 1"):
        read_recipe(f"kd+{plain}")
    one = {"name": "fixed", "temperature": 1.0}
    assert read_recipe(f"{plain}+none").model_dump()["temperature"] == one
    hot = read_recipe(f"kd+{plain}", {"temperature.temperature": 4.0})
    assert hot.temperature == read_recipe("kd").temperature


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("terms: {x: {loss: {eta: 1}}}", "name is missing"),
        ("terms: {x: }", "terms.x"),
        ("terms:", "terms"),
        ("correction: probability_shift", "terms is missing"),
    ],
)
def test_each_is_read_as_it_would_be_alone(tmp_path: Path, content: str, told: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(content)
    with pytest.raises(InputError, match=f"recipe .*own.yaml.*{told}|{told}.*own.yaml"):
        read_recipe(f"kd+{own}")


def test_losses_at_temperatures_of_their_own_take_any() -> None:
    assert read_recipe("sld+kd").temperature == read_recipe("kd").temperature


def test_a_bare_name_and_a_mapping_are_the_same_choice() -> None:
    one, other = ({"correction": own, "terms": {"ce": {"label_loss": "cross_entropy"}}} for own in ("x", {"name": "x"}))
    assert composed({"one": one, "other": other})["correction"] == "x"


def test_files_are_joined_too(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("selection: {name: random, keep: 0.5}\nterms: {kl: {loss: kl, weight: 1.0}}\ntemperature: cwsm\n")
    joined = read_recipe(f"{own}+fitnet")
    assert joined.selection is not None
    assert set(joined.terms) == {"kl", *read_recipe("fitnet").terms}
    both = tmp_path / "a+b.yaml"
    both.write_text(own.read_text())
    assert read_recipe(both) == read_recipe(own), "a file of that name is read as it is"


def test_overrides_decide_what_both_fill() -> None:
    joined = read_recipe("kd+at", {"terms.ce.weight": 1.0, "terms.at.weight": 5.0})
    assert {name: term.weight for name, term in joined.terms.items()} == {"ce": 1.0, "kl": 0.9, "at": 5.0}
    hot = read_recipe("lr+kd", {"temperature.temperature": 2.0, "terms.ce.where": "right", "terms.ce.weight": 1.0})
    assert hot.temperature == read_recipe("kd", {"temperature.temperature": 2.0}).temperature
    whole = {"temperature": "normkd", "terms.ce": {"label_loss": "cross_entropy"}}
    assert read_recipe("kd+dkd-lsk", whole).model_dump()["temperature"] == {"name": "normkd"}
    with pytest.raises(InputError, match=r"both fill terms.ce: .*: set what differs by recipe.terms.ce.KEY=VALUE"):
        read_recipe("kd+at", {"terms.kl.weight": 1.0})
    with pytest.raises(InputError, match="'wieght': did you mean 'weight'"):
        read_recipe("kd+dkd", {"terms.ce.wieght": 1.0})


def test_overrides_reach_the_composition() -> None:
    assert read_recipe("ka-ps+at", {"terms.at.weight": 5.0}).terms["at"].weight == 5.0


def test_every_pair_of_recipes_composes_or_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """What composes is the union of both, whichever is named first, and builds."""
    monkeypatch.setattr(reader, "read_yaml", cache(read_yaml))  # each of the files some hundred times
    monkeypatch.setattr(reader, "recipe_names", cache(recipe_names))
    joined, alone = 0, {name: (read_recipe(name), read_yaml(FOLDER / f"{name}.yaml")) for name in recipe_names()}
    written = {frozenset(name.split("+")) for name in recipe_names()}
    for first, second in combinations([name for name in recipe_names() if "+" not in name], 2):
        if {first, second} in written:
            assert read_recipe(f"{first}+{second}") == read_recipe(f"{second}+{first}")
            continue
        try:
            forwards = read_recipe(f"{first}+{second}")
        except InputError:
            for name in (f"{first}+{second}", f"{second}+{first}"):
                with pytest.raises(InputError, match="both fill"):
                    read_recipe(name)
            continue
        backwards = read_recipe(f"{second}+{first}")
        assert forwards.terms == backwards.terms
        for recipe, stated in (alone[first], alone[second]):
            for slot in stated.keys() - {"about", "paper", "use", "avoid", "suits", "terms"}:
                assert getattr(forwards, slot) == getattr(recipe, slot), stated[slot]
        joined += 1
    assert joined > 50
