"""Ensemble of teachers: the weighted mean of their outputs."""

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
    """The weighted mean of several teachers.

    Over probabilities it is ``log sum_m w_m softmax(z_m)`` at temperature 1, the mixture that deep ensembles predict
    with (Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4). Over logits it is ``sum_m w_m z_m``, whose
    softmax is the members' normalized geometric mean: a class that one member rules out is ruled out.

    Args:
        members: at least one teacher. Each is shown the same views, in its own normalization.
        weights: one a member, above 0; only their ratios matter. None is equal weights.
        mean: of the "probabilities" (default) or of the "logits".

    Attributes:
        classes: number of the members' classes; None where no member tells it before the first query.

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
        classes = {n: getattr(member, "classes", None) for n, member in enumerate(members)}
        self.classes = _common_classes({n: count for n, count in classes.items() if count is not None})

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
        logits = [member.outputs(images, index, view).logits for member in self.members]
        _common_classes({number: one.shape[1] for number, one in enumerate(logits)})
        weighted = list(zip(self.weights, logits, strict=True))
        if self.mean == "logits":
            return TeacherOutput(torch.stack([weight * one for weight, one in weighted]).sum(dim=0))
        log_probs = [one.log_softmax(dim=1) + math.log(weight) for weight, one in weighted]
        return TeacherOutput(torch.stack(log_probs).logsumexp(dim=0))


def _shares(members: int, weights: Sequence[float] | None) -> tuple[float, ...]:
    values = [1.0] * members if weights is None else [float(weight) for weight in weights]
    if len(values) != members:
        raise InputError(f"ensemble: {len(values)} weights for {members} members: give one for each")
    wrong = [weight for weight in values if not (math.isfinite(weight) and weight > 0)]
    if wrong:
        raise InputError(
            f"ensemble: weight is {wrong[0]}; expected a finite number above 0: leave the member out for 0"
        )
    return tuple(weight / sum(values) for weight in values)


def _common_classes(classes: Mapping[int, int]) -> int | None:
    """The number of classes that all members have; None where none tells."""
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
