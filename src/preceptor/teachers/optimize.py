"""A network made fast for inference, whose logits differ by rounding alone."""

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from preceptor.errors import first_line
from preceptor.models.compiling import compiled
from preceptor.models.features import call_model

# By exact type: a subclass may do more, such as standardise its weights or end in an activation.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_WEIGHTY = (*_CONVOLUTIONS, nn.Linear)

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
_CPU_INFO = Path("/proc/cpuinfo")

_Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class OptimizationReport:
    """What was done to a network, and why the rest was not.

    Attributes:
        folded: batch norms folded into the convolution before them.
        kept: batch norms that could not be.
        bf16: whether it computes in bf16.
        channels_last: whether its weights lie channels last.
        compiled: whether it is compiled, with its weights frozen into the code.
        notes: the reasons for what was not done, one line each.
    """

    folded: int
    kept: int
    bf16: bool
    channels_last: bool
    compiled: bool
    notes: tuple[str, ...]

    def __str__(self) -> str:
        done = [
            f"{self.folded} batch norms folded" if self.folded else "",
            "bf16" if self.bf16 else "fp32",
            "channels last" if self.channels_last else "",
            "compiled" if self.compiled else "",
        ]
        return "; ".join([", ".join(filter(None, done)), *self.notes])


class _InBf16(nn.Module):
    """Convolutions and linear layers in bf16, their weights kept in it; autocast fits the rest to them.

    The last linear layer, of classifiers the one that makes the logits, stays in fp32: in bf16 one image in a hundred
    would have two classes at the top, which no teacher has.
    """

    def __init__(self, network: nn.Module, device_type: str) -> None:
        super().__init__()
        self.network, self.device_type = network, device_type
        head = _head(network)
        for layer in _layers(network, _WEIGHTY):
            layer.to(torch.float32 if layer is head else torch.bfloat16)
        if head is not None:
            _swap(network, head, _InFp32(head, device_type))

    def forward(self, *inputs: Any, **named: Any) -> Float[Tensor, "batch outputs"]:
        with torch.autocast(self.device_type, torch.bfloat16):
            outputs = call_model(self.network, named or inputs[0])
        return outputs.float()


class _InFp32(nn.Module):
    """A layer that autocast leaves alone."""

    def __init__(self, layer: nn.Module, device_type: str) -> None:
        super().__init__()
        self.layer, self.device_type = layer, device_type

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(self.device_type, enabled=False):
            outputs: Tensor = self.layer(inputs.float())
        return outputs


def optimize_for_inference(
    network: nn.Module,
    device: torch.device | str,
    *,
    bf16: bool | None = None,
    compile: bool = False,  # noqa: A002
    channels_last: bool = True,
) -> tuple[nn.Module, OptimizationReport]:
    """A copy of a network for inference, in eval mode, without gradients, on a device. The network is left alone.

    Batch norm in eval mode is the affine map ``gamma (x - mean) / sqrt(var + eps) + beta``, which goes into the weights
    and bias of the convolution before it (Jacob et al. 2018, arXiv:1712.05877, section 3.2) where a trace by
    ``torch.fx`` shows that nothing else reads in between.

    Args:
        network: maps normalized fp32 images to logits; the copy does too.
        device: where the copy runs.
        bf16: None (default) is where the device has units for it, see ``bf16_unsupported_reason``. bf16 rounds to 8
            bits: logits then differ by some 0.4 % of their norm.
        compile: by TorchInductor, with the weights frozen into the code: worth its 20 s or more at the first batch
            only for long runs, and again for a batch of another size. Call it without gradients then. Default False.
        channels_last: order of the weights in memory; wants images in the same order (``models.layout``).

    Returns:
        the copy, and what was done.
    """
    device = torch.device(device)
    copy = deepcopy(network).eval().requires_grad_(False)
    folded, kept, notes = _fold(copy)
    copy.to(device)
    for layer in _layers(copy, (nn.Conv2d,)) if channels_last else ():
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    lack = bf16_unsupported_reason(device, network)
    in_bf16 = lack is None if bf16 is None else bf16
    obstacle = _obstacle_to_compiling(device) if compile else None
    compiles = compile and obstacle is None
    notes += [lack] if lack and bf16 is not False else []
    notes += [obstacle] if obstacle else []
    if in_bf16:
        copy = _InBf16(copy, device.type)
    copy.eval()  # what took the place of a layer too
    if compiles:
        copy = compiled(copy, options={"freezing": True})
    return copy, OptimizationReport(folded, kept, in_bf16, channels_last, compiles, tuple(notes))


