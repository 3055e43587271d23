"""Where the teacher's word comes from: what a live network, a cache and a file of logits have in common."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int, UInt8
from torch import Tensor


@runtime_checkable
class Teacher(Protocol):
    """OutputKind what the teacher makes of augmented images."""

    @property
    def classes(self) -> int | None:
        """How many logits it says of each image; None where that is not known before it has spoken."""

    def said(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch classes"]:
        """Raw logits in float32, on the device of the images, without gradient.

        Args:
            images: 0 to 255, in the views that the student is shown.
            index: their positions in the training set, on the CPU.
            view: the numbers of the views (see ``data.CropFlip``), on the CPU.
        """
