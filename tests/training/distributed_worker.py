"""What the tests of several processes have each of them do, and write down: ``torchrun ... distributed_worker OUT``."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.launched import launched
from preceptor.training import distributed
from preceptor.training.batch_norm import synchronized_batch_norms

SIZE = 7
"""Rows of a batch: no number of processes divides it."""


def batch_norms() -> dict[type[nn.Module], tuple[int, ...]]:
    """Layers, and the shape of a batch of them."""
    return {nn.BatchNorm1d: (SIZE, 3), nn.BatchNorm2d: (SIZE, 3, 4, 5), nn.BatchNorm3d: (SIZE, 3, 2, 2, 2)}


def normalized(rows: slice, half: bool = False, **options) -> list[list[torch.Tensor]]:
    """Outputs, gradients and running statistics of batch norms on these rows of a batch, in float64 or in bf16."""
    inputs_in, layer_in = (torch.bfloat16, torch.float32) if half else (torch.float64, torch.float64)
    results = []
    for kind, shape in batch_norms().items():
        generator = torch.Generator().manual_seed(1)
        inputs, weight = (torch.randn(shape, generator=generator, dtype=torch.float64).to(inputs_in) for _ in range(2))
        layer = kind(3, dtype=layer_in, **options)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.arange(3) / 10)
        own = inputs[rows].clone().requires_grad_()
        with synchronized_batch_norms([layer]):
            outputs = layer(5 + own)
        assert type(layer) is kind
        (outputs * weight[rows]).sum().backward()
        gradients = [parameter.grad for parameter in layer.parameters()]
        results.append([outputs.detach(), own.grad, layer.running_mean, layer.running_var, *gradients])
    return results


def gather() -> dict[str, object]:
    """The rows of a batch and the gradient at the own ones of a loss of all."""
    whole = torch.arange(2.0 * SIZE).reshape(SIZE, 2)
    own = whole[distributed.own_rows(SIZE)].requires_grad_()
    rows = distributed.gathered(own, SIZE)
    (rows.square() * torch.arange(1.0, SIZE + 1)[:, None]).sum().backward()
    return {"rows": rows.tolist(), "gradient": own.grad.tolist(), "integers": _integers()}


def _integers() -> list[int]:
    return distributed.gathered(torch.arange(SIZE)[distributed.own_rows(SIZE)], SIZE).tolist()


def work(out: Path) -> None:
    with distributed.process_group(torch.device("cpu")):
        number, count = distributed.rank(), distributed.world_size()
        seen = {
            "number": number,
            "count": count,
            "gathered": gather(),
            "agreed": distributed.agreed([number == 1, False, True]),
            "from_first": distributed.from_first(lambda: f"of {number}"),
        }
        with distributed.alone():
            seen["alone"] = [distributed.rank(), distributed.world_size(), _integers()]
        parameter = nn.Parameter(torch.zeros(2))
        parameter.grad = torch.full((2,), float(number))
        distributed.average_gradients([parameter, nn.Parameter(torch.zeros(1))])
        seen["average"] = parameter.grad.tolist()
        seen["slow"] = [distributed.slow_process(30.0 if number == 1 else 10 + number), distributed.slow_process(0.5)]
        norms = [normalized(distributed.own_rows(SIZE), **options) for options in OPTIONS]
        torch.save(norms, out / f"norms-{count}-{number}.pt")
    seen["after"] = [distributed.rank(), distributed.world_size(), launched()]
    (out / f"seen-{count}-{number}.json").write_text(json.dumps(seen))


OPTIONS: tuple[dict[str, Any], ...] = ({}, {"momentum": None}, {"affine": False}, {"half": True})

if __name__ == "__main__":
    torch.set_num_threads(1)
    work(Path(sys.argv[1]))
