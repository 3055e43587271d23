"""A student that ends in its teacher's classifier: its own body, a projector to the teacher's maps, the teacher's head.

Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (SimKD), 2022, arXiv:2203.14001.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.errors import InputError
from preceptor.models.family import build_model, model_family

FACTOR = 2
"""By which the projector's middle is narrower than the teacher's maps (the publication's default; it tries 4 and 8)."""


def projector(inputs: int, outputs: int, factor: int = FACTOR) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolutions with batch norm and ReLU each, ``outputs // factor`` channels between them."""
    middle = max(1, outputs // factor)
    layers: list[nn.Module] = []
    for wide, narrow, kernel in ((inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1)):
        layers += [nn.Conv2d(wide, narrow, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(narrow), nn.ReLU()]
    return nn.Sequential(*layers)


class SimKDStudent(nn.Module):
    """A network whose maps are projected to the teacher's, pooled, and classified by the teacher's head.

    ``head(mean_hw(projector(F_s)))``. The head is fixed. The projector is a part of the student and ships with it,
    so that it has more weights than the network that it was made from: count them when you compare.

    Args:
        body: has a method ``maps``, as the networks of this package, whose own ``head`` is taken off; or returns maps
            [batch, channels, height, width] itself. Trained in place.
        head: the teacher's last layer, copied; it is not trained.
        channels: of the body's maps. Default the inputs of its ``head``.
        side: to which larger maps are pooled before the projector, the side of the teacher's maps as in the
            publication. Default None: the loss pools whichever maps are larger.
        factor: by which the projector's middle is narrower than the teacher's maps. Default 2 (publication).

    Attributes:
        feature_layers: the projector, which the loss compares with the teacher's maps.

    Raises:
        InputError: the number of the body's channels is not known, or a factor or side below 1.
    """

    feature_layers = ("projector",)

    def __init__(
        self,
        body: nn.Module,
        head: nn.Linear,
        *,
        channels: int | None = None,
        side: int | None = None,
        factor: int = FACTOR,
    ) -> None:
        super().__init__()
        own_head = getattr(body, "head", None)
        if channels is None and not isinstance(own_head, nn.Linear):
            raise InputError(f"simkd: {type(body).__name__} has no linear head: give channels=, those of its maps")
        if factor < 1 or (side is not None and side < 1):
            raise InputError(f"simkd: factor is {factor} and side {side}; expected 1 or more")
        inputs = own_head.in_features if channels is None and isinstance(own_head, nn.Linear) else channels
        assert inputs is not None
        if isinstance(own_head, nn.Linear):
            body.head = nn.Identity()
        self.body, self.side = body, side
        self.projector = projector(inputs, head.in_features, factor)
        self.head = nn.Linear(head.in_features, head.out_features).requires_grad_(False)
        self.take_head(head.weight, head.bias)

    @torch.no_grad()
    def take_head(self, weight: Float[Tensor, "classes width"], bias: Float[Tensor, " classes"] | None) -> None:
        """Copy the teacher's last layer.

        Raises:
            InputError: one of another width, or of other classes.
        """
        if weight.shape != self.head.weight.shape:
            (classes, width), (own_classes, own_width) = weight.shape, self.head.weight.shape
            raise InputError(
                f"simkd: the teacher's classifier takes {width} numbers to {classes} outputs, the student's "
                f"{own_width} to {own_classes}: name the student simkd{width}-NAME, and leave out what makes it abstain"
            )
        self.head.weight.copy_(weight)
        self.head.bias.zero_() if bias is None else self.head.bias.copy_(bias)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """The logits."""
        maps: Tensor = self.body.maps(images) if hasattr(self.body, "maps") else self.body(images)  # type: ignore[operator]
        if self.side is not None and min(maps.shape[2:]) > self.side:
            maps = F.adaptive_avg_pool2d(maps, self.side)
        logits: Tensor = self.head(self.projector(maps).mean(dim=(2, 3)))
        return logits


@model_family(
    "simkd{width}-{STUDENT}", "simkd{width}x{side}-{STUDENT}", examples=("simkd256-resnet8x4", "simkd512x4-vgg8")
)
def simkd(width: int, student: str, channels: int, classes: int, side: int | None = None) -> SimKDStudent:
    """A network of this package with a projector to ``width`` channels; its head is zero until a run copies the
    teacher's.

    Raises:
        InputError: a student that is no network of this package, or has no maps; a width below 1.
    """
    name = f"simkd{width}-{student}"
    if ":" in student:
        raise InputError(f"model {name!r}: {student} is not an architecture of this package, such as resnet8x4")
    body = build_model(student, channels=channels, classes=classes)
    if not hasattr(body, "maps"):
        raise InputError(f"model {name!r}: {student} pools no maps before its head: choose another, such as resnet8x4")
    if width < 1:
        raise InputError(f"model {name!r}: width is {width}; expected that of the teacher's classifier")
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return SimKDStudent(body, head, side=side)
