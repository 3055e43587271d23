"""Compilation of networks: whether a run is long enough to pay for it, and models compiled for one batch size."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from preceptor.errors import InputError, MachineError, first_line
from preceptor.models.compiling import compiled
from preceptor.models.features import call_model
from preceptor.training.batches import take_rows
from preceptor.training.config import TrainingConfig

Compile = Literal["auto", "never", "always", "graph"]
"""Whether to compile networks: "auto" where the run is long enough to pay for it; "graph" records CUDA graphs
(``torch.compile(mode="reduce-overhead")``) for the students, and leaves the teacher to "auto"."""

BACKEND = "inductor"

FORWARD_AND_BACKWARD = 3
"""Operations of a training step against those of a forward pass."""

FLOPS_THAT_PAY = {
    # (device type, role): operations of a run above which compiling saves twice what it costs. On a CPU, per core:
    # measured on two cores with AVX-512 at 1e11 FLOP/s a core, where a cold graph costs 25 to 60 s, a wide student
    # gains 4 to 15 % and a teacher with frozen weights about 30 %. The numbers for CUDA are not measured.
    ("cpu", "student"): 2.4e14,
    ("cpu", "teacher"): 4e13,
    ("cuda", "student"): 8e15,
    ("cuda", "teacher"): 8e15,
}


def compiling_pays(role: Literal["student", "teacher"], *, flops: float, steps: int, device: torch.device) -> bool:
    """Whether a run is long enough to pay for compiling a network.

    Decided by counts alone, not by a clock, so that the same run always decides the same.

    Args:
        role: a teacher runs forward only, and gains more.
        flops: of all steps together.
        steps: on CUDA each takes at least 4 ms, whatever there is to compute.
        device: on other devices than CPU and CUDA nothing is compiled.
    """
    if device.type == "cpu":
        return flops > FLOPS_THAT_PAY["cpu", role] * torch.get_num_threads()
    if device.type == "cuda":
        return max(flops, steps * 8e10) > FLOPS_THAT_PAY["cuda", role]
    return False


@torch.no_grad()
def forward_flops(network: nn.Module, inputs: Any) -> int:
    """Floating-point operations of a network's forward pass over a batch, counted on a copy of it."""
    copy = deepcopy(network).eval()
    for module in copy.modules():  # the caller's hooks must not see this pass
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    samples = len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))
    few = min(2, samples)
    with FlopCounterMode(display=False) as counter:
        call_model(copy, take_rows(inputs, slice(few)))
    return int(counter.get_total_flops()) * samples // few


def check_compile(compile: Compile, device: torch.device, config: TrainingConfig) -> None:  # noqa: A002
    """Refuse CUDA graphs on another device, and compiling where each step takes several backward passes.

    Raises:
        MachineError: ``compile`` is "graph" and the device is not CUDA.
        InputError: "graph" or "always" with an optimizer that takes several gradients: compiled code frees what it has
            computed after the first.
    """
    if compile in ("always", "graph") and config.separates_gradients:
        raise InputError(
            f"compile = {compile}: optimizer {config.optimizer} takes several backward passes a step, which compiled "
            "networks do not allow: use auto or never"
        )
    if compile == "graph" and device.type != "cuda":
        raise MachineError(f"compile = graph: {device.type} has no graphs: use auto, never or always")


class CompiledForBatches:
    """A model compiled for batches of one size; others, such as an epoch's last, run uncompiled.

    So there is one graph, and no step after the first compiles anything. If compiling fails, a warning says why and the
    model runs uncompiled.

    Args:
        model: inputs to outputs; left as it is.
        batch_size: of the batches it is compiled for.
        mode: of ``torch.compile``; None is its default.
    """

    def __init__(self, model: nn.Module, batch_size: int, mode: str | None = None) -> None:
        self.model, self.batch_size = model, batch_size
        options = {"backend": BACKEND} if mode is None else {"mode": mode}
        self._compiled: Callable[[Any], Any] | None = compiled(model, dynamic=False, **options)
        self._has_run = False

    def __call__(self, inputs: Any) -> Any:
        samples = len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))
        if self._compiled is None or samples != self.batch_size:
            return self.model(inputs)
        if self._has_run:
            return self._compiled(inputs)
        try:
            outputs = self._compiled(inputs)
        except Exception as error:  # whatever the compiler meets; a fault of the model itself is raised below
            self._compiled = None
            reason = first_line(error)
            warnings.warn(f"student not compiled ({reason}): it is trained uncompiled, more slowly", stacklevel=2)
            outputs = self.model(inputs)
        self._has_run = True
        return outputs
