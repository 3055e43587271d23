"""Checkpoints with the names of other code give the logits that these tensors stand for."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from preceptor.errors import InputError
from preceptor.models import seeded_model
from preceptor.models.weights import load_weights
from tests.models.third_party import CLASSES, LAYOUTS


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_computes_what_its_tensors_say(tmp_path: Path, layout: str, prefix: str) -> None:
    name, make = LAYOUTS[layout]
    tensors, logits = make()
    named = {f"{prefix}{key}": tensor for key, tensor in tensors.items()}
    torch.save({"epoch": 240, "model": named, "opt": Namespace(model=name)}, tmp_path / "last.pth")
    network = seeded_model(name, channels=3, classes=CLASSES, seed=1)
    report = load_weights(network, tmp_path / "last.pth", whole=True)
    counted = [key for key in tensors if not key.endswith("num_batches_tracked")]
    assert report.loaded == report.tensors == len(counted)
    assert report.prefix == prefix
    assert "renamed from another project's names" in report.line()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), logits(images), atol=1e-3, rtol=1e-3)


def test_vgg_halves_images_of_64_pixels_once_more(tmp_path: Path) -> None:
    tensors, logits = LAYOUTS["vgg8"][1]()
    torch.save(tensors, tmp_path / "vgg.pth")
    network = seeded_model("vgg8", channels=3, classes=CLASSES, seed=1)
    load_weights(network, tmp_path / "vgg.pth", whole=True)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), logits(images), atol=1e-3, rtol=1e-3)


def test_files_of_old_versions_lack_batch_norm_counters(tmp_path: Path) -> None:
    tensors = LAYOUTS["wrn_16_2"][1]()[0]
    without = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": without}, tmp_path / "old.th")
    network = seeded_model("wrn_16_2", channels=3, classes=CLASSES, seed=1)
    report = load_weights(network, tmp_path / "old.th", whole=True)
    assert report.renamed == len(without)


@pytest.mark.parametrize(("layout", "other"), [("resnet20, option A", "resnet20"), ("resnet8x4", "resnet8")])
def test_another_architecture_of_the_same_names_is_refused_whole(tmp_path: Path, layout: str, other: str) -> None:
    torch.save(LAYOUTS[layout][1]()[0], tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"does not fit CifarResNet whole: loaded .* name the architecture"):
        load_weights(seeded_model(other, channels=3, classes=CLASSES, seed=1), tmp_path / "other.pth", whole=True)


def test_own_names_are_not_counted_as_renamed(tmp_path: Path) -> None:
    network = seeded_model("vgg8", channels=3, classes=CLASSES, seed=1)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    report = load_weights(network, tmp_path / "own.pth", whole=True)
    assert report.renamed == 0
    assert "renamed" not in report.line()


def test_a_head_of_other_classes_is_named_by_its_own_name(tmp_path: Path) -> None:
    torch.save(LAYOUTS["ShuffleV2"][1]()[0], tmp_path / "w.pth")
    report = load_weights(seeded_model("shufflenetv2", channels=3, classes=3, seed=1), tmp_path / "w.pth")
    assert report.lacks("head.weight")
    assert not report.missing
    assert not report.unused
