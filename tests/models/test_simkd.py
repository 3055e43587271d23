"""The student that ends in its teacher's classifier: what it computes, and whole runs of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import preceptor
from preceptor.errors import InputError, Interrupted
from preceptor.export import export_student
from preceptor.models import SimKDStudent, build_model, load_student, seeded_model
from preceptor.models.features import pooled_layers
from preceptor.models.simkd import projector
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.prediction import predict
from preceptor.run.set_up import set_up
from tests.run.test_resume import StopsAfter, epochs
from tests.training_helpers import SMALL_RUN, digits

RUN: dict[str, Any] = {**SMALL_RUN, "precision": "fp32", "compile": "never"}
OWN = ["convnet4", "resnet8", "resnet8_a", "wrn_10_1", "vgg8", "imagenet-resnet18", "mobilenetv2_half"]
OWN += ["shufflenetv1", "shufflenetv2"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    training = {"epochs": 10, "batch_size": 16}
    folder = tmp_path_factory.mktemp("simkd") / "teacher"
    return run(
        resolve({**RUN, "student": "convnet8", "seed": 1, "training": training, "train_images": 600}), folder
    ).folder


def settings(teacher: Path, **changes: Any) -> dict[str, Any]:
    return {**RUN, "recipe": "simkd", "teacher": str(teacher), "student": "simkd32-convnet4", **changes}


def test_the_forward_pass_is_body_projector_and_the_teachers_head() -> None:
    body, head = seeded_model("convnet4", channels=1, classes=10, seed=0), nn.Linear(24, 10)
    maps = body.maps
    network, images = SimKDStudent(body, head).eval(), torch.randn(3, 1, 8, 8)
    first, norm, _, second, norm2, _, third, norm3, _ = network.projector
    assert [one.weight.shape for one in (first, second, third)] == [(12, 16, 1, 1), (12, 12, 3, 3), (24, 12, 1, 1)]
    assert all(one.bias is None for one in (first, second, third))
    own = maps(images)
    for convolution, normalize in ((first, norm), (second, norm2), (third, norm3)):
        own = functional.conv2d(own, convolution.weight, padding=convolution.kernel_size[0] // 2)
        own = functional.relu(own / np.sqrt(1 + normalize.eps))  # statistics as they start: mean 0, variance 1
    torch.testing.assert_close(network(images), head(own.mean(dim=(2, 3))))
    assert {name for name, one in network.named_parameters() if not one.requires_grad} == {"head.weight", "head.bias"}


def test_a_body_of_ones_own_returns_maps() -> None:
    network = SimKDStudent(nn.Conv2d(1, 6, 3), nn.Linear(8, 4, bias=False), channels=6, side=2, factor=4)
    shapes: list[torch.Size] = []
    network.projector.register_forward_hook(lambda module, given, made: shapes.append(made.shape))
    assert network(torch.randn(2, 1, 10, 10)).shape == (2, 4)
    assert shapes == [(2, 8, 2, 2)]
    assert not network.head.bias.any()
    with pytest.raises(InputError, match="Conv2d has no linear head: give channels="):
        SimKDStudent(nn.Conv2d(1, 6, 3), nn.Linear(8, 4))
    with pytest.raises(InputError, match="factor is 0"):
        SimKDStudent(nn.Conv2d(1, 6, 3), nn.Linear(8, 4), channels=6, factor=0)
    with pytest.raises(InputError, match="takes 9 numbers to 4 outputs, the student's 8 to 4"):
        network.take_head(torch.zeros(4, 9), None)


@pytest.mark.parametrize("name", OWN)
def test_the_map_that_a_network_pools_is_the_layer_that_it_names(name: str) -> None:
    """So a teacher's classifier gets what the projector learns to reproduce."""
    network = seeded_model(name, channels=1, classes=10, seed=0).eval()
    captured: list[Tensor] = []
    (layer,) = pooled_layers(network)
    network.get_submodule(layer).register_forward_hook(lambda module, given, made: captured.append(made))
    images = torch.randn(2, 1, 32, 32)
    logits = network(images)
    torch.testing.assert_close(network.head(captured[0].mean(dim=(2, 3))), logits)
    torch.testing.assert_close(network.maps(images), captured[0])
    assert build_model(f"simkd12-{name}", channels=1, classes=10)(images).shape == (2, 10)


