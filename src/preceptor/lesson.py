"""Lesson: what one batch carries along the chain, and the few helpers every stage shares."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNLABELLED = -1
"""The label of a sample that the teacher alone teaches."""


@dataclass(frozen=True)
class Features:
    """Intermediate activations of both networks, by layer name, for terms that ask for them."""

    student: Mapping[str, Tensor]
    teacher: Mapping[str, Tensor]


@dataclass(frozen=True)
class Lesson:
    """One batch, as temperatures and selections see it. Nothing in it carries gradient.

    Attributes:
        student: logits; outputs = classes, or classes + 1 when the head may abstain. Detached, so that a
            weight or temperature made from it is detached by construction.
        teacher: raw logits.
        label: the given label; ``UNLABELLED`` where there is none.
        teacher_class: the teacher's prediction, decided once on the raw logits, ties to the smallest index.
        index: position in the training set, when the caller gives it.
        asked: the samples on which the teacher is listened to; None is all of them. On the others its logits are zeros
            and it is neither right nor wrong.
        progress: share of training done, 0 to 1.
        features: activations by name, when a term asks for them.
    """

    student: Float[Tensor, "batch outputs"]
    teacher: Float[Tensor, "batch classes"]
    label: Int[Tensor, " batch"]
    teacher_class: Int[Tensor, " batch"]
    index: Int[Tensor, " batch"] | None = None
    progress: float = 0.0
    features: Features | None = None
    asked: Bool[Tensor, " batch"] | None = None

    @property
    def labelled(self) -> Bool[Tensor, " batch"]:
        """Samples that have a label."""
        return self.label != UNLABELLED

    @property
    def right(self) -> Bool[Tensor, " batch"]:
        """Labelled samples whose label the teacher predicts."""
        return self._if_asked(self.teacher_class == self.label)

    @property
    def wrong(self) -> Bool[Tensor, " batch"]:
        """Labelled samples for which the teacher predicts another class."""
        return self._if_asked(self.labelled & (self.teacher_class != self.label))

    def _if_asked(self, samples: Bool[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return samples if self.asked is None else samples & self.asked


def predicted_class(logits: Float[Tensor, "batch classes"]) -> Int[Tensor, " batch"]:
    """The class of the largest logit, ties to the smallest index.

    ``torch.argmax`` leaves the choice among equal values open; this does not. A row that holds NaN gives
    the last class: finding such rows is the caller's task.
    """
    classes = logits.shape[1]
    position = torch.arange(classes, device=logits.device).expand_as(logits)
    largest = logits == logits.amax(dim=1, keepdim=True)
    return torch.where(largest, position, classes - 1).amin(dim=1)


def column(temperature: float | Tensor) -> float | Tensor:
    """A temperature shaped to divide logits [batch, classes]: a scalar as it is, [batch] as [batch, 1]."""
    if isinstance(temperature, Tensor) and temperature.dim() == 1:
        return temperature.unsqueeze(1)
    return temperature


def at_class(values: Float[Tensor, "batch classes"], index: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Each row's value at one class."""
    return values.gather(1, index.unsqueeze(1)).squeeze(1)


def is_class(values: Float[Tensor, "batch classes"], index: Int[Tensor, " batch"]) -> Bool[Tensor, "batch classes"]:
    """True at one class of each row: a one-hot mask."""
    return torch.arange(values.shape[1], device=values.device) == index.unsqueeze(1)
