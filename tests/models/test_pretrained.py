"""Pretrained networks of timm, torchvision and Hugging Face, from caches laid out as theirs; without a network."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from preceptor.errors import InputError
from preceptor.models import build_model
from preceptor.models.pretrained import network_input

pytestmark = pytest.mark.usefixtures("torchvision_ops", "no_network")

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Whoever asks the network is refused, and listed."""
    import socket

    asked: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(str(arguments))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield asked
    assert not asked


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub."""
    import huggingface_hub.constants

    for module in [module for name, module in sys.modules.items() if name.startswith(("huggingface_hub", "timm"))]:
        if hasattr(module, "HF_HUB_CACHE"):
            monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(hub: Path, repository: str) -> Path:
    """The folder of a repository's one snapshot in the hub's cache."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def equal(first: nn.Module, second: nn.Module) -> set[str]:
    theirs = second.state_dict()
    return {
        name for name, one in first.state_dict().items() if one.shape == theirs[name].shape and one.equal(theirs[name])
    }


def test_timm_takes_weights_from_the_hubs_cache(hub: Path) -> None:
    import timm

    torch.manual_seed(3)
    source = timm.create_model("mobilenetv3_small_050")
    save_file(source.state_dict(), put(hub, "timm/mobilenetv3_small_050.lamb_in1k") / "model.safetensors")
    for name in ("timm:mobilenetv3_small_050", "timm:mobilenetv3_small_050.lamb_in1k"):
        network = build_model(name, channels=3, classes=2, weights="pretrained")
        assert set(source.state_dict()) - equal(network, source) == {"classifier.weight", "classifier.bias"}
        assert network.classifier.out_features == 2


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "torchvision:resnet18", "hf:org/absent"])
def test_what_the_cache_lacks_is_not_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"model '{name}': .* not in the library's cache.*--download"):
        build_model(name, channels=3, classes=2, weights="pretrained")
    assert not no_network


def test_torchvision_takes_weights_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(3)
    source = models.mobilenet_v3_small(weights=None)
    file = models.get_model_weights("mobilenet_v3_small").DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(source.state_dict(), tmp_path / "hub" / "checkpoints" / file)
    network = build_model("torchvision:mobilenet_v3_small", channels=3, classes=2, weights="pretrained")
    assert set(source.state_dict()) - equal(network, source) == {"classifier.3.weight", "classifier.3.bias"}


def hugging_face(folder: Path) -> nn.Module:
    """A small vision transformer, saved as that library saves it."""
    from transformers import ViTConfig, ViTForImageClassification

    names = dict(enumerate(("ant", "bee", "cat")))
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8,
        id2label=names, label2id={name: place for place, name in names.items()},
    )  # fmt: skip
    torch.manual_seed(3)
    network: nn.Module = ViTForImageClassification(config)
    network.save_pretrained(folder)
    processor = {
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2] * 3,
        "size": {"height": 16, "width": 16},
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return network


@pytest.mark.parametrize("in_cache", [False, True])
def test_hugging_face(hub: Path, tmp_path: Path, in_cache: bool) -> None:
    folder = put(hub, "org/vit") if in_cache else tmp_path / "vit"
    source = hugging_face(folder)
    name = "hf:org/vit" if in_cache else f"hf:{folder}"
    network = build_model(name, channels=3, classes=2, weights="pretrained")
    assert set(source.state_dict()) - equal(network, source) == {"classifier.weight", "classifier.bias"}
    whole = build_model(name, channels=3, classes=3, weights="pretrained").eval()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(whole(images).logits, source.eval()(images).logits)
    takes = network_input(name, 3)
    assert takes is not None
    assert takes.normalization is not None
    assert (takes.normalization.mean, takes.normalization.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    assert (takes.size, takes.interpolation, takes.class_names) == ((16, 16), "bicubic", ("ant", "bee", "cat"))


def test_what_libraries_state_of_their_weights() -> None:
    lite, resnet = network_input("timm:tf_efficientnet_lite0", 3), network_input("torchvision:resnet18", 3)
    assert lite is not None
    assert resnet is not None
    assert lite.normalization is not None
    assert resnet.normalization is not None
    assert lite.normalization.mean == (0.5, 0.5, 0.5)
    assert (lite.size, lite.interpolation, lite.crop) == ((224, 224), "bicubic", 0.875)
    assert (resnet.normalization.mean, resnet.normalization.std) == IMAGENET
    assert (resnet.size, resnet.interpolation, resnet.crop) == ((224, 224), "bilinear", 0.875)
    assert lite.class_names is not None
    assert resnet.class_names is not None
    assert (lite.class_names[309], resnet.class_names[309]) == ("n02206856, bee", "bee")
    gray = network_input("timm:resnet18.a1_in1k", 1)
    assert gray is not None
    assert gray.normalization is not None
    assert gray.normalization.mean == pytest.approx((sum(IMAGENET[0]) / 3,))


def test_names_of_pretrained_weights() -> None:
    with pytest.raises(InputError, match=r"'a1_in1k' names pretrained weights: give --pretrained"):
        build_model("timm:resnet18.a1_in1k", channels=3, classes=2)
    with pytest.raises(InputError, match=r"resnet18 has no weights 'a1_in9': there are .*a1_in1k"):
        build_model("timm:resnet18.a1_in9", channels=3, classes=2, weights="pretrained")
    with pytest.raises(InputError, match="model 'resnet8' has no pretrained weights of its own"):
        build_model("resnet8", channels=3, classes=2, weights="pretrained")
