"""Students whose weights, gradients and optimizer state are divided among the processes, by torch's ``fully_shard``.

What it needs of torch takes half a second to import, so it is imported when a student is divided.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from preceptor.training.distributed import world_size


def divided(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a network of whose parameters each process holds a part; they are gathered for every pass."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    own = deepcopy(network)
    for parameter in own.parameters():
        parameter.data = parameter.data.contiguous()  # channels last torch does not divide
    fully_shard(own, mesh=init_device_mesh(device.type, (world_size(),)))
    return own


def whole(state: Any) -> Any:
    """A state with every part of a tensor put together; all processes must ask for it."""
    from torch.distributed.tensor import DTensor

    if isinstance(state, DTensor):
        return state.full_tensor()
    if isinstance(state, Mapping):
        return {name: whole(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole(value) for value in state)
    return state


def load_network(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Take over a whole state of a divided network."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(network, dict(state), options=StateDictOptions(full_state_dict=True))


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take over a whole state of the optimizer of a divided network."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parts = {
        number: {name: _part(value, parameters[number]) for name, value in one.items()}
        for number, one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": parts})


def _part(value: Any, parameter: Tensor) -> Any:
    """This process's part of what the optimizer keeps of a parameter; what is no tensor of its shape is whole."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape:
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


def all_finite(parts: list[Tensor]) -> Tensor:
    """Whether tensors are finite, of divided ones every part in every process."""
    from torch.distributed.tensor import DTensor

    own = [part.to_local() if isinstance(part, DTensor) else part for part in parts]
    votes = torch.nn.utils.get_total_norm([part for part in own if part.numel()], torch.inf).isfinite().int()
    dist.all_reduce(votes, dist.ReduceOp.MIN)
    return votes.bool()
