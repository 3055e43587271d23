"""FitNet hints: the student's features, mapped by a regressor, reproduce the teacher's."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from preceptor.context import PerSample
from preceptor.errors import InputError
from preceptor.feature_losses.layers import LayerPairs
from preceptor.registry import register


def regressor(student: torch.Size, teacher: torch.Size, *, linear: bool = False) -> nn.Module:
    """A learned map from the student's features to the teacher's shape.

    Maps [batch, channels, height, width]: a 3x3 convolution of stride 2 where the student's is twice as large, a
    transposed 4x4 one of stride 2 where it is half as large, else one of size 1 + difference; then, unless ``linear``,
    batch norm and ReLU (as in RepDistiller). Vectors [batch, dimensions]: a linear layer.

    Raises:
        InputError: shapes that none of these maps onto each other.
    """
    if len(student) == len(teacher) == 2:
        return nn.Linear(student[1], teacher[1])
    if len(student) != 4 or len(teacher) != 4:
        raise InputError(f"hint: features {tuple(student)} and {tuple(teacher)}; expected two maps or two vectors")
    (channels, *size), (channels_t, *size_t) = student[1:], teacher[1:]
    larger = [side - side_t for side, side_t in zip(size, size_t, strict=True)]
    layer: nn.Module
    if all(side == 2 * side_t for side, side_t in zip(size, size_t, strict=True)):
        layer = nn.Conv2d(channels, channels_t, 3, stride=2, padding=1)
    elif all(2 * side == side_t for side, side_t in zip(size, size_t, strict=True)):
        layer = nn.ConvTranspose2d(channels, channels_t, 4, stride=2, padding=1)
    elif min(larger) >= 0:
        layer = nn.Conv2d(channels, channels_t, (1 + larger[0], 1 + larger[1]))
    else:
        raise InputError(
            f"hint: the student's map is {size[0]}x{size[1]}, the teacher's {size_t[0]}x{size_t[1]}; expected one at "
            "least as large, or half as large: choose other layers"
        )
    return layer if linear else nn.Sequential(layer, nn.BatchNorm2d(channels_t), nn.ReLU())


@register("feature_loss", "hint", paper="Romero et al., 2015, arXiv:1412.6550 (FitNets), trained in one phase")
class Hint(LayerPairs):
    """Mean squared error between mapped student features and teacher features, summed over the layers.

    ``sum_l mean (r(F_s^l) - F_t^l)^2`` with a learned regressor r, which trains with the student and does not ship with
    it. The literature's weight on CIFAR-100 is 100 (RepDistiller, mdistiller), which the recipe ``fitnet`` uses. The
    publication trains the hint first and then distills; here both count at once, as in the re-implementations.

    Args:
        layers: module path in the student -> module path in the teacher; None is the second stage of each.
        linear: whether the regressor of a map is its convolution alone, for features that may be negative. Default
            False: with batch norm and ReLU (RepDistiller).

    Raises:
        InputError: on the first batch, shapes that no regressor maps onto each other.
    """

    def __init__(self, layers: Mapping[str, str] | None = None, linear: bool = False) -> None:
        super().__init__(layers)
        self.linear = linear
        self.regressors = nn.ModuleList()

    def default_layers(self, student: Sequence[str], teacher: Sequence[str]) -> dict[str, str]:
        own, other = student[:2], teacher[:2]  # the literature's hint layer, whatever follows
        return {own[-1]: other[-1]} if own and other else {}

    def build_adapters(self, student: Sequence[torch.Size], teacher: Sequence[torch.Size]) -> None:
        self.regressors = nn.ModuleList(
            regressor(shape, other, linear=self.linear) for shape, other in zip(student, teacher, strict=True)
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> PerSample:
        """The loss of each sample.

        Raises:
            InputError: the regressors are not built.
        """
        if len(self.regressors) != len(student):
            raise InputError("hint: its regressors are not built: call build_adapters with the features of a batch")
        errors = []
        for adapt, one, other in zip(self.regressors, student, teacher, strict=True):
            mapped = adapt(one.to(next(adapt.parameters()).dtype))  # a float64 network has float32 regressors
            errors.append((mapped - other).square().flatten(1).mean(dim=1))
        return torch.stack(errors).sum(dim=0)
