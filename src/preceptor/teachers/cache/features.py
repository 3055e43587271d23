"""A teacher that returns its pooled features beside its logits."""

from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from preceptor.errors import InputError
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.network import NetworkTeacher
from preceptor.teachers.selection_data import last_linear_layer

POOLED = "pooled"
"""Name of the pooled features in ``TeacherOutput.features``."""


class PooledTeacher:
    """A network teacher that also returns the input of its last linear layer, under the name ``pooled``.

    Args:
        teacher: whose network ends in a linear layer.
        images: at least one image of the kind it is shown, to find that layer with.

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
                "logits are, unchanged, so it has no pooled features: cache the logits alone"
            ) from error
        self.features = self._layer.in_features

    @property
    def classes(self) -> int | None:
        """Of the teacher."""
        return self.teacher.classes

    @torch.no_grad()
    def outputs(
        self,
        inputs: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits and pooled features in float32; see ``Teacher``."""
        seen: list[Tensor] = []

        def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
            # A copy, since a network may go on to overwrite what it passed to its head.
            seen.append((args[0] if args else kwargs["input"]).float().clone())

        hook = self._layer.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            logits = self.teacher(inputs)
        finally:
            hook.remove()
        return TeacherOutput(logits, {POOLED: seen[-1]})
