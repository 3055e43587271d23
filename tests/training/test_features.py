"""Features end to end: from a recipe through teacher, trainer and loss, and what cannot give them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from preceptor import Attention, CrossEntropy, DistillationLoss, Hint, InputError, LossTerm, recipe
from preceptor.models import seeded_model
from preceptor.models.features import FeatureModel, ImageModel
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.training import Student, TrainingConfig
from tests.training_helpers import (
    BRIEF,
    Records,
    StateAfter,
    batches,
    data_of,
    digits,
    network,
    same_bits,
    train,
    trainer_of,
    weights,
)

RECIPES = {
    **{"at": "at", "fitnet": "hint", "ka-at": "at", "lr-fitnet": "hint"},
    **{"sp": "sp", "rkd": "rkd", "pkt": "pkt", "review": "review", "vid": "vid", "itrd": "itrd"},
}
"""Recipes with features, and the term of each that compares them: it learns from an untrained teacher, too."""


def wide_teacher(seed: int = 99) -> NetworkTeacher:
    return NetworkTeacher(network(seed, "convnet16"), digits().normalization)


def student(name: str, seed: int = 0) -> Student:
    return Student(name, network(seed), DistillationLoss.from_recipe(name))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_with_features_trains_and_its_adapters_do_not_ship(name: str) -> None:
    one, records = student(name), Records()
    keys = set(one.network.state_dict())
    train([one], 40, TrainingConfig(epochs=10, batch_size=20), teacher=wide_teacher(), callbacks=[records])
    losses = [epoch[0].losses[RECIPES[name]] for epoch in records.epochs]
    assert losses[-1] < max(losses[:2])  # a weight may rise from zero in the first
    assert set(one.network.state_dict()) == keys
    assert not any(module._forward_hooks for module in one.network.modules())


def test_the_loss_is_what_the_features_of_both_networks_give() -> None:
    """The first step's loss against the same computed by hand from hooked layers."""
    one, records = student("at"), Records()
    config = TrainingConfig(epochs=1, batch_size=40)
    train([one], 40, config, teacher=wide_teacher(), callbacks=[records], precision="fp32")
    (batch,) = batches(data_of(40), 40)
    images = digits().normalization(batch.inputs)

    def maps(module: nn.Module) -> list[Tensor]:
        outputs: list[Tensor] = []
        for layer in ("layers.0", "layers.2", "layers.4"):
            module.get_submodule(layer).register_forward_hook(lambda m, i, o: outputs.append(o.detach().double()))
        module(images)
        flat = [one.pow(2).mean(1).flatten(1) for one in outputs]
        return [one / one.norm(dim=1, keepdim=True) for one in flat]

    expected = sum(
        float((own - other).pow(2).mean())
        for own, other in zip(maps(network().train()), maps(network(99, "convnet16").eval()), strict=True)
    )
    assert records.epochs[0][0].losses["at"] == pytest.approx(1000 * expected, rel=1e-4)


def test_several_students_learn_as_each_alone() -> None:
    together = [student("fitnet"), student("at"), student("crd"), student("kd")]
    train(together, teacher=wide_teacher(), precision="fp32")
    for one in together:
        alone = student(one.name)
        train([alone], teacher=wide_teacher(), precision="fp32")
        if one.name == "kd":  # without features its teacher is the same network
            assert same_bits(weights(one.network), weights(alone.network))
        else:
            assert same_bits(weights(one.network), weights(alone.network)), one.name


def test_students_that_share_a_loss_with_features_are_refused() -> None:
    shared = DistillationLoss.from_recipe("crd")
    with pytest.raises(InputError, match="student 'b': its loss is another student's too"):
        train([Student("a", network(0), shared), Student("b", network(1), shared)], teacher=wide_teacher())


def test_review_compares_maps_before_the_activation() -> None:
    loss, records = DistillationLoss.from_recipe("review"), Records()
    train([Student("review", network(), loss)], 40, BRIEF, teacher=wide_teacher(), callbacks=[records])
    assert set(loss.teacher_layers) == {"layers.0:pre", "layers.2:pre", "layers.4:pre"}
    activated, plain = {"terms.review.feature_loss": {"name": "review", "activated": True}}, Records()
    loss = DistillationLoss.from_recipe("review", activated)
    train([Student("review", network(), loss)], 40, BRIEF, teacher=wide_teacher(), callbacks=[plain])
    assert records.epochs[0][0].losses["review"] != plain.epochs[0][0].losses["review"]


@pytest.mark.parametrize("steps", [1, 3, 4])
@pytest.mark.parametrize("name", ["lr-fitnet", "crd", "review"])
def test_adapters_and_memories_resume_in_the_same_bits(name: str, steps: int) -> None:
    whole, late, kept = student(name), student(name, seed=4), StateAfter(steps)
    train([whole], teacher=wide_teacher(), callbacks=[kept])
    train([late], teacher=wide_teacher(), state=kept.state())
    assert same_bits(weights(whole.network), weights(late.network))
    assert same_bits(weights(whole.loss), weights(late.loss))


