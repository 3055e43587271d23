"""Evidence: what a selection that is fitted once, before training, is fitted on."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """What a network makes of images: its logits, and what its last linear layer made them from.

    Attributes:
        logits: raw, at temperature 1.
        features: the input of the last linear layer; None when nobody asked for it.
    """

    logits: Float[Tensor, "n classes"]
    features: Float[Tensor, "n dimensions"] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The teacher at one moment of its own training.

    Attributes:
        learning_rate: at that moment.
        train: its outputs on the training samples, as they are, without augmentation.
        held_out: its outputs on the held-out samples; None when there are none.
    """

    learning_rate: float
    train: Outputs
    held_out: Outputs | None


@dataclass(frozen=True)
class Evidence:
    """What is known before training. Everything is on one device and carries no gradient.

    Attributes:
        index: positions in the training set, one a training sample.
        label: of the training samples; -1 where there is none.
        held_out_label: of samples that are held out from training.
        checkpoints: of the teacher, oldest first; the last is the teacher itself.
        has_bias: whether its last layer adds a bias, which then counts as one more feature that is always 1.
        size: how many images the training set has; positions are below it.
        seed: of whatever is drawn.
    """

    index: Int[Tensor, " n"]
    label: Int[Tensor, " n"]
    held_out_label: Int[Tensor, " m"] | None
    checkpoints: tuple[Checkpoint, ...]
    has_bias: bool
    size: int
    seed: int = 0

    @property
    def teacher(self) -> Checkpoint:
        """The teacher as it teaches."""
        return self.checkpoints[-1]
