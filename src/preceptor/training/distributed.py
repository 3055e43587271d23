"""Training in several processes, started by torchrun: each takes its rows of every batch, and all take the same step.

The outputs of student and teacher for these rows are gathered before the loss, so that every process computes the loss
of the whole batch. So what a loss does with a batch (counts, selections, statistics over samples, a state by sample) is
the same in one process and in many, for components of others too, and metrics need no reduction. It costs the transfer
of the outputs, and a loss computed once a process: little, beside networks, for logits; more for the features of a
feature loss. Gradients of the network are averaged by torch's DistributedDataParallel.
"""

import gc
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from preceptor.errors import MachineError, first_line
from preceptor.launched import launched, restarts

Outcome = TypeVar("Outcome")

SLOW = 1.5
"""Times as long as the median of the others, and a second more an epoch: such a process is named."""

_NAME = 64
"""Letters of a host's name that are told."""

STEPS_BETWEEN_AGREEMENTS = 8
"""Steps after which processes agree on whether to stop or to write a checkpoint; each waits for the slowest."""

_LOST = ("connection closed by peer", "connection reset by peer", "connection refused", "broken pipe", "timed out")

_alone = False
_waited = 0.0


def world_size() -> int:
    """Number of processes that train together; 1 outside :func:`process_group`."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def rank() -> int:
    """The number of this process among them, from 0; the first writes everything."""
    return dist.get_rank() if dist.is_initialized() and not _alone else 0


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Within it the processes that torchrun started train together; does nothing without torchrun.

    The device of this process is its CPU, or the GPU of its number on the host. A group that exists is used, and left
    as it is.

    Raises:
        MachineError: the host has fewer GPUs than processes, the others cannot be reached, or one of them has ended.
    """
    number, size = launched()
    if size == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise MachineError(
                f"process {number} of {size} is number {local + 1} on {socket.gethostname()}, which has "
                f"{torch.cuda.device_count()} GPUs: start as many as there are (torchrun --nproc-per-node), or "
                "give --device cpu"
            )
        torch.cuda.set_device(local)
    try:
        # A group that starts anew must not meet the addresses that its last life has left in torchrun's store.
        store, *_ = next(rendezvous("env://"))
        store = dist.PrefixStore(str(restarts()), store)  # type: ignore[attr-defined] # public, but not re-exported
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=number, world_size=size)
        with warnings.catch_warnings():
            # Of 1x1 convolutions in channels-last layout, whose strides mean nothing.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(text in str(error).lower() for text in _LOST):
            raise
        raise MachineError(
            f"process {number} of {size}, on {socket.gethostname()}: another process of the group has ended, or cannot "
            f"be reached ({first_line(error)}): see its own message; torchrun --max-restarts goes on by itself, or "
            "preceptor resume from the last checkpoint"
        ) from error
    # Only a group whose processes all come here is taken down in order: without the others a barrier would wait for
    # ever. Wrapped networks must be gone before, or taking it down aborts.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process computes by itself, as if there were no others."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def of_every_process(own: Tensor) -> Tensor:
    """Tensors of one shape, stacked [processes, ...]; without gradient."""
    parts = [torch.empty_like(own) for _ in range(world_size())]
    with waiting():
        dist.all_gather(parts, own)
    return torch.stack(parts)


@contextmanager
def waiting() -> Iterator[None]:
    """Count the time within it as spent in waiting for other processes, or for the device."""
    global _waited
    started = time.perf_counter()
    try:
        yield
    finally:
        _waited += time.perf_counter() - started


def seconds_waited() -> float:
    """Time spent in waiting, since the process began."""
    return _waited


def slow_process(seconds: float) -> str | None:
    """Which process holds the others up, told to the first process; None where none does.

    Args:
        seconds: that this process has worked, without waiting.
    """
    place = torch.tensor([*socket.gethostname().encode()[:_NAME].ljust(_NAME)], dtype=torch.uint8)
    worked = of_every_process(torch.tensor([seconds], dtype=torch.float64)).flatten()
    places = of_every_process(place)
    slowest = int(worked.argmax())
    others = float(torch.cat([worked[:slowest], worked[slowest + 1 :]]).median())
    if rank() > 0 or worked[slowest] < max(SLOW * others, others + 1):
        return None
    host = bytes(places[slowest].tolist()).decode(errors="replace").strip()
    return (
        f"process {slowest} of {len(worked)}, on {host}, holds the others up: it worked {float(worked[slowest]):.0f} s "
        f"in this epoch, half of the others {others:.0f} s or less: is its data slower to read, or its machine busy?"
    )


def own_rows(size: int) -> slice:
    """The rows of a batch of ``size`` that this process takes: every n-th of n processes, from its number on."""
    return slice(rank(), size, world_size())


def gathered(own: Tensor, size: int) -> Tensor:
    """The rows of all processes in the order of the batch; ``own`` itself in one process.

    Its gradient is that of a loss which every process computes of all rows: each has the whole gradient at its own
    rows, and needs nothing of the others'. It is multiplied by the number of processes, since
    :func:`data_parallel` divides by it.

    Args:
        own: this process's rows, as :func:`own_rows` says.
        size: of the whole batch; at least one row a process.
    """
    if world_size() == 1:
        return own
    rows: Tensor = _Gathered.apply(own, size)  # type: ignore[no-untyped-call]
    return rows


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, own: Tensor, size: int) -> Tensor:
        processes = world_size()
        most = -(-size // processes)
        padded = own.new_zeros(most, *own.shape[1:])
        padded[: len(own)] = own
        context.size = size
        in_order: Tensor = of_every_process(padded).transpose(0, 1).flatten(0, 1)
        return in_order[:size].contiguous()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        own: Tensor = gradients[0][own_rows(context.size)]
        return own * world_size(), None


def data_parallel(model: nn.Module, inputs: Any, *, steady: bool) -> nn.Module:
    """The model with its gradients averaged over the processes after every backward pass.

    Args:
        model: inputs to logits and features.
        inputs: a few, to find parameters that no output follows from.
        steady: whether the loss uses the logits in every step. A feature loss alone leaves the head without a gradient.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        return model
    training = model.training
    with torch.enable_grad():
        logits, _ = model.eval()(inputs)  # running statistics must not see the probe
        gradients = torch.autograd.grad(logits.sum(), trained, allow_unused=True)
    model.train(training)
    unused = not steady or any(gradient is None for gradient in gradients)
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=unused)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average what every process has computed of the whole batch, so that rounding cannot lead them apart."""
    if world_size() > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= world_size()


def agreed(flags: Sequence[bool]) -> list[bool]:
    """Each flag, true where it is in any process."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32)
    with waiting():
        dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes]


def from_first(work: Callable[[], Outcome]) -> Outcome:
    """What the first process makes; the others wait for it."""
    if world_size() == 1:
        return work()
    outcome: list[Any] = [work() if rank() == 0 else None]
    dist.broadcast_object_list(outcome)
    made: Outcome = outcome[0]
    return made
