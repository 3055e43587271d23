from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from torch.nn import functional as F

from preceptor import DistillationLoss, InputError, LabelRevision, LabelSmoothing, recipe, recipe_names
from preceptor.recipes import Recipe, read_recipe
from tests.examples import features, ready, suited
from tests.strategies import LogitBatch, logit_batches

TERM = "terms:\n  kl: {loss: kl}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_recipes_of_this_version_are_there() -> None:
    assert set(recipe_names()) >= {
        "none", "kd", "label-revision", "label-revision-kl", "ka-ps", "ka-lsr", "drop-wrong",
    }  # fmt: skip
    assert recipe_names() == sorted(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_described_and_trains(name: str) -> None:
    content = read_recipe(name)
    assert content.about
    assert content.paper
    loss = ready(name)
    student = suited(loss, torch.zeros(3, 4)).requires_grad_()
    teacher = torch.tensor([[4.0, 1, 0, 0], [3.0, 1, 0, 0], [0.0, 2, 0, 0]])
    maps = features(loss, 3, student)
    terms = loss(student, teacher, torch.tensor([0, 2, -1]), index=torch.arange(3), progress=0.5, **maps)
    terms.total.backward()
    assert set(terms.losses) == set(content.terms)
    assert terms.total > 0
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_survives_being_written_down(name: str, tmp_path: Path) -> None:
    content = read_recipe(name)
    dumped = content.model_dump(mode="json", exclude_none=True)
    assert Recipe.model_validate(dumped) == content


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_but_those_of_labels_alone_needs_its_teacher(name: str) -> None:
    assert DistillationLoss(**recipe(name)).uses_teacher == (name not in ("none", "gambler", "self-adaptive", "tf-kd"))


@given(logit_batches(largest=8.0))
def test_the_formulas_of_the_plain_recipes(batch: LogitBatch) -> None:
    z, t, y = batch.student, batch.teacher, batch.label
    ce = F.cross_entropy(z, y, reduction="none")
    kl = 16 * F.kl_div((z / 4).log_softmax(1), batch.outputs(4.0).logits, reduction="none", log_target=True).sum(dim=1)
    right = ~batch.wrong
    expected = {
        "none": ce.mean(),
        "kd": (0.1 * ce + 0.9 * kl).mean(),
        "drop-wrong": torch.where(right, 0.1 * ce + 0.9 * kl, ce).mean(),
    }
    for name, total in expected.items():
        torch.testing.assert_close(DistillationLoss(**recipe(name))(z, t, y).total, total)


@given(logit_batches(largest=8.0))
def test_a_teacher_that_is_always_right_makes_every_correction_plain(batch: LogitBatch) -> None:
    arguments = batch.student, batch.teacher, batch.teacher_class
    kd = DistillationLoss(**recipe("kd"))(*arguments)
    for name in ("label-revision-kl", "drop-wrong"):
        torch.testing.assert_close(DistillationLoss(**recipe(name))(*arguments).total, kd.total)
    for name in ("ka-ps", "ka-lsr"):
        torch.testing.assert_close(DistillationLoss(**recipe(name))(*arguments).total, kd["kl"] / 0.9)


def test_overrides_reach_components_terms_and_their_options() -> None:
    parts = recipe("label-revision-kl", {"correction.eta": 0.5, "terms.kl.weight": 2, "temperature.temperature": 1})
    assert parts["correction"] == LabelRevision(eta=0.5)
    assert parts["terms"]["kl"].weight == 2
    assert parts["temperature"].temperature == 1  # type: ignore[union-attr]


def test_overrides_exchange_and_add_parts() -> None:
    parts = recipe(
        "ka-ps", {"correction": "label_smoothing", "correction.eps": 0.1, "terms.ce.label_loss": "cross_entropy"}
    )
    assert parts["correction"] == LabelSmoothing(eps=0.1)
    assert set(parts["terms"]) == {"kl", "ce"}
    assert recipe("ka-ps", {"correction": None})["correction"] is None


def test_an_override_does_not_last() -> None:
    recipe("kd", {"terms.kl.weight": 5.0})
    assert recipe("kd")["terms"]["kl"].weight == 0.9


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "selection: drop_wrong\n" + TERM)
    for name in (path, str(path)):
        parts = recipe(name)
        assert (parts["correction"], parts["temperature"]) == (None, None)
        assert parts["selection"] is not None


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("label-revison", {}, "unknown recipe 'label-revison': did you mean 'label-revision'"),
        ("../secrets", {}, "unknown recipe '../secrets'"),
        (
            "kd",
            {"temper": 4},
            "unknown key in recipe kd 'temper': .*known: about, avoid, correction, .*, recalibration",
        ),
        ("kd", {"termz.kl.weight": 1}, "unknown key in recipe kd 'termz': did you mean 'terms'"),
        ("kd", {"terms.kl.wieght": 1}, "unknown key in recipe kd 'wieght': did you mean 'weight'"),
        ("kd", {"terms.kl.weight": "big"}, r"recipe kd: terms\.kl\.weight is 'big'; expected a number"),
        ("kd", {"terms.kl.label_loss": "cross_entropy"}, "a term has one of loss, label_loss and feature_loss"),
        ("kd", {"terms.new.weight": 1}, "a term has one of loss, label_loss and feature_loss"),
        ("kd", {"terms.kl.where": "wrnog"}, "unknown group of samples in 'where' 'wrnog': did you mean 'wrong'"),
        ("kd", {"terms.kl.where": "selected"}, "selection is None: give one"),
        ("kd", {"terms.kl.reduction": "mean"}, r"terms\.kl\.reduction is 'mean'; expected 'batch' or 'where'"),
        ("kd", {"terms.kl.loss": "kll"}, "unknown loss component 'kll': did you mean 'kl'"),
        (
            "kd",
            {"terms.kl.loss.squared": True},
            "unknown option of loss component 'kl' 'squared': .*temperature_squared",
        ),
        (
            "kd",
            {"correction": "label_revison"},
            "unknown correction component 'label_revison': did you mean 'label_revision'",
        ),
        ("kd", {"correction": "label_revision", "correction.eta": 1.5}, "eta = 1.5: expected at least 0 and below 1"),
        ("kd", {"correction": 3}, "recipe kd: correction is 3; expected"),
        ("kd", {"temperature.temperature": "hot"}, r"fixed\.temperature = 'hot': input should be a valid number"),
        ("kd", {"terms": {}}, "recipe kd: terms: .*at least 1 item"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(name: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        DistillationLoss(**recipe(name, overrides))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TERM + TERM, "duplicate key 'terms'"),
        ("terms:\n  kl: {loss: kl}\n  kl: {loss: kl}\n", "duplicate key 'kl'"),
        ("corect: probability_shift\n" + TERM, "did you mean 'correction'"),
        ("about: nothing to learn\n", "terms is missing"),
        ("terms: kl\n", "terms is 'kl'; expected a mapping"),
        ("terms:\n  kl: kl\n", r"terms\.kl is 'kl'; expected a mapping"),
        ("terms:\n  kl: {loss: {eta: 1}}\n", r"terms\.kl\.loss\.name is missing"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        recipe(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        recipe(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_when_to_use_it_and_when_not(name):
    content = read_recipe(name)
    assert content.use
    assert content.avoid
