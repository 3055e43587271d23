"""CWSM: a temperature per sample, lower where the student is not confident."""

from dataclasses import dataclass

from preceptor.context import BatchClasses, BatchContext, PerSample
from preceptor.errors import InputError
from preceptor.registry import register
from preceptor.temperatures.dynamic import Normalize, check_dynamic, dynamic_temperature


def cwsm_weight(student_logits: BatchClasses, eps: float = 1e-3) -> PerSample:
    """``w = 1 / max_i softmax(z)_i``, from 1 to the number of classes; ``eps`` is added to the maximum.

    Wen, Lai and Qian, arXiv:1911.07471 (confidence weighted by student max), as published in TextBrewer.
    """
    return 1 / (student_logits.softmax(dim=1).amax(dim=1) + eps)


@register("temperature", "cwsm", paper="Wen, Lai, Qian, 2019, arXiv:1911.07471 (Dynamic Temperature, CWSM)")
@dataclass(frozen=True)
class CWSM:
    """A temperature per sample, lower where the student is not confident (confidence weighted by student max).

    Args:
        temperature: T_0, the mean over the batch before the clamp. Default 4, as for ``fixed``.
        beta: change of the temperature per unit of weight. Default 1 (TextBrewer's example; the paper's is not known).
        normalize: "none" or "sum"; see :func:`dynamic_temperature`. Raw weights reach the number of classes, so one
            unsure sample among confident ones is clamped. Default "none".
        minimum: lower limit of the temperature. Default 1 (this project's addition).
        eps: added to the student's confidence. Default 1e-3 (TextBrewer).
    """

    temperature: float = 4.0
    beta: float = 1.0
    normalize: Normalize = "none"
    minimum: float = 1.0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_dynamic("cwsm", self.temperature, self.beta, self.minimum)
        if not 0 <= self.eps < float("inf"):
            raise InputError(f"cwsm: eps = {self.eps}: expected a finite number, 0 or more")

    def __call__(self, context: BatchContext) -> PerSample:
        weight = cwsm_weight(context.student_logits[:, : context.teacher_logits.shape[1]], self.eps)
        return dynamic_temperature(weight, self.temperature, self.beta, self.normalize, self.minimum, context.queried)
