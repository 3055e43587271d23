"""The contract of a teacher: a live network, a logit cache, a file of logits."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

NO_FEATURES: Mapping[str, Tensor] = MappingProxyType({})


class TeacherOutput(NamedTuple):
    """What a teacher returns for a batch, in float32 and without gradient.

    Attributes:
        logits: raw, at temperature 1.
        features: activations by module path, of the layers that a feature loss names; usually empty.
    """

    logits: Float[Tensor, "batch classes"]
    features: Mapping[str, Tensor] = NO_FEATURES


@runtime_checkable
class Teacher(Protocol):
    """Anything that returns logits for augmented inputs.

    One that answers by position and view alone, without looking at the inputs, sets the class attribute
    ``looks_outputs_up = True``: it cannot teach on inputs that are mixed of two.
    """

    @property
    def classes(self) -> int | None:
        """Number of logits per sample; None where only the first call tells."""

    def outputs(self, inputs: Any, index: Int[Tensor, " batch"], view: Int[Tensor, " batch"]) -> TeacherOutput:
        """Logits, on the device of the inputs.

        Args:
            inputs: a batch in the views that the student sees: uint8 images [batch, channels, height, width], or a
                dict of tensors [batch, ...] such as token ids and attention mask.
            index: positions in the training set, on the CPU.
            view: numbers of the views (see ``data.CropFlip``), on the CPU.
        """


def looks_up(teacher: object) -> bool:
    """Whether a teacher, or a member of an ensemble, answers by position and view alone."""
    members = getattr(teacher, "members", ())
    return bool(getattr(teacher, "looks_outputs_up", False)) or any(map(looks_up, members))
