"""DOT: more momentum for the gradient of the distillation losses, less for that of the labels."""

from collections.abc import Mapping
from typing import Any, ClassVar

from preceptor.component_types import GradientSource
from preceptor.training.optimizers.separate import SeparateMomentum


class DOT(SeparateMomentum):
    """Distillation-Oriented Trainer, Zhao et al., 2023, arXiv:2307.08436, as in github.com/megvii-research/mdistiller.

    ``m_task <- (mu - delta) m_task + g_task + wd w``, ``m_kd <- (mu + delta) m_kd + g_kd`` and ``w <- w - lr (m_task +
    m_kd)``, where the task's gradient is that of the label losses and the other that of all other losses. With delta =
    0 it is SGD with momentum, up to rounding.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        momentum: mu. Default 0.9 (publication).
        delta: default 0.075 (publication, for CIFAR-100; 0.09 for ImageNet).
        weight_decay: of the task's gradient. Default 0.

    Raises:
        InputError: momentum - delta or momentum + delta outside 0 to 1.
    """

    name = "dot"
    sources: ClassVar[Mapping[GradientSource, int]] = {"task": 0, "distillation": 1, "target": 1, "non_target": 1}

    def __init__(
        self, params: Any, lr: float = 1e-3, momentum: float = 0.9, delta: float = 0.075, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, momentum, (-delta, delta), weight_decay)
