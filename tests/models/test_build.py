import sys

import pytest
import torch

import preceptor.models
from preceptor.errors import InputError
from preceptor.models import CifarResNet, ConvNet, build_model, known_models, seeded_model
from preceptor.models import family as family_module


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "kind", "dimensions"),
    [("resnet8", CifarResNet, 64), ("resnet14x2", CifarResNet, 128), ("convnet4", ConvNet, 16)],
)
def test_a_name_gives_its_network(name, kind, dimensions):
    network = build_model(name, channels=2, classes=7)
    assert isinstance(network, kind)
    assert network.head.weight.shape == (7, dimensions)
    assert network.eval()(torch.randn(1, 2, 8, 8)).shape == (1, 7)


def test_depth_and_width_are_not_swapped():
    assert len(build_model("resnet20x1", channels=3, classes=2).stage1) == 3


@pytest.mark.parametrize("name", ["resnet8", "convnet8"])
def test_the_caller_s_seed_decides_the_weights(name):
    def draw(seed):
        torch.manual_seed(seed)
        return build_model(name, channels=1, classes=10)

    assert same_weights(draw(3), draw(3))
    assert not same_weights(draw(3), draw(4))


def test_a_seed_draws_the_weights_and_leaves_the_caller_s_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (seeded_model("convnet4", channels=1, classes=3, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(first, again)
    assert not same_weights(first, other)


@pytest.mark.parametrize(
    ("given", "offered"), [("resent20", "resnet20"), ("conv8", "convnet8"), ("timm-resnet18", "timm:resnet18")]
)
def test_an_unknown_name_is_offered_the_nearest(given, offered):
    with pytest.raises(InputError, match=rf"unknown model '{given}': did you mean '{offered}'\?.*resnet\{{depth\}}"):
        build_model(given, channels=3, classes=10)


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet21", r"6n\+2"), ("resnet8x0", "width is 0"), ("convnet0", "width is 0"), ("convnet-3", "unknown")],
)
def test_impossible_sizes(name, message):
    with pytest.raises(InputError, match=message):
        build_model(name, channels=3, classes=10)


@pytest.mark.parametrize(("channels", "classes"), [(0, 10), (3, 0), (-1, 2)])
def test_channels_and_classes_are_checked(channels, classes):
    with pytest.raises(InputError, match=f"channels is {channels} and classes {classes}; expected"):
        build_model("convnet4", channels=channels, classes=classes)


def test_known_models_shows_patterns_with_examples_that_build():
    lines = known_models()
    assert any(line.startswith("resnet{depth} or resnet{depth}x{width}, such as resnet8") for line in lines)
    assert {line.split("{")[0] for line in lines} >= {"resnet", "convnet", "timm:", "torchvision:"}
    for line in lines:
        for example in line.split(", such as ")[1].split(", "):
            if ":" not in example:
                build_model(example, channels=1, classes=2)


def test_a_new_family_costs_one_file(tmp_path, monkeypatch):
    (tmp_path / "perceptron.py").write_text(
        "from torch import nn\n"
        "from preceptor.models.family import model_family\n"
        "@model_family('perceptron{pixels}', examples=('perceptron64',))\n"
        "def perceptron(pixels, channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(pixels * channels, classes))\n"
    )
    monkeypatch.setattr(preceptor.models, "__path__", [*preceptor.models.__path__, str(tmp_path)])
    monkeypatch.setattr(family_module, "_families", dict(family_module._families))
    try:
        network = build_model("perceptron16", channels=2, classes=3)
        assert network(torch.randn(5, 2, 4, 4)).shape == (5, 3)
        assert "perceptron{pixels}, such as perceptron64" in known_models()
        with pytest.raises(InputError, match="did you mean 'perceptron64'"):
            build_model("perceptrom64", channels=1, classes=2)
    finally:
        sys.modules.pop("preceptor.models.perceptron", None)