def bf16_unsupported_reason(device: torch.device, network: nn.Module | None = None) -> str | None:
    """Why bf16 would not be faster on a device; None when it has units for it.

    On a CPU these are AVX512-BF16 or AMX, on CUDA those of compute capability 8.0 and up. Others compute in bf16 too,
    by way of fp32 and more slowly. A network with grouped convolutions, as MobileNets have, is slower in bf16 on a CPU.
    """
    if device.type == "cuda":
        units = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if units else "this GPU has no units for bf16"
    if device.type == "cpu":
        if not _cpu_has_bf16():
            return f"this CPU has no units for bf16 ({' or '.join(_CPU_FLAGS)})"
        layers = () if network is None else network.modules()
        grouped = any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in layers)
        return "on a CPU its grouped convolutions are slower in bf16" if grouped else None
    return f"whether {device.type} devices have units for bf16 is not known"


def _head(network: nn.Module) -> nn.Module | None:
    """The last layer by name, if it is a plain linear one whose weights no layer of torch's own reaches for."""
    name, layer = list(network.named_modules())[-1]
    parent = network.get_submodule(name.rpartition(".")[0])
    reached_for = type(parent).__module__.startswith("torch.nn") and not isinstance(parent, nn.Sequential)
    return layer if name and type(layer) is nn.Linear and not reached_for else None


def _cpu_has_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(flag, False) for flag in _CPU_FLAGS)
    flags = _CPU_INFO.read_text().split() if _CPU_INFO.is_file() else []
    return any(flag in flags for flag in _CPU_FLAGS)


def _obstacle_to_compiling(device: torch.device) -> str | None:
    """What TorchInductor lacks to generate code for a device, before it fails in the midst of training."""
    if device.type != "cpu":
        return None if find_spec("triton") else "not compiled: triton is not installed"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "not compiled: no C++ compiler found"
    return None


def _fold(network: nn.Module) -> tuple[int, int, list[str]]:
    """Fold what can be, in place: how many batch norms were, how many were not, and why."""
    norms = sum(isinstance(module, _BatchNorm) for module in network.modules())
    if not norms:
        return 0, 0, []
    try:
        graph = fx.Tracer().trace(deepcopy(network))  # a trace can leave its stand-ins behind in a network
    except Exception as error:  # whatever the network's own code raises when it meets a stand-in
        reason = f"torch.fx cannot trace {type(network).__name__} ({first_line(error)})"
        return 0, norms, [f"batch norm not folded: {reason}"]
    pairs = _foldable(graph, dict(network.named_modules()))
    for layer, norm in pairs:
        _swap(network, norm, nn.Identity())
        _swap(network, layer, fuse_conv_bn_eval(layer, norm))  # type: ignore[type-var,arg-type]
    kept = norms - len(pairs)
    notes = [f"{kept} batch norms kept: no plain convolution that they alone read comes before them"]
    return len(pairs), kept, notes if kept else []


def _foldable(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> list[_Pair]:
    """Each layer with the batch norm that alone reads it, where both are used once."""
    uses = Counter(id(_used(node, modules)) for node in graph.nodes)
    pairs = []
    for node in graph.nodes:
        norm = _used(node, modules)
        if node.op != "call_module" or len(node.all_input_nodes) != 1 or type(norm) not in _NORMS:
            continue
        before = node.all_input_nodes[0]
        layer = _used(before, modules)
        alone = before.op == "call_module" and len(before.users) == 1 and uses[id(layer)] == uses[id(norm)] == 1
        if alone and _fit(layer, norm):
            pairs.append((layer, norm))
    return pairs


def _used(node: fx.Node, modules: Mapping[str, nn.Module]) -> Any:
    """The module that a node calls or takes a weight from; None for other nodes."""
    if node.op == "call_module":
        return modules[str(node.target)]
    return modules.get(str(node.target).rpartition(".")[0]) if node.op == "get_attr" else None


def _fit(layer: Any, norm: Any) -> bool:
    """Whether a batch norm is an affine map of what a layer gives out, and nothing else happens at either."""
    if norm.training or norm.running_mean is None or _hooked(layer) or _hooked(norm):
        return False
    return type(layer) in _CONVOLUTIONS and bool(layer.out_channels == norm.num_features)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _swap(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in another's place, under every name that it goes by."""
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if module is old:
            network.set_submodule(name, new)


def _layers(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]
