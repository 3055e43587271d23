"""What a student costs beside its teacher: bytes, weights, operations, and time on this CPU."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from preceptor.models import ModelCard
from preceptor.training.compile import forward_flops
from preceptor.training.device import one_thread

LATENCY_BATCHES = (1, 64)
WARM_UP_ROUNDS = 3
FEWEST_ROUNDS = 5
MOST_ROUNDS = 200
SECONDS = 3.0
"""For each size of batch, all that take part together; the fewest rounds may take longer."""

Work = Callable[[UInt8[Tensor, "batch channels height width"]], object]


@dataclass(frozen=True)
class Cost:
    """What one form of a classifier costs.

    Attributes:
        name: what it is.
        file_bytes: of its file.
        parameters: weights that were trained; None for what is another form of the network above it.
        multiply_adds: of convolutions and matrix products for one image; likewise.
        milliseconds: median time for a batch on one thread of the CPU, by its size, as text so that JSON keeps it.
    """

    name: str
    file_bytes: int
    parameters: int | None
    multiply_adds: int | None
    milliseconds: dict[str, float]


def parameters(network: nn.Module) -> int:
    """How many weights were trained."""
    return sum(weight.numel() for weight in network.parameters())


def multiply_adds(network: nn.Module, card: ModelCard) -> int:
    """Of convolutions and matrix products for one image, counted by torch; each is two operations."""
    return forward_flops(network, torch.zeros(1, card.channels, *card.image_size)) // 2


def latencies(
    runs: Mapping[str, Work], images: UInt8[Tensor, "n channels height width"], seconds: float = SECONDS
) -> dict[str, dict[str, float]]:
    """Median milliseconds from pixels to answer, by name and size of batch, on one thread of the CPU.

    All take turns in every round, and who begins changes from round to round, so that whatever else the machine does
    meets all alike.

    Args:
        runs: what takes part, by name.
        images: real ones, given again where a batch wants more.
        seconds: for each size of batch.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in runs}
    with one_thread(), torch.inference_mode():
        for size in LATENCY_BATCHES:
            batch = images[torch.arange(size) % len(images)]
            for name, times in _in_turns(runs, batch, seconds).items():
                found[name][str(size)] = 1000 * median(times)
    return found


def _in_turns(runs: Mapping[str, Work], batch: Tensor, seconds: float) -> dict[str, list[float]]:
    """Seconds of every round that counts."""
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + seconds
    for number in range(WARM_UP_ROUNDS + MOST_ROUNDS):
        if number >= WARM_UP_ROUNDS + FEWEST_ROUNDS and time.perf_counter() > end:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            runs[name](batch)
            times[name].append(time.perf_counter() - started)
    return {name: each[WARM_UP_ROUNDS:] for name, each in times.items()}
