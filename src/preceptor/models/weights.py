"""Weights of anybody's for a network: safetensors, or a state dict of ``torch.save`` read with ``weights_only``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from preceptor.data.plain_files import load_plain
from preceptor.errors import InputError, few, first_line

# How files of torch.save begin: a zip of pickles, or a bare pickle of protocol 2 to 5.
_PICKLE_OR_ZIP = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# What torch's wrappers put before the name of every weight: DataParallel and DDP, and torch.compile.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")
# What training programs call the network among other things that they keep.
_NESTED = ("state_dict", "model_state_dict", "model", "network", "net", "module", "weights")
_MOST_NESTED = 4
# Counted by batch norm, and needed by no network in eval mode; files of old versions lack them.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class WeightsReport:
    """Which tensors of a file went into a network.

    Attributes:
        tensors: of the network.
        loaded: of these, from the file.
        missing: names of the network's that the file lacks.
        reshaped: of those that have another shape or kind of number in the file, with both.
        unused: names of the file's that the network lacks.
        prefix: what was taken off the name of every tensor; usually empty.
        renamed: tensors of the file that have another project's name, and took the network's own.
    """

    tensors: int
    loaded: int
    missing: tuple[str, ...]
    reshaped: tuple[str, ...]
    unused: tuple[str, ...]
    prefix: str = ""
    renamed: int = 0

    def lacks(self, name: str) -> bool:
        """Whether a tensor of the network was left as it was built."""
        return name in self.missing or any(line.startswith(f"{name} ") for line in self.reshaped)

    @property
    def is_whole(self) -> bool:
        """Whether file and network have the same tensors."""
        return not (self.missing or self.reshaped or self.unused)

    def line(self) -> str:
        """All of it in one line."""
        parts = [f"loaded {self.loaded:,} of {self.tensors:,} tensors"]
        named = {"left as built": self.missing, "of another shape": self.reshaped, "unused": self.unused}
        parts += [f"{what}: {few(names, 4)}" for what, names in named.items() if names]
        parts += [f"{self.prefix!r} taken off every name"] if self.prefix else []
        parts += [f"{self.renamed:,} renamed from another project's names"] if self.renamed else []
        return "; ".join(parts)


def load_weights(network: nn.Module, path: Path, *, whole: bool = False) -> WeightsReport:
    """Put the tensors of a file into a network, those that match in name and shape.

    Networks of this package also take the names of widely used code, which they list in ``third_party_names``.

    Args:
        network: changed in place.
        path: safetensors, a state dict of ``torch.save``, or one inside a training program's own dictionary.
        whole: whether every tensor must match, those of the file too. Default False.

    Raises:
        InputError: the file cannot be read or holds no tensors, nothing matches, or, of a ``whole`` network, not all.
    """
    own = network.state_dict()
    weights, prefix = _for_names(read_state_dict(path), own)
    weights, renamed = _with_own_names(weights, own, getattr(network, "third_party_names", {}))
    report = replace(matched(weights, own), prefix=prefix, renamed=renamed)
    if report.loaded == 0:
        raise InputError(
            f"{path}: fits no tensor of {type(network).__name__}: the file has {few(sorted(weights), 4)}; expected "
            f"{few(sorted(own), 4)}: is it of this architecture?"
        )
    if whole and not report.is_whole:
        raise InputError(
            f"{path}: does not fit {type(network).__name__} whole: {report.line()}: name the architecture that the "
            "weights are of"
        )
    load_fitting(network, weights)
    return report


def load_fitting(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put the tensors that match in name, shape and kind of number into a network."""
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in weights.items() if name in own and _fits(tensor, own[name])}
    network.load_state_dict(fitting, strict=False)


