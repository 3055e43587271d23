"""What a network costs: its weights, its multiply-adds, and the time that it takes here."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from preceptor.data import Normalization
from preceptor.models.layout import to_memory_format

LARGE_BATCH = 256
SECONDS = 0.1
"""For each batch size."""
LONGEST = 1.0
"""Seconds that one large batch may take; a slow network gets a smaller one."""


@dataclass(frozen=True)
class NetworkCost:
    """The cost of a network.

    Attributes:
        parameters: trained weights.
        multiply_adds: of convolutions and matrix products for one image.
        images_per_second: from pixels to logits on the network's device, on one thread where that is the CPU, one image
            at a time.
        large_batch, images_per_second_in_batches: how many at a time otherwise, and how fast then.
    """

    parameters: int
    multiply_adds: int
    images_per_second: float
    large_batch: int
    images_per_second_in_batches: float


@torch.no_grad()
def multiply_adds(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and matrix products for one image; torch counts each as two operations.

    Args:
        network: takes normalized images; a copy of it runs.
        shape: channels, height and width of an image.
    """
    device = next(network.parameters(), torch.zeros(())).device
    with FlopCounterMode(display=False) as counter:
        deepcopy(network).eval()(to_memory_format(torch.zeros(1, *shape, device=device)))
    return int(counter.get_total_flops()) // 2


def network_cost(network: nn.Module, normalize: Normalization, shape: tuple[int, int, int]) -> NetworkCost:
    """Count and time a network in eval mode, where it is; takes well below a second, or a few of a slow network.

    Args:
        network: takes normalized images.
        normalize: of images.
        shape: channels, height and width of an image.
    """
    device = next(network.parameters(), torch.zeros(())).device

    @torch.inference_mode()
    def seconds(batch: int) -> float:
        images = torch.zeros(batch, *shape, dtype=torch.uint8, device=device)
        names = {"network": network, "normalize": normalize, "images": images, "layout": to_memory_format}
        timer = Timer("network(layout(normalize(images)))", globals=names, num_threads=1)
        return float(timer.blocked_autorange(min_run_time=SECONDS).median)

    seconds(1)  # the first passes are slower
    one, large = seconds(1), LARGE_BATCH
    while large > 1 and large * one > LONGEST:
        large //= 2
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        multiply_adds=multiply_adds(network, shape),
        images_per_second=1 / one,
        large_batch=large,
        images_per_second_in_batches=large / seconds(large),
    )
