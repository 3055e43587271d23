"""FitNet hints against a NumPy derivation."""

import numpy as np
import pytest
import torch
from torch import nn

from preceptor import Hint, InputError
from preceptor.feature_losses.hint import regressor
from preceptor.models import build_model
from preceptor.models.features import FeatureModel


def built(layers: int, student: list[tuple[int, ...]], teacher: list[tuple[int, ...]]) -> Hint:
    hint = Hint({str(number): str(number) for number in range(layers)})
    hint.build_adapters([torch.Size(one) for one in student], [torch.Size(one) for one in teacher])
    return hint


def test_the_loss_of_vectors_is_the_reference() -> None:
    hint = built(1, [(4, 3)], [(4, 5)])
    student, teacher = torch.randn(4, 3), torch.randn(4, 5)
    layer = hint.regressors[0]
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    expected = ((student.double().numpy() @ weight.T + bias - teacher.double().numpy()) ** 2).mean(axis=1)
    np.testing.assert_allclose(hint([student], [teacher]).detach(), expected, rtol=1e-4)


def test_the_loss_of_maps_is_the_reference_with_batch_statistics() -> None:
    """A 1x1 convolution, batch norm by the batch, ReLU; summed over two layers."""
    hint = built(2, [(3, 2, 4, 4)] * 2, [(3, 5, 4, 4)] * 2)
    student, teacher = [torch.randn(3, 2, 4, 4) for _ in range(2)], [torch.randn(3, 5, 4, 4) for _ in range(2)]
    expected = np.zeros(3)
    for adapt, one, other in zip(hint.regressors, student, teacher, strict=True):
        kernel = adapt[0].weight.detach().double().numpy()[:, :, 0, 0]
        mapped = (
            np.einsum("oc,nchw->nohw", kernel, one.double().numpy()) + adapt[0].bias.detach().numpy()[:, None, None]
        )
        mean, variance = mapped.mean(axis=(0, 2, 3), keepdims=True), mapped.var(axis=(0, 2, 3), keepdims=True)
        mapped = np.maximum((mapped - mean) / np.sqrt(variance + 1e-5), 0)
        expected += ((mapped - other.double().numpy()) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(hint(student, teacher).detach(), expected, rtol=1e-4)


def test_a_linear_regressor_reaches_negative_features() -> None:
    torch.manual_seed(0)
    hint = Hint({"a": "a"}, linear=True)
    hint.build_adapters([torch.Size((3, 2, 4, 4))], [torch.Size((3, 5, 4, 4))])
    student, teacher = torch.randn(3, 2, 4, 4), torch.randn(3, 5, 4, 4)
    (layer,) = hint.regressors
    kernel, bias = layer.weight.detach().double().numpy()[:, :, 0, 0], layer.bias.detach().double().numpy()
    mapped = np.einsum("oc,nchw->nohw", kernel, student.double().numpy()) + bias[:, None, None]
    assert (mapped < 0).any()
    expected = ((mapped - teacher.double().numpy()) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(hint([student], [teacher]).detach(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("student", "teacher", "layer"),
    [
        ((2, 3, 8, 8), (2, 5, 4, 4), nn.Conv2d),
        ((2, 3, 4, 4), (2, 5, 8, 8), nn.ConvTranspose2d),
        ((2, 3, 9, 7), (2, 5, 6, 6), nn.Conv2d),
        ((2, 3, 6, 6), (2, 5, 6, 6), nn.Conv2d),
    ],
)
def test_a_regressor_gives_the_teachers_shape(student: tuple, teacher: tuple, layer: type[nn.Module]) -> None:
    adapt = regressor(torch.Size(student), torch.Size(teacher))
    assert isinstance(adapt[0], layer)
    assert adapt(torch.randn(student)).shape == teacher


@pytest.mark.parametrize(("student", "teacher"), [((2, 3, 4, 4), (2, 5, 7, 7)), ((2, 3), (2, 5, 7, 7))])
def test_shapes_that_no_regressor_maps_are_refused(student: tuple, teacher: tuple) -> None:
    with pytest.raises(InputError, match="hint: "):
        regressor(torch.Size(student), torch.Size(teacher))


def test_the_second_stages_are_compared() -> None:
    hint = Hint()
    hint.resolve_layers(["s1", "s2", "s3"], ["t1", "t2", "t3", "t4", "t5"])
    assert hint.layers == {"s2": "t2"}
    with pytest.raises(InputError, match="hint: which layers are compared"):
        Hint().resolve_layers([], ["t1"])


@pytest.mark.parametrize(
    ("name", "channels", "side"),
    [("resnet8", 32, 16), ("vgg8", 256, 8), ("imagenet-resnet50", 512, 16), ("mobilenetv2_half", 16, 8)],
)
def test_the_stage_is_that_of_the_literature(name: str, channels: int, side: int) -> None:
    """RepDistiller's hint layer 2, counted from a stem, which is VGG's first stage."""
    network, hint = build_model(name, channels=3, classes=10).eval(), Hint()
    hint.resolve_layers(network.feature_layers, ["teacher"])
    _, features = FeatureModel(network, list(hint.layers))(torch.randn(1, 3, 32, 32))
    assert [maps.shape[1:] for maps in features.values()] == [(channels, side, side)]


def test_regressors_must_be_built() -> None:
    with pytest.raises(InputError, match="hint: its regressors are not built"):
        Hint({"a": "a"})([torch.zeros(2, 3)], [torch.zeros(2, 3)])