def test_an_optimized_teacher_gives_the_features_of_the_network_as_it_came() -> None:
    """Folding would change what a convolution's output is."""
    plain, folded = wide_teacher(), wide_teacher().optimize_for_inference(bf16=False)
    images = digits().train.images[:4]
    at = torch.arange(4)
    for teacher in (plain, folded):
        convolution = teacher.with_features(["layers.0.0"]).outputs(images, at, at)
        torch.testing.assert_close(convolution.logits, plain(images))
        expected = plain.network.layers[0][0](digits().normalization(images))
        torch.testing.assert_close(convolution.features["layers.0.0"], expected)


def test_a_compiled_student_returns_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.training import compile as compile_module

    monkeypatch.setattr(compile_module, "BACKEND", "aot_eager")
    plain, compiled = student("fitnet"), student("fitnet")
    train([plain], 32, BRIEF, teacher=wide_teacher(), precision="fp32", compile="never")
    train([compiled], 32, BRIEF, teacher=wide_teacher(), precision="fp32", compile="always")
    for one, other in zip(plain.network.parameters(), compiled.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_layers_by_path_for_a_module_of_ones_own() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
            self.head = nn.Linear(4, 10)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(images).mean(dim=(2, 3)))

    def loss(layers: dict[str, str] | None) -> DistillationLoss:
        return DistillationLoss(terms={"ce": LossTerm(CrossEntropy()), "at": LossTerm(Attention(layers), 10.0)})

    records = Records()
    train([Student("own", Own(), loss({"body": "layers.0"}))], teacher=wide_teacher(), callbacks=[records])
    assert records.epochs[-1][0].losses["at"] > 0
    with pytest.raises(InputError, match="attention: which layers are compared"):
        train([Student("own", Own(), loss(None))], teacher=wide_teacher())
    with pytest.raises(InputError, match=r"layer of Own.*'bodi': did you mean 'body'"):
        train([Student("own", Own(), loss({"bodi": "layers.0"}))], teacher=wide_teacher())
    with pytest.raises(InputError, match=r"attention: layer 'head' gives \(2, 10\).*expected maps"):
        train([Student("own", Own(), loss({"head": "head"}))], teacher=wide_teacher())


def test_a_teacher_of_logits_alone_says_so_before_the_first_step() -> None:
    class Rows:
        classes = 10

        def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
            raise AssertionError("queried")

    terms = {"ce": LossTerm(CrossEntropy()), "hint": LossTerm(Hint({"layers.0": "layers.0"}))}
    with pytest.raises(
        InputError, match=r"term 'hint' compares features, and this teacher \(Rows\) gives logits alone"
    ):
        train([Student("hint", network(), DistillationLoss(terms=terms))], teacher=Rows())


def test_in_a_loop_of_ones_own() -> None:
    loss = DistillationLoss.from_recipe("at", {"terms.at.feature_loss": {"name": "attention", "layers": {"a": "b"}}})
    own, other = torch.randn(4, 3, 5, 5, requires_grad=True), torch.randn(4, 8, 5, 5)
    logits, label = torch.randn(4, 10), torch.arange(4)
    output = loss(logits, torch.randn(4, 10), label, student_features={"a": own}, teacher_features={"b": other})
    output["at"].backward()
    assert float(own.grad.norm()) > 0
    with pytest.raises(InputError, match="term 'at' compares layer 'b' of the teacher: give teacher_features"):
        loss(logits, torch.randn(4, 10), label, student_features={"a": own})


def test_a_sample_of_weight_zero_has_gradient_zero() -> None:
    parts = recipe("ka-at", {"terms.at.feature_loss": {"name": "attention", "layers": {"a": "a"}}})
    own = torch.randn(3, 2, 4, 4)
    own[1] = torch.inf  # even where its features are not finite
    own.requires_grad_()
    teacher = torch.eye(3, 5) * 4
    label = torch.tensor([0, 3, 2])  # the teacher is wrong on the second, which the term leaves out
    features = {"a": torch.randn(3, 2, 4, 4)}
    output = DistillationLoss(**parts)(
        torch.zeros(3, 5), teacher, label, student_features={"a": own}, teacher_features=features
    )
    output["at"].backward()
    assert torch.equal(own.grad[1], torch.zeros(2, 4, 4))
    assert bool(own.grad.isfinite().all())
    assert float(own.grad[0].norm()) > 0


def test_a_checkpoint_holds_no_teacher(tmp_path: Path) -> None:
    trainer = trainer_of([student("fitnet")], data_of(40), BRIEF, teacher=wide_teacher())
    state = trainer.state().students["fitnet"]
    assert set(state["network"]) == {f"network.{key}" for key in network().state_dict()}
    assert all(key.startswith("_terms.hint.loss.regressors") for key in state["loss"])


@pytest.mark.parametrize("name", ["resnet8", "imagenet-resnet18", "convnet8"])
def test_the_layers_that_networks_list_exist(name: str) -> None:
    module = seeded_model(name, channels=1, classes=10, seed=0)
    wrapped = FeatureModel(ImageModel(module, digits().normalization), module.feature_layers)
    _, features = wrapped(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
    assert [one.dim() for one in features.values()] == [4] * len(module.feature_layers)
