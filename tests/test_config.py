from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from preceptor.config import parse_override, read_yaml, validated, with_overrides
from preceptor.errors import InputError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "given.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_true_and_false_are_the_only_label_loss_values(tmp_path: Path) -> None:
    path = written(tmp_path, "on: yes\noff: no\ny: True\nn: false\nN: [on, True, TRUE, tRUE]\n")
    assert read_yaml(path) == {"on": "yes", "off": "no", "y": True, "n": False, "N": ["on", True, True, "tRUE"]}
    assert parse_override("terms.kl.loss.on=off") == ("terms.kl.loss.on", "off")


def test_a_mapping_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a: 1\nb: {c: [x, 2.5], d: null}\nänne: 'yes'\n")
    assert read_yaml(path) == {"a": 1, "b": {"c": ["x", 2.5], "d": None}, "änne": "yes"}


def test_anchors_and_merges_are_plain_yaml(tmp_path: Path) -> None:
    path = written(tmp_path, "base: &base {eta: 0.8, scope: wrong}\nmine: {<<: *base, eta: 0.5}\n")
    assert read_yaml(path)["mine"] == {"eta": 0.5, "scope": "wrong"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"duplicate key 'a'.*line 3"),
        ("terms:\n  kl: {weight: 1, weight: 2}\n", "duplicate key 'weight'"),
        ("a: [1, 2\n", "not valid YAML"),
        ("- a\n- b\n", "expected a mapping of names to values, not a list"),
        ("", "expected a mapping of names to values, not a NoneType"),
        ("1: a\n", "the key 1 is not a name"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("[1, 2]: x\n", "not valid YAML"),
        (b"a: \xff\xfe\n", "cannot be read as UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as error:
            read_yaml(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=5", ("epochs", 5)),
        ("a.b.c=0.5", ("a.b.c", 0.5)),
        ("on=true", ("on", True)),
        ("where=null", ("where", None)),
        ("name=", ("name", None)),
        ("where=right & selected", ("where", "right & selected")),
        ("equation=a=b", ("equation", "a=b")),
        (" spaced = 3", ("spaced", 3)),
        ("list=[1, 2]", ("list", [1, 2])),
    ],
)
def test_an_override_is_typed_by_yaml(text: str, expected: tuple[str, Any]) -> None:
    key, value = parse_override(text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["epochs", "=5", "  =5", "a=[1"])
def test_an_override_that_is_none_is_quoted(text: str) -> None:
    with pytest.raises(InputError, match=r"^override ") as error:
        parse_override(text)
    assert repr(text) in str(error.value)


def test_overrides_go_deep_and_leave_the_original_alone() -> None:
    content = {"correction": {"name": "label_revision", "eta": 0.8}, "terms": {"kl": {"weight": 1.0}}}
    changed = with_overrides(
        content, [("correction.eta", 0.5), ("terms.ce.label_loss", "cross_entropy"), ("selection", "x")]
    )
    assert changed == {
        "correction": {"name": "label_revision", "eta": 0.5},
        "terms": {"kl": {"weight": 1.0}, "ce": {"label_loss": "cross_entropy"}},
        "selection": "x",
    }
    assert content == {"correction": {"name": "label_revision", "eta": 0.8}, "terms": {"kl": {"weight": 1.0}}}


def test_an_override_below_a_component_named_in_short_keeps_the_component() -> None:
    assert with_overrides({"correction": "label_revision"}, [("correction.eta", 0.5)]) == {
        "correction": {"name": "label_revision", "eta": 0.5}
    }


def test_the_last_of_two_overrides_wins() -> None:
    assert with_overrides({}, [("a", 1), ("a", 2)]) == {"a": 2}


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weight: float = 1.0
    where: str | None = None

    @field_validator("where")
    @classmethod
    def _known(cls, where: str | None) -> str | None:
        if where == "nowhere":
            raise ValueError("must be somewhere")
        return where


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = 1
    share: float = Field(default=0.5, le=1)
    one: Inner | None = None
    terms: dict[str, Inner] = {}


def test_what_fits_is_built() -> None:
    content = {"epochs": 3, "terms": {"kl": {"weight": 2}}}
    assert validated(Outer, content, "run") == Outer(epochs=3, terms={"kl": Inner(weight=2.0)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "unknown key in run 'epoch': did you mean 'epochs'? known: epochs, one, share, terms"),
        ({"one": {"weigth": 1}}, "unknown key in run 'weigth': did you mean 'weight'? known: weight, where"),
        ({"terms": {"kl": {"were": "x"}}}, "unknown key in run 'were': did you mean 'where'? known: weight, where"),
        ({"epochs": "many"}, "run: epochs is 'many'; expected a whole number"),
        ({"terms": {"kl": {"weight": "big"}}}, "run: terms.kl.weight is 'big'; expected a number"),
        ({"terms": {"kl": 3}}, "run: terms.kl is 3; expected "),
        ({"share": 2}, "run: share is 2; expected a number less than or equal to 1"),
        ({"one": {"where": "nowhere"}}, "run: one.where: must be somewhere (given: 'nowhere')"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        validated(Outer, content, "run")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-1", 0.1), ("5E3", 5000.0), ("-2.5e+2", -250.0), ("1e", "1e"), ("e5", "e5")]
)
def test_scientific_notation_is_a_number(text, value):
    assert parse_override(f"key={text}") == ("key", value)


@pytest.mark.parametrize("text", ["2020-13-45", "0x_", "[" * 3000, "!!int x", "{a: 1, a: 2}"])
def test_values_that_yaml_trips_over_are_one_clear_line(text):
    with pytest.raises(InputError, match="the value is not valid YAML"):
        parse_override(f"key={text}")


def test_aliases_are_followed_as_far_as_they_are_meant(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("base: &b [1, 2, 3]\n" + "".join(f"x{n}: *b\n" for n in range(100)))
    assert read_yaml(path)["x99"] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 1, 1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
        "a: &a {<<: *a}\n",
        "a: &a [*a]\n",
    ],
    ids=["bomb", "merged into itself", "in itself"],
)
def test_aliases_without_bound_are_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("*a0", "*a"))
    with pytest.raises(InputError, match=r"a\.yaml: not valid YAML: "):
        read_yaml(path)


def test_a_long_value_is_shown_in_part(tmp_path):
    class Short(BaseModel):
        number: int

    with pytest.raises(InputError, match=r"here: number is '9+\.\.\.; expected a whole number$") as caught:
        validated(Short, {"number": "9" * 5000 + "x"}, "here")
    assert len(str(caught.value)) < 400


def test_a_missing_key_is_named():
    class Named(BaseModel):
        name: str

    with pytest.raises(InputError, match=r"^recipe mine: name is missing$"):
        validated(Named, {}, "recipe mine")
