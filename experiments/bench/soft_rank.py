"""Speed of the soft ranks, forward and backward, against the pairwise sigmoid that most code uses.

All variants run in turns in one process, so that other load affects them alike; the ratio counts.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from experiments.bench.common import RESULTS, table, write_json
from preceptor.losses import permutahedron_soft_rank, window_soft_rank
from preceptor.run import versions

SHAPES = ((128, 100), (1024, 1000))
ROUNDS = 7
CHUNK_ELEMENTS = 2**25
RESULT = RESULTS / "soft_rank.json"


def pairwise_sigmoid_rank(values: Tensor, strength: float) -> Tensor:
    """``1/2 + sum_j sigmoid((x_i - x_j) / strength)``, all pairs at once."""
    return 0.5 + ((values[:, :, None] - values[:, None, :]) / strength).sigmoid().sum(dim=2)


def forward_backward(rank: Callable[[Tensor, float], Tensor], values: Tensor, strength: float, rows: int) -> float:
    """Seconds for the ranks and their gradient, ``rows`` at a time."""
    started = time.perf_counter()
    for part in values.split(rows):
        leaf = part.clone().requires_grad_()
        rank(leaf, strength).square().sum().backward()
    return time.perf_counter() - started


def measure(batch: int, classes: int) -> dict[str, object]:
    values, strength = torch.randn(batch, classes, generator=torch.Generator().manual_seed(0)), 1 / classes
    rows_of_pairs = max(1, min(batch, CHUNK_ELEMENTS // classes**2))
    variants = {
        "window": (window_soft_rank, batch),
        "permutahedron": (permutahedron_soft_rank, batch),
        "pairwise sigmoid": (pairwise_sigmoid_rank, rows_of_pairs),  # in chunks: whole it would take gigabytes
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(ROUNDS + 1):
        for name, (rank, rows) in variants.items():
            taken = forward_backward(rank, values, strength, rows)
            if turn:  # the first turn warms up
                seconds[name].append(taken)
    ratios = {
        name: sorted(pairwise / own for own, pairwise in zip(rounds, seconds["pairwise sigmoid"], strict=True))
        for name, rounds in seconds.items()
    }
    return {
        "shape": [batch, classes],
        "median_seconds": {name: statistics.median(rounds) for name, rounds in seconds.items()},
        "times_as_fast_as_pairwise": {
            name: {"median": statistics.median(ratio), "least": ratio[0], "most": ratio[-1]}
            for name, ratio in ratios.items()
        },
    }


def markdown(content: dict[str, Any]) -> str:
    """The result file as a table."""
    shapes = content["shapes"]
    headings = [
        heading
        for rows, classes in (each["shape"] for each in shapes)
        for heading in (f"[{rows}, {classes}], ms", "times as fast as pairwise")
    ]
    rows = [[name, *(cell for each in shapes for cell in _cells(each, name))] for name in shapes[0]["median_seconds"]]
    versions = content["versions"]
    shown = table(["soft rank", *headings], rows)
    return (
        f"{shown}\n\nForward and backward, median of {content['rounds']} rounds in turns (least to most). "
        f"Made by `python -m experiments.bench.soft_rank` ({versions['machine']}, torch {versions['torch']})."
    )


def _cells(shape: dict[str, Any], name: str) -> tuple[str, str]:
    ratio = shape["times_as_fast_as_pairwise"][name]
    spread = "" if ratio["least"] == ratio["most"] else f" ({ratio['least']:.2f} to {ratio['most']:.2f})"
    return f"{1000 * shape['median_seconds'][name]:.1f}", f"{ratio['median']:.2f}{spread}"


if __name__ == "__main__":
    result: dict[str, Any] = {"rounds": ROUNDS, "versions": versions(), "shapes": [measure(*shape) for shape in SHAPES]}
    write_json(result, RESULT)
    print(markdown(result))
