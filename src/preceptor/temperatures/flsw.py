"""FLSW: a temperature per sample, lower where student and teacher logits differ in direction."""

from dataclasses import dataclass

from torch import Tensor

from preceptor.context import BatchClasses, BatchContext, PerSample
from preceptor.errors import InputError
from preceptor.registry import register
from preceptor.temperatures.dynamic import Normalize, check_dynamic, dynamic_temperature


def flsw_weight(
    student_logits: BatchClasses, teacher_logits: BatchClasses, gamma: float = 2.0, eps: float = 1e-4
) -> PerSample:
    """``w = (1 - cos(z, t))^gamma``, from 0 to 2^gamma; ``eps`` is added to each norm.

    A positive factor on either row changes nothing (but for eps); an added constant does.

    Wen, Lai and Qian, arXiv:1911.07471 (focal-loss style weights), as published in TextBrewer.
    """
    student = student_logits / (student_logits.norm(dim=1, keepdim=True) + eps)
    teacher = teacher_logits / (teacher_logits.norm(dim=1, keepdim=True) + eps)
    distance: Tensor = (1 - (student * teacher).sum(dim=1)).clamp(min=0)  # rounding can bring the cosine past 1
    return distance.pow(gamma)


@register("temperature", "flsw", paper="Wen, Lai, Qian, 2019, arXiv:1911.07471 (Dynamic Temperature, FLSW)")
@dataclass(frozen=True)
class FLSW:
    """A temperature per sample, lower where student and teacher logits differ in direction (focal-loss style weights).

    Args:
        temperature: T_0, the mean over the batch before the clamp. Default 4, as for ``fixed``.
        beta: change of the temperature per unit of weight. Default 1 (TextBrewer's example; the paper's is not known).
        gamma: power of the weight, above 0. Default 2 (the same example).
        normalize: "none" (default) or "sum"; see :func:`dynamic_temperature`.
        minimum: lower limit of the temperature. Default 1 (this project's addition).
        eps: added to each norm. Default 1e-4 (TextBrewer).
    """

    temperature: float = 4.0
    beta: float = 1.0
    gamma: float = 2.0
    normalize: Normalize = "none"
    minimum: float = 1.0
    eps: float = 1e-4

    def __post_init__(self) -> None:
        check_dynamic("flsw", self.temperature, self.beta, self.minimum)
        if not 0 < self.gamma < float("inf") or not 0 <= self.eps < float("inf"):
            raise InputError(f"flsw: gamma = {self.gamma}, eps = {self.eps}: expected gamma above 0 and eps 0 or more")

    def __call__(self, context: BatchContext) -> PerSample:
        student = context.student_logits[:, : context.teacher_logits.shape[1]]
        weight = flsw_weight(student, context.teacher_logits, self.gamma, self.eps)
        return dynamic_temperature(weight, self.temperature, self.beta, self.normalize, self.minimum, context.queried)
