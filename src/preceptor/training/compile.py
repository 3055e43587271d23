"""The means by which a student computes: in which precision, and whether compiled or captured."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from preceptor.errors import MachineError
from preceptor.models.compiling import compiled
from preceptor.models.layout import to_memory_format
from preceptor.teachers.optimize import bf16_unsupported_reason

Precision = Literal["auto", "fp32", "bf16"]
"""What networks compute in; "auto" is bf16 where the device has units for it. Losses are computed in fp32 anyway."""

Compile = Literal["auto", "never", "always", "graph"]
"""Whether to compile networks; "auto" is when the run is long enough to pay for it, "graph" captures CUDA graphs."""

BACKEND = "inductor"


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """The precision that "auto" stands for on a device."""
    if precision != "auto":
        return precision
    return "bf16" if bf16_unsupported_reason(device) is None else "fp32"


@dataclass(frozen=True)
class Gain:
    """What compiling is worth on a kind of device.

    Attributes:
        flops: a second that a device of this kind does, some; on a CPU for each core.
        step_seconds: the least that a step takes, whatever there is to compute.
        student: share of the time saved by compiling a student's forward and backward pass.
        teacher: share saved by compiling a teacher, with its weights frozen into the code.
        cost: seconds until the first compiled batch is through.
    """

    flops: float
    step_seconds: float
    student: float
    teacher: float
    cost: float


GAINS = {
    "cpu": Gain(flops=1e11, step_seconds=0, student=0.05, teacher=0.3, cost=60),
    "cuda": Gain(flops=2e13, step_seconds=0.004, student=0.3, teacher=0.3, cost=60),
}
"""Measured on two cores with AVX-512 (a narrow student gains nothing, a wide one 4 to 15 %; a cold graph costs 25 to
60 s). Those for CUDA are guesses until they are measured."""

MARGIN = 2
"""Compiling must save so many times what it costs: estimates are rough."""


def compiling_pays(role: Literal["student", "teacher"], *, flops: float, steps: int, device: torch.device) -> bool:
    """Whether a run is long enough to pay for compiling a network. It follows from counts alone, not from a clock, so
    that the same run always decides the same.

    Args:
        role: a teacher is run forward only, and gains more.
        flops: of all steps together.
        steps: how often the network is run.
        device: a CPU counts with as many cores as torch uses threads; for devices other than CPU and CUDA nothing is
            known, and nothing is compiled.
    """
    if device.type not in GAINS:
        return False
    gain = GAINS[device.type]
    speed = gain.flops * (torch.get_num_threads() if device.type == "cpu" else 1)
    seconds = max(flops / speed, steps * gain.step_seconds)
    share = gain.student if role == "student" else gain.teacher
    return seconds * share > MARGIN * gain.cost


@torch.no_grad()
def forward_flops(network: nn.Module, images: Tensor) -> int:
    """Floating-point operations of a network's forward pass over normalized images, counted on a copy of it."""
    copy = deepcopy(network).eval()
    for module in copy.modules():  # whoever listens to the network is not to hear of this
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    some = images[:2]
    with FlopCounterMode(display=False) as counter:
        copy(to_memory_format(some))
    return int(counter.get_total_flops()) * len(images) // len(some)


FORWARD_AND_BACKWARD = 3
"""A training step's operations against those of a forward pass."""


def check_compile(compile: Compile, device: torch.device) -> None:  # noqa: A002
    """Make sure that a device can do what is asked.

    Raises:
        MachineError: graphs are asked for on something else than a CUDA device.
    """
    if compile == "graph" and device.type != "cuda":
        raise MachineError(f"compile = graph: {device.type} has no graphs: use auto, never or always")


def student_runner(
    student: nn.Module,
    images: Tensor,
    steps: int,
    compile: Compile,  # noqa: A002
    precision: Literal["fp32", "bf16"],
) -> Callable[[Tensor], Tensor]:
    """How a student is run for the length of a training.

    Args:
        student: in training mode, on its device.
        images: a normalized batch of the size that nearly all steps have.
        steps: of the training.
        compile: as asked for.
        precision: of the training.

    Returns:
        the student itself, or something that takes images as it does and is quicker.

    Raises:
        MachineError: graphs are asked for on something else than a CUDA device.
    """
    check_compile(compile, images.device)
    if compile == "graph":
        return Captured(student, images, precision)
    if compile == "auto":
        flops = FORWARD_AND_BACKWARD * forward_flops(student, images) * steps
        pays = compiling_pays("student", flops=flops, steps=steps, device=images.device)
    return CompiledForBatches(student, len(images)) if compile == "always" or (compile == "auto" and pays) else student


class CompiledForBatches:
    """A network compiled for batches of one size; others, such as an epoch's last, go through it as it is.

    So there is one graph, and no step after the first compiles anything. If compiling fails, a warning says why and the
    network is run as it is. Its parameters are the network's own, and so is its mode.

    Args:
        network: left as it is.
        batch_size: of the batches it is compiled for.
    """

    def __init__(self, network: nn.Module, batch_size: int) -> None:
        self.network, self.batch_size = network, batch_size
        self._compiled: Callable[[Tensor], Tensor] | None = compiled(network, backend=BACKEND, dynamic=False)
        self._proven = False

    def __call__(self, images: Tensor) -> Tensor:
        """The network's outputs."""
        if self._compiled is None or len(images) != self.batch_size:
            outputs: Tensor = self.network(images)
            return outputs
        return self._compiled(images) if self._proven else self._first(self._compiled, images)

    def _first(self, compiled: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        try:
            outputs = compiled(images)
        except Exception as error:  # whatever the compiler meets; what is wrong with the network itself is raised below
            self._compiled = None
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            warnings.warn(f"student not compiled ({reason}): it is trained uncompiled, more slowly", stacklevel=2)
            outputs = self.network(images)
        self._proven = True
        return outputs


class Captured:
    """A network whose forward and backward passes are CUDA graphs for batches of one size; others run as usual.

    Launching a small network's kernels one by one takes longer than they do; a graph is launched as one. Capturing
    changes nothing in the network: what its warm-up did to running statistics is undone.

    Args:
        network: in training mode, on a CUDA device.
        images: normalized images of the size of batch it is captured for.
        precision: "fp32", or "bf16" for autocast within the graph.
    """

    def __init__(self, network: nn.Module, images: Tensor, precision: Literal["fp32", "bf16"]) -> None:
        self.network, self.batch_size = network, len(images)
        before = {name: buffer.clone() for name, buffer in network.named_buffers()}

        def forward(given: Tensor) -> Tensor:
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
                outputs: Tensor = network(given)
            return outputs

        graph = torch.cuda.make_graphed_callables(_Module(network, forward), (images,))
        self._graph = cast(Callable[[Tensor], Tensor], graph)
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(before[name])

    def __call__(self, images: Tensor) -> Tensor:
        """The network's outputs; those of a captured batch stand in memory that the next one writes over."""
        if len(images) == self.batch_size:
            return self._graph(images)
        outputs: Tensor = self.network(images)
        return outputs


class _Module(nn.Module):
    """Lets a function of a network's forward pass be captured with the network's parameters."""

    def __init__(self, network: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)
