"""A network as teacher: frozen, in eval mode, with its own normalisation; and a look at it before it teaches."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from preceptor.data import Normalisation
from preceptor.errors import InputError
from preceptor.lesson import UNLABELLED, predicted_class
from preceptor.models.layout import in_fast_layout


class LiveTeacher:
    """A frozen copy of a network that turns images into logits.

    It is a copy, in eval mode, without gradients, and not an ``nn.Module``: nothing the caller does to the
    network later reaches it, and it can neither slip into a student's checkpoint nor be wrapped or trained.

    Args:
        network: maps normalised images [batch, channels, height, width] to logits [batch, classes].
        normalise: how this teacher wants its images; a student may want them otherwise.
        device: where it runs.
        classes: how many of its outputs are classes; None is all. One that may abstain has one output more, which is
            left out.
    """

    def __init__(
        self,
        network: nn.Module,
        normalise: Normalisation,
        device: torch.device | str = "cpu",
        classes: int | None = None,
    ) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False).to(device)
        self.normalise = normalise
        self.classes = classes

    @torch.no_grad()
    def __call__(self, images: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Raw logits in float32 for images of 0 to 255."""
        outputs: Tensor = self.network(in_fast_layout(self.normalise(images)))
        return outputs[:, : self.classes].float()


@dataclass(frozen=True)
class TeacherCheck:
    """What a look at the teacher before training found.

    Attributes:
        images: how many training images were looked at, as they are, without augmentation.
        accuracy: share of the labelled ones whose given label it predicts; None when none is labelled.
        wrong: how many labelled ones it gets wrong: the samples a correction will touch.
    """

    images: int
    accuracy: float | None
    wrong: int


def check_teacher(
    teacher: LiveTeacher,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    positions: Int[Tensor, " n"] | None = None,
    batch_size: int = 512,
) -> TeacherCheck:
    """Run the teacher once over images, before the first step of training.

    Args:
        teacher: the teacher.
        images: training images, 0 to 255, on the teacher's device.
        labels: their given labels; -1 where there is none.
        classes: how many classes the data set has.
        positions: where the images stand in the training set, to name one by; None is in the order given.
        batch_size: images at a time.

    Raises:
        InputError: another number of classes than the data set, or logits that are not finite (the first such
            image is named).
    """
    logits = torch.cat([teacher(part) for part in images.split(batch_size)])
    if logits.shape[1] != classes:
        raise InputError(
            f"the teacher has {logits.shape[1]} classes, the data set {classes}: "
            "use a teacher trained on these classes, in this order"
        )
    bad = (~logits.isfinite()).any(dim=1).nonzero().flatten()
    if len(bad):
        first = int(bad[0] if positions is None else positions[bad[0].cpu()])
        raise InputError(
            f"the teacher's logits are not finite for {len(bad)} of {len(images)} training images, the first at "
            f"position {first}: check its weights and the range of its input"
        )
    labelled = labels != UNLABELLED
    right = int((predicted_class(logits) == labels).sum())
    count = int(labelled.sum())
    return TeacherCheck(len(images), right / count if count else None, count - right)
