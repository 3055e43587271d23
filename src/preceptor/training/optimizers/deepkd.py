"""DeepKD: a momentum each for the gradients of the labels, of the target class and of the other classes."""

from collections.abc import Mapping
from typing import Any, ClassVar

from preceptor.component_types import GradientSource
from preceptor.training.optimizers.separate import SeparateMomentum


class DeepKD(SeparateMomentum):
    """The trainer of Huang et al., 2025, arXiv:2505.15133 (DeepKD).

    Three buffers with the momenta ``mu + delta`` of the label losses, of the target class (loss ``tckd``) and of the
    other classes (loss ``nckd``), larger where the gradient's signal-to-noise ratio is. The differences are fixed
    numbers; the publication measures the ratios to choose them. Other losses have no buffer and are refused.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        momentum: mu. Default 0.9 (public code).
        task, target, non_target: deltas. Default 0.075, -0.075 and 0.075 (public code; it has 0.05 for the last with
            DKD's weights from ResNet 32x4 to 8x4).
        weight_decay: of the task's gradient, as in DOT. Default 0.
        faithful: as the public code does it: the labels' buffer has the target's momentum, and the weight decay is a
            part of the target's gradient. Default False.

    Raises:
        InputError: a momentum outside 0 to 1.
    """

    name = "deepkd"
    sources: ClassVar[Mapping[GradientSource, int]] = {"task": 0, "target": 1, "non_target": 2}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.9,
        task: float = 0.075,
        target: float = -0.075,
        non_target: float = 0.075,
        weight_decay: float = 0.0,
        faithful: bool = False,
    ) -> None:
        deltas = (target if faithful else task, target, non_target)
        super().__init__(params, lr, momentum, deltas, weight_decay, decayed=self.sources["target"] if faithful else 0)