def is_pickle(path: Path) -> bool:
    """Whether a file begins as those of ``torch.save`` do, rather than as safetensors."""
    with path.open("rb") as file:
        head = file.read(9)
    return head.startswith(_PICKLE_OR_ZIP) and not head.endswith(b"{")  # safetensors: length in 8 bytes, then "{"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors in a file by name. Only tensors and plain values are unpickled.

    Raises:
        InputError: no such file, a damaged one, one that holds other objects, or no tensors by name.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights: safetensors, or a state dict of torch.save")
    try:
        content = load_plain(path) if is_pickle(path) else load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes the libraries raise nearly anything
        raise InputError(
            f"{path}: neither whole safetensors nor a state dict that torch opens with weights_only=True "
            f"({first_line(error)}): save the state dict alone, with safetensors.torch.save_file"
        ) from error
    tensors = _tensors(content)
    if not tensors:
        raise InputError(f"{path}: holds no tensors by name; expected a state dict, perhaps under {', '.join(_NESTED)}")
    return tensors


def without_wrapper(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The weights without the prefix that wrappers put before every name, and that prefix, empty where none is."""
    taken = ""
    # A network may be wrapped twice: compiled, then distributed.
    while shared := [one for one in _WRAPPER_PREFIXES if weights and all(name.startswith(one) for name in weights)]:
        weights = {name.removeprefix(shared[0]): tensor for name, tensor in weights.items()}
        taken += shared[0]
    return weights, taken


def _tensors(content: Any) -> dict[str, Tensor]:
    for _ in range(_MOST_NESTED):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
        content = inner
    return {}


def _for_names(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The weights without a prefix of all of them that no tensor of the network has, such as Lightning's ``model.``."""
    weights, taken = without_wrapper(weights)
    while True:
        first = {f"{name.partition('.')[0]}." for name in weights if "." in name}
        prefix = next(iter(first)) if len(first) == 1 and all("." in name for name in weights) else ""
        if not prefix or any(name.startswith(prefix) for name in own):
            return weights, taken
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
        taken += prefix


def _with_own_names(
    weights: dict[str, Tensor], own: Mapping[str, Tensor], third_party_names: Mapping[str, str]
) -> tuple[dict[str, Tensor], int]:
    """The weights under the network's names, and how many had a name of another project.

    Args:
        weights: by the names of the file.
        own: the network's tensors.
        third_party_names: regular expressions of whole names -> the network's own, as of ``re.sub``; the first that
            fits a name counts. A name that the network has stays.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        pattern = next((one for one in third_party_names if name not in own and re.fullmatch(one, name)), None)
        new = name if pattern is None else re.sub(pattern, third_party_names[pattern], name)
        named[new if new in own and new not in weights else name] = tensor
    counters = sum(name.endswith(_COUNTER) for name in named.keys() - weights.keys())
    return named, len(named.keys() - weights.keys()) - counters


def matched(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> WeightsReport:
    """Which weights match a network's tensors in name, shape and kind of number, but for counters of batch norm."""
    counted = {name for name in own if not name.endswith(_COUNTER)}
    shared = sorted(counted & weights.keys())
    misfits = [name for name in shared if not _fits(weights[name], own[name])]
    return WeightsReport(
        tensors=len(counted),
        loaded=len(shared) - len(misfits),
        missing=tuple(sorted(counted - weights.keys())),
        reshaped=tuple(f"{name} {_form(weights[name])} instead of {_form(own[name])}" for name in misfits),
        unused=tuple(sorted(name for name in weights.keys() - own.keys() if not name.endswith(_COUNTER))),
    )


def _fits(tensor: Tensor, own: Tensor) -> bool:
    alike = _dtype_kind(tensor) == _dtype_kind(own)
    return alike and tensor.shape == own.shape


def _dtype_kind(tensor: Tensor) -> tuple[bool, bool]:
    """Whether it holds floating-point numbers, and complex ones: what cannot be converted silently."""
    return tensor.dtype.is_floating_point, tensor.dtype.is_complex


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}" if tensor.is_floating_point() else f"{tuple(tensor.shape)} {tensor.dtype}"
