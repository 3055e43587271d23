"""Teachers that give their pooled features beside their logits."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.network import NetworkTeacher
from preceptor.teachers.selection_data import last_linear_layer


@runtime_checkable
class FeatureSignal(Teacher, Protocol):
    """A signal that also says what its logits are made of."""

    def said_with_features(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch dims"]]:
        """Logits in float32, and pooled features, both on the device of the images, without gradient."""


class PooledTeacher:
    """A live teacher that also gives what its last linear layer is given.

    Args:
        teacher: whose network ends in a linear layer.
        images: one image or more of the kind it is shown, to find that layer with.

    Attributes:
        features: how many dimensions they have.

    Raises:
        InputError: the network does not end in a linear layer.
    """

    def __init__(self, teacher: NetworkTeacher, images: UInt8[Tensor, "n channels height width"]) -> None:
        self.teacher = teacher
        try:
            self._layer = last_linear_layer(teacher, images[:2])
        except InputError as error:
            raise InputError(
                f"the teacher ({type(teacher.network).__name__}) does not end in a linear layer whose output the "
                "logits are, unchanged: its pooled features cannot be told; keep the logits alone"
            ) from error
        self.features = self._layer.in_features

    @property
    def classes(self) -> int | None:
        """Of the teacher."""
        return self.teacher.classes

    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits in float32; see ``Teacher``."""
        return TeacherOutput(self.said_with_features(images, index, view)[0])

    @torch.no_grad()
    def said_with_features(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch dims"]]:
        """Logits and pooled features in float32."""
        kept: list[Tensor] = []

        def keep(_: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
            # A copy: a network may go on to write over what it handed its head.
            kept.append((given[0] if given else named["input"]).float().clone())

        hook = self._layer.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            logits = self.teacher(images)
        finally:
            hook.remove()
        return logits, kept[-1]
