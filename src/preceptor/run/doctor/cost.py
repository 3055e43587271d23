"""What the run will take: size and operations of the networks, memory and time."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from preceptor.metrics.logits import network_logits
from preceptor.models.layout import to_memory_format
from preceptor.run.config import RunConfig
from preceptor.run.doctor.finding import Finding
from preceptor.run.doctor.first_steps import FirstSteps
from preceptor.run.set_up import RunContext
from preceptor.training.batches import steps_in_epoch
from preceptor.training.compile import forward_flops

COPIES_OF_A_WEIGHT = 3
"""The weight itself, its gradient, its momentum."""

IMAGES_PER_MEASUREMENT = 512
"""As many as go through a student at a time when it is measured."""


@dataclass(frozen=True)
class Size:
    """Of a network.

    Attributes:
        parameters: how many numbers it has to learn.
        flops: floating-point operations of a forward pass over one image.
    """

    parameters: int
    flops: int


def size_of(network: nn.Module, image: Tensor) -> Size:
    """The size of a network; ``image`` is a normalized batch of one on its device."""
    return Size(sum(parameter.numel() for parameter in network.parameters()), forward_flops(network, image))


def capacity_finding(student: Size, teacher: Size | None) -> Finding:
    """Whether the student is smaller than its teacher, as it is to be.

    Args:
        student: its size.
        teacher: all its networks together; None where it is not made of networks that can be counted.
    """
    own = f"the student has {student.parameters:,} parameters and takes {student.flops:,} FLOPs an image"
    if teacher is None:
        return Finding("capacity", "ok", own, "", {"student": asdict(student), "teacher": None})
    ratios = {
        "parameters": student.parameters / max(1, teacher.parameters),
        "flops": student.flops / max(1, teacher.flops),
    }
    numbers = {"student": asdict(student), "teacher": asdict(teacher), "ratio": ratios}
    found = f"{own}, {ratios['parameters']:.3g} and {ratios['flops']:.3g} times its teacher's"
    if max(ratios.values()) > 1:
        remedy = "choose a smaller --student, unless a larger one is meant"
        return Finding("capacity", "warning", f"{found}: it is larger than its teacher", remedy, numbers)
    return Finding("capacity", "ok", found, "", numbers)


@dataclass(frozen=True)
class Duration:
    """How long a run takes.

    Attributes:
        steps: of the whole run.
        step_seconds: of a step, measured.
        timed_steps: how many were.
        measuring_seconds: that it takes to measure the student after every epoch and at the end, estimated from a few
            hundred images.
    """

    steps: int
    step_seconds: float
    timed_steps: int
    measuring_seconds: float

    @property
    def seconds(self) -> float:
        """Of the run, from the first step to the last measurement."""
        return self.steps * self.step_seconds + self.measuring_seconds


def duration(config: RunConfig, material: RunContext, first: FirstSteps) -> Duration:
    """Take a few steps and measure a few images, by the clock."""
    step_seconds, timed = first.step_seconds()
    epochs, test = config.training.epochs, material.dataset.test
    measured = epochs * len(material.held_out) + len(material.held_out) + (0 if test is None else len(test))
    some = material.train.images[:IMAGES_PER_MEASUREMENT]
    student = first.seat.pupil.student
    started = time.perf_counter()
    network_logits(student, material.dataset.normalization, some)
    per_image = (time.perf_counter() - started) / len(some)
    steps = epochs * steps_in_epoch(len(material.positions), config.training.batch_size)
    return Duration(steps, step_seconds, timed, measured * per_image)


def time_finding(found: Duration, batch_size: int, without_bank: bool) -> Finding:
    """How long the run will take."""
    numbers = {**asdict(found), "seconds": found.seconds, "images_per_second": batch_size / found.step_seconds}
    rate = (
        f"{found.steps:,} steps of {1000 * found.step_seconds:.3g} ms ({batch_size / found.step_seconds:,.0f} images/s)"
    )
    sentence = f"about {in_words(found.seconds)}: {rate}, measured over {found.timed_steps} uncompiled steps"
    if without_bank:
        sentence += ", the teacher asked each time, as before a cache is filled"
    return Finding("time", "ok", sentence, "", numbers)


def in_words(seconds: float) -> str:
    """A duration for people."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Memory:
    """What a run holds on its device at a time, in bytes.

    Attributes:
        images: of the training set and its labels.
        student: weights, gradients, momentum and statistics.
        teacher: its networks, as they came and as they were made fast.
        activations: kept of a batch for the student's backward pass.
        peak: measured on a GPU while steps were taken; None on a CPU, where it cannot be told from all else.
        available: free now; None where the system does not tell.
    """

    images: int
    student: int
    teacher: int
    activations: int
    peak: int | None
    available: int | None

    @property
    def bytes(self) -> int:
        """The measured peak, or else the sum of the parts."""
        return self.images + self.student + self.teacher + self.activations if self.peak is None else self.peak


def memory(config: RunConfig, material: RunContext, peak: int | None) -> Memory:
    """Count what is held; the activations by what a forward pass of one batch keeps for its backward pass."""
    train, device = material.train, material.train.images.device
    networks = () if material.teacher is None else material.teacher.networks
    student = deepcopy(material.student).to(device)
    own = COPIES_OF_A_WEIGHT * _bytes(list(student.parameters())) + _bytes(list(student.buffers()))
    theirs = sum(_bytes([*net.network.parameters(), *net.network.buffers()]) for net in networks)
    batch = train.images[material.positions[: config.training.batch_size].to(device)]
    kept = kept_activations(student, material.dataset.normalization(batch))
    return Memory(_bytes([train.images, train.labels]), own, 2 * theirs, kept, peak, available_bytes(device))


def memory_finding(found: Memory) -> Finding:
    """How much memory the run takes, and whether there is so much."""
    numbers = {**asdict(found), "bytes": found.bytes}
    how = (
        "measured" if found.peak is not None else "estimated from images, weights and activations; Python comes on top"
    )
    sentence = f"about {_mib(found.bytes)} ({how})"
    if found.available is None:
        return Finding("memory", "ok", sentence, "", numbers)
    sentence += f", {_mib(found.available)} are free"
    to_come = found.student + found.activations if found.peak is None else 0  # all else is held already
    if to_come > found.available:
        remedy = "lower --batch-size, take a smaller student, or make room"
        return Finding("memory", "problem", sentence, remedy, numbers)
    return Finding("memory", "ok", sentence, "", numbers)


def kept_activations(student: nn.Module, images: Tensor) -> int:
    """Bytes that a forward pass in training mode keeps for its backward pass, weights not counted."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in student.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = student.train()(to_memory_format(images))
    del outputs
    return sum(kept.values())


def available_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device; on a CPU what the system and the limit of this group of processes leave."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min((known for known in (_of_system(), _of_group()) if known is not None), default=None)


def _of_system(table: Path = Path("/proc/meminfo")) -> int | None:
    if not table.is_file():
        return None
    found = [line.split() for line in table.read_text().splitlines() if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def _of_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    limit, used = folder / "memory.max", folder / "memory.current"
    if not (limit.is_file() and used.is_file()) or limit.read_text().strip() == "max":
        return None
    return int(limit.read_text()) - int(used.read_text())


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.{0 if count > 10 * 2**20 else 1}f} MiB"
