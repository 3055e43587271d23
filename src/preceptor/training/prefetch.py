"""Two streams: the next step's batch and teacher signal are made while the students take this one."""

from collections.abc import Iterator

import torch
from torch import Tensor

from preceptor.training.step import Step


def prefetched(steps: Iterator[Step], device: torch.device) -> Iterator[Step]:
    """The same steps, each made one ahead on a stream of its own, so that teacher and students overlap on a GPU.

    On a CPU, which has one stream, nothing changes but that a step is made before the one in front of it is taken.

    Args:
        steps: made on the current stream when they are asked for.
        device: where they are.
    """
    streams = torch.get_device_module(device)
    making, taking = streams.Stream(), streams.current_stream()
    making.wait_stream(taking)  # what the steps are made of has arrived

    def next_step() -> Step | None:
        with streams.stream(making):
            return next(steps, None)

    made = next_step()
    while made is not None:
        taking.wait_stream(making)
        _keep_until_taken(made, taking)
        step, made = made, next_step()
        yield step


def _keep_until_taken(step: Step, taking: torch.Stream) -> None:
    """Memory from one stream is used again when that stream is done with it: the other is to be done with it too."""
    batch = step.batch
    for tensor in (batch.images, batch.label, batch.index, step.images, step.signal):
        if isinstance(tensor, Tensor) and tensor.device.type != "cpu":
            tensor.record_stream(taking)
