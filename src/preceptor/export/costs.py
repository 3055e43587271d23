"""The cost of a student beside its teacher: bytes, parameters, multiply-adds, and latency on this CPU."""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from preceptor.models import ModelCard
from preceptor.models.layout import to_memory_format
from preceptor.training.device import one_thread

LATENCY_BATCHES = (1, 64)
WARM_UP_ROUNDS = 3
FEWEST_ROUNDS = 5
MOST_ROUNDS = 200
SECONDS = 3.0
"""For each batch size, all contenders together; the fewest rounds may take longer."""

Work = Callable[[UInt8[Tensor, "batch channels height width"]], object]


@dataclass(frozen=True)
class Cost:
    """The cost of one form of a classifier.

    Attributes:
        name: of the form.
        file_bytes: of its file.
        parameters: trained weights; None for another form of a network that is listed too.
        multiply_adds: of convolutions and matrix products for one image; None likewise.
        milliseconds: median latency of a batch on one thread of the CPU, by its size, a string so that JSON keeps it.
    """

    name: str
    file_bytes: int
    parameters: int | None
    multiply_adds: int | None
    milliseconds: dict[str, float]


@torch.no_grad()
def multiply_adds(network: nn.Module, card: ModelCard) -> int:
    """Multiply-adds of convolutions and matrix products for one image; torch counts each as two operations."""
    with FlopCounterMode(display=False) as counter:
        deepcopy(network).eval()(to_memory_format(torch.zeros(1, card.channels, *card.image_size)))
    return int(counter.get_total_flops()) // 2


def latencies(
    runs: Mapping[str, Work], images: UInt8[Tensor, "n channels height width"], seconds: float = SECONDS
) -> dict[str, dict[str, float]]:
    """Median milliseconds from pixels to output, by name and batch size, on one thread of the CPU.

    Args:
        runs: the contenders, by name.
        images: to run them on, repeated where a batch wants more.
        seconds: for each batch size. Default 3.
    """
    milliseconds: dict[str, dict[str, float]] = {name: {} for name in runs}
    with one_thread(), torch.inference_mode():
        for size in LATENCY_BATCHES:
            batch = images[torch.arange(size) % len(images)]
            times: dict[str, list[float]] = {name: [] for name in runs}
            end = time.perf_counter() + seconds
            for number in range(WARM_UP_ROUNDS + MOST_ROUNDS):
                if number >= WARM_UP_ROUNDS + FEWEST_ROUNDS and time.perf_counter() > end:
                    break
                # All take turns, and another one begins each round, so that other load on the machine meets all alike.
                first = number % len(runs)
                for name in [*runs][first:] + [*runs][:first]:
                    started = time.perf_counter()
                    runs[name](batch)
                    times[name].append(time.perf_counter() - started)
            for name, taken in times.items():
                milliseconds[name][str(size)] = 1000 * median(taken[WARM_UP_ROUNDS:])
    return milliseconds
