"""Several teachers that speak with one voice."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.errors import InputError, unknown_name
from preceptor.teachers.base import Teacher, TeacherOutput

Mean = Literal["probabilities", "logits"]


class Ensemble:
    """The weighted mean of several signals.

    Over probabilities it is ``log sum_m w_m softmax(z_m)`` at temperature 1, the mixture that deep ensembles predict
    with (Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4). Over logits it is ``sum_m w_m z_m``, whose
    softmax is the members' normalized geometric mean: a class that one member rules out is ruled out.

    Args:
        members: at least one signal. Each is shown the same views, in its own normalization.
        weights: one for each, above 0; only their ratios matter. None is equal weights.
        mean: of the "probabilities" (default) or of the "logits".

    Attributes:
        classes: how many classes the members know; None when none of them tells before it speaks.

    Raises:
        InputError: no member, weights that do not fit, an unknown mean, or members with different numbers of classes.
    """

    def __init__(
        self, members: Sequence[Teacher], weights: Sequence[float] | None = None, mean: Mean = "probabilities"
    ) -> None:
        if not members:
            raise InputError("ensemble: no member: give at least one teacher")
        if mean not in get_args(Mean):
            raise unknown_name("mean of an ensemble", mean, get_args(Mean))
        self.members = tuple(members)
        self.weights = _shares(len(members), weights)
        self.mean = mean
        told = {n: getattr(member, "classes", None) for n, member in enumerate(members)}
        self.classes = _one_number({n: classes for n, classes in told.items() if classes is not None})

    @torch.no_grad()
    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits in float32 on the images' device; see ``Teacher``.

        Raises:
            InputError: two members have different numbers of classes.
        """
        words = [member.outputs(images, index, view).logits for member in self.members]
        _one_number({number: word.shape[1] for number, word in enumerate(words)})
        if self.mean == "logits":
            return TeacherOutput(
                torch.stack([weight * word for weight, word in zip(self.weights, words, strict=True)]).sum(dim=0)
            )
        parts = [word.log_softmax(dim=1) + math.log(weight) for weight, word in zip(self.weights, words, strict=True)]
        return TeacherOutput(torch.stack(parts).logsumexp(dim=0))


def _shares(members: int, weights: Sequence[float] | None) -> tuple[float, ...]:
    given = [1.0] * members if weights is None else [float(weight) for weight in weights]
    if len(given) != members:
        raise InputError(f"ensemble: {len(given)} weights for {members} members: give one for each")
    wrong = [weight for weight in given if not (math.isfinite(weight) and weight > 0)]
    if wrong:
        raise InputError(f"ensemble: weight {wrong[0]}, allowed are finite numbers above 0; leave the member out for 0")
    return tuple(weight / sum(given) for weight in given)


def _one_number(classes: Mapping[int, int]) -> int | None:
    """The number of classes that all members agree on, by their places."""
    if not classes:
        return None
    first = min(classes)
    for number, count in classes.items():
        if count != classes[first]:
            raise InputError(
                f"ensemble: member {number} has {count} classes, member {first} has {classes[first]}: "
                "all must be trained on the same classes, in the same order"
            )
    return classes[first]
