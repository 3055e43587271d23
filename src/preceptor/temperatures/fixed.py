"""One temperature for every sample."""

from dataclasses import dataclass

from preceptor.context import BatchContext
from preceptor.errors import InputError
from preceptor.registry import register


@register("temperature", "fixed", paper="Hinton, Vinyals, Dean, 2015, arXiv:1503.02531")
@dataclass(frozen=True)
class Fixed:
    """The same temperature for every sample.

    Args:
        temperature: above 0. Default 4, the CIFAR-100 default of mdistiller; 1 is usual on ImageNet.
    """

    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"fixed: temperature = {self.temperature}: expected a finite number above 0 (4 is usual)")

    def __call__(self, context: BatchContext) -> float:
        return self.temperature