def test_the_body_begins_as_the_network_alone_would() -> None:
    alone = seeded_model("resnet8", channels=3, classes=10, seed=5)
    body = seeded_model("simkd64-resnet8", channels=3, classes=10, seed=5).body
    assert torch.equal(body.stage3[0].conv1.weight, alone.stage3[0].conv1.weight)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simkd8-alexnet", "pools no maps before its head"),
        ("simkd8-os:system", "os:system is not an architecture of this package"),
        ("simkd8-resnet9", "ResNet depth is 9"),
        ("simkd8-simkd8-resnet8", "pools no maps"),
        ("simkd0-resnet8", "width is 0"),
        ("simkd8x0-resnet8", "side 0"),
    ],
)
def test_names_that_make_no_student(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(name, channels=3, classes=10)


def test_a_run_ends_in_the_teachers_classifier_and_needs_its_folder_alone(teacher: Path, tmp_path: Path) -> None:
    training = {"epochs": 15, "batch_size": 16}
    result = run(resolve(settings(teacher, training=training, train_images=600)), tmp_path / "student")
    network, card = load_student(result.folder)
    large, _ = load_student(teacher)
    assert card.architecture == "simkd32-convnet4"
    assert torch.equal(network.head.weight, large.head.weight)
    assert torch.equal(network.head.bias, large.head.bias)
    assert result.test is not None
    assert result.test.accuracy > 0.5  # without a label: all of it is the teacher's
    images = digits().train.images[:4]
    (exported,) = export_student(network, card, images, ["pt2"])  # raises where its outputs differ
    assert exported.name.endswith(".pt2")
    np.save(tmp_path / "images.npy", images[:, 0].numpy())
    answers = list(predict(result.folder, [tmp_path / "images.npy"], device="cpu"))
    assert len(answers) == 4
    losses = [line["losses"]["simkd"] for line in epochs(result.folder) if line["event"] == "epoch"]
    assert losses[-1] < losses[0] / 2


def test_it_resumes_in_the_same_bits(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(settings(teacher, training={"epochs": 2, "batch_size": 32, "ema": 0.9}))
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(config, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    run(config, tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "student.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_rows_of_the_head_are_in_the_order_of_the_datas_classes(teacher: Path, tmp_path: Path) -> None:
    """A teacher whose card lists the classes backwards."""
    folder = tmp_path / "backwards"
    network, card = load_student(teacher)
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight.flip(0))
        network.head.bias.copy_(network.head.bias.flip(0))
    preceptor.models.save_student(folder, network, card.model_copy(update={"class_names": card.class_names[::-1]}))
    forwards, backwards = (set_up(resolve(settings(one)), torch.device("cpu")).network for one in (teacher, folder))
    assert torch.equal(forwards.head.weight, backwards.head.weight)
    assert torch.equal(forwards.head.bias, backwards.head.bias)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": "simkd16-convnet4"}, "takes 32 numbers to 10 outputs, the student's 16 to 10: .* simkd32-NAME"),
        ({"recipe": "none"}, "student simkd32-convnet4: ends in its teacher's classifier: give --teacher"),
        ({"recipe": "precise-abstain-b"}, "to 10 outputs, the student's 32 to 11"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(teacher: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        set_up(resolve(settings(teacher, **changes)), torch.device("cpu"))


def test_several_teachers_have_no_one_classifier(teacher: Path) -> None:
    config = resolve({**settings(teacher, recipe="kd"), "teacher": [str(teacher), str(teacher)]})
    with pytest.raises(InputError, match="give --teacher, one network"):
        set_up(config, torch.device("cpu"))


def test_a_student_without_a_projector_has_other_channels(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'layers\.4' has 16 channels, the teacher's 'layers\.4' 32"):
        run(resolve(settings(teacher, student="convnet4")), tmp_path / "run")


def test_in_python(tmp_path: Path) -> None:
    images = digits().train
    large = seeded_model("convnet8", channels=1, classes=10, seed=1)
    student = SimKDStudent(seeded_model("convnet4", channels=1, classes=10, seed=0), large.head)
    before = student.projector[0].weight.detach().clone()
    preceptor.distill(
        large,
        student,
        (images.images[:64], images.labels[:64]),
        "simkd",
        normalization=digits().normalization,
        epochs=1,
        batch_size=16,
        out=tmp_path / "run",
        device="cpu",
        progress=False,
        force=True,  # it knows nothing
    )
    assert torch.equal(student.head.weight, large.head.weight)
    assert not torch.equal(student.projector[0].weight, before)


def test_the_middle_is_narrower_by_a_factor() -> None:
    assert [one.out_channels for one in projector(8, 64, 4) if isinstance(one, nn.Conv2d)] == [16, 16, 64]
