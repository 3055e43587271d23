"""The cost of a student beside its teacher: bytes, parameters, multiply-adds, and latency on this CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.utils.benchmark import Timer

from preceptor.export.formats import Export
from preceptor.export.module import ExportModule
from preceptor.export.verify import Run
from preceptor.models import ModelCard
from preceptor.models.costs import multiply_adds
from preceptor.models.store import WEIGHTS_FILE

LATENCY_BATCHES = (1, 64)
SECONDS = 0.5
"""For each contender and batch size."""


@dataclass(frozen=True)
class Cost:
    """The cost of one form of a classifier.

    Attributes:
        parameters: trained weights; None for another form of a network that is listed too.
        multiply_adds: of convolutions and matrix products for one image; None likewise.
        milliseconds: median latency of a batch on one thread of the CPU, by its size, a string so that JSON keeps it.
    """

    name: str
    file_bytes: int
    parameters: int | None
    multiply_adds: int | None
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class SavedNetwork:
    """A student or teacher, as :func:`~preceptor.models.load_student` reads it from a run folder."""

    folder: Path
    network: nn.Module
    card: ModelCard


def cost_table(
    networks: Mapping[str, SavedNetwork], exports: Sequence[Export], images: UInt8[Tensor, "n channels height width"]
) -> list[Cost]:
    """The cost of each network in PyTorch, and of each exported file of one of them that holds a program."""
    # From pixels to probabilities, as in the files; the decision takes no time to speak of.
    runs: dict[str, Run] = {
        f"{name}, PyTorch": ExportModule(saved.network, saved.card.model_copy(update={"decision": None})).run
        for name, saved in networks.items()
    }
    files = {
        f"{export.name}, {'PyTorch' if export.format == 'pt2' else 'ONNX Runtime'}": export
        for export in exports
        if export.format != "state-dict"
    }
    times = latencies({**runs, **{name: export.run for name, export in files.items()}}, images)
    costs = [
        Cost(
            name,
            file_bytes=(saved.folder / WEIGHTS_FILE).stat().st_size,
            parameters=sum(parameter.numel() for parameter in saved.network.parameters()),
            multiply_adds=multiply_adds(saved.network, (saved.card.channels, *saved.card.image_size)),
            milliseconds=times[name],
        )
        for name, saved in zip(runs, networks.values(), strict=True)
    ]
    sizes = {name: len(export.contents[export.name]) for name, export in files.items()}
    return costs + [Cost(name, sizes[name], None, None, times[name]) for name in files]


def latencies(
    runs: Mapping[str, Run], images: UInt8[Tensor, "n channels height width"], seconds: float = SECONDS
) -> dict[str, dict[str, float]]:
    """Median milliseconds from pixels to output, by name and batch size, on one thread of the CPU.

    Images are repeated where a batch wants more; each median takes at least so many ``seconds``.
    """
    milliseconds: dict[str, dict[str, float]] = {name: {} for name in runs}
    with torch.inference_mode():
        for size in LATENCY_BATCHES:
            batch = images[torch.arange(size) % len(images)]
            for name, run in runs.items():
                timer = Timer("run(batch)", globals={"run": run, "batch": batch}, num_threads=1)
                milliseconds[name][str(size)] = 1000 * timer.blocked_autorange(min_run_time=seconds).median
    return milliseconds
