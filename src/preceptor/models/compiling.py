"""``torch.compile`` in a process that compiles many networks."""

import inspect
from typing import Any, cast

import torch
from torch import nn

MOST_GRAPHS = 256
"""Most compiled graphs of one forward method. Every network of a class has its own, and torch's default limit is 8 for
all of them together: the ninth would stay uncompiled, with no more than a warning."""

_TAKES_A_LIMIT = "recompile_limit" in inspect.signature(torch.compile).parameters


def compiled(network: nn.Module, **options: Any) -> nn.Module:
    """A network compiled for what it is first called with; it shares its parameters with the original.

    Args:
        network: left as it is.
        options: of ``torch.compile``.
    """
    if _TAKES_A_LIMIT:
        options["recompile_limit"] = MOST_GRAPHS
    return cast(nn.Module, torch.compile(network, **options))
