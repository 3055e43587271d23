"""A temperature that falls, or rises, linearly over training."""

from dataclasses import dataclass

from preceptor.context import BatchContext
from preceptor.errors import InputError, require_positive
from preceptor.registry import register


@register(
    "temperature",
    "annealed",
    paper="Jafari et al., 2021, arXiv:2104.07163 (Annealing-KD); reconstruction: a temperature in place of its factor "
    "on the teacher's logits",
)
@dataclass(frozen=True)
class Annealed:
    """The same temperature for every sample, which goes linearly from one value to another over training.

    ``T = start + (end - start) min(progress / until, 1)``. The paper regresses the student's logits on the teacher's
    times a factor that grows linearly, and then trains on the labels alone; there is no recipe of it.

    Args:
        start: temperature of the first step, above 0. Default 10 (this project's choice).
        end: temperature from ``until`` on, above 0. Default 1.
        until: share of training at which it is reached, above 0 and up to 1. Default 1.

    Raises:
        InputError: a temperature that is not a finite number above 0, or no such share.
    """

    start: float = 10.0
    end: float = 1.0
    until: float = 1.0

    def __post_init__(self) -> None:
        require_positive("annealed", start=self.start, end=self.end)
        if not 0 < self.until <= 1:
            raise InputError(f"annealed: until = {self.until}: expected a share of training, above 0 and up to 1")

    def __call__(self, context: BatchContext) -> float:
        return self.start + (self.end - self.start) * min(context.progress / self.until, 1.0)
