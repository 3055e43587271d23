import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from preceptor.models import family as family_module
from preceptor.models.family import Family, model_family


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(family_module, "_families", {})


def family(*templates):
    return Family(templates, (), nn.Module)


@given(depth=st.integers(0, 9_999), width=st.integers(0, 9_999))
def test_numbers_written_into_a_template_are_read_back(depth, width):
    both = family("net{depth}", "net{depth}x{width}")
    assert both.parse(f"net{depth}") == {"depth": depth}
    assert both.parse(f"net{depth}x{width}") == {"depth": depth, "width": width}


@pytest.mark.parametrize("name", ["net", "net-1", "net1.5", "net01", "net٣", "anet1", "net1 ", "net1\n", "NET1", ""])
def test_only_plain_whole_numbers_fit(name):
    assert family("net{depth}").parse(name) is None


def test_a_field_in_capitals_takes_any_text():
    assert family("hub:{NAME}").parse("hub:vit_b.in1k:2") == {"name": "vit_b.in1k:2"}
    assert family("hub:{NAME}").parse("hub:") is None


def test_signs_of_a_template_are_literal():
    assert family("net.{depth}").parse("netx3") is None


def test_decorator_hands_the_class_back_and_lists_it(own_registry):
    @model_family("tiny{width}", examples=("tiny2",))
    class Tiny(nn.Module): ...

    assert issubclass(Tiny, nn.Module)
    assert [entry.build for entry in family_module._families.values()] == [Tiny]


@pytest.mark.parametrize("examples", [(), ("tine2",)])
def test_examples_must_fit(own_registry, examples):
    with pytest.raises(ValueError, match="examples that fit"):
        model_family("tiny{width}", examples=examples)(nn.Module)


def test_a_template_has_one_builder(own_registry):
    model_family("tiny{width}", examples=("tiny2",))(nn.Module)
    with pytest.raises(ValueError, match="already the name of Module"):
        model_family("small{width}", "tiny{width}", examples=("tiny2",))(nn.Linear)
