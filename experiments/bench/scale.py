"""Training by one and by two processes, against what the model of ``scale_model.py`` says of it.

    python -m experiments.bench.scale

The model's rates are measured part by part (a forward pass, a step of the optimizer, one exchange), each in as many
processes at once as train; then whole steps are timed. Nothing else should run on the machine.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from experiments.bench.common import RESULTS, table, write_json
from experiments.bench.scale_model import FORWARD_AND_BACKWARD, Rates, Work, step_seconds
from preceptor.data import CropFlip, Normalization
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.models.features import ImageModel
from preceptor.run import versions
from preceptor.teachers import NetworkTeacher
from preceptor.training import Callback, Step, Student, Trainer, TrainingConfig, TrainingData
from preceptor.training.batch_norm import synchronized_batch_norms
from preceptor.training.compile import forward_flops
from preceptor.training.distributed import of_every_process, process_group, rank, world_size

PROCESSES = (1, 2)
STEPS, WARM = 12, 3
SIDE = 32
NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)
LARGE = 2**22
"""Numbers sent to find the bandwidth."""


@dataclass(frozen=True)
class Case:
    """A student, its live teacher or none, at a batch size of all processes together."""

    student: str
    teacher: str | None
    batch: int
    classes: int = 100

    @property
    def name(self) -> str:
        """In the table."""
        taught = f"under {self.teacher}" if self.teacher else "without a live teacher"
        return f"{self.student} {taught}, batch {self.batch}, {self.classes} classes"


CASES = (
    Case("resnet20", "resnet56", 128),
    Case("resnet20", None, 128),
    Case("resnet8x4", "resnet32x4", 64),
    Case("resnet8x4", None, 128),
    Case("resnet8", "resnet20", 256, 1000),
)


def network(name: str, classes: int) -> nn.Module:
    """With random weights."""
    return seeded_model(name, channels=3, classes=classes, seed=0)


def images(count: int) -> Tensor:
    """Random ones."""
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8)


def seconds_of(work: Callable[[], object], times: int = 15) -> float:
    """The median of some calls after a first, while every process does the same."""
    taken = []
    for number in range(times + 1):
        if world_size() > 1:
            dist.barrier()
        started = time.perf_counter()
        work()
        if number:
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def work_of(case: Case) -> Work:
    """Its counts."""
    student = network(case.student, case.classes)
    inputs = torch.zeros(2, 3, SIDE, SIDE)
    teacher = 0 if case.teacher is None else forward_flops(network(case.teacher, case.classes), inputs) / 2
    norms = [module for module in student.modules() if isinstance(module, nn.BatchNorm2d)]
    sizes: list[int] = []
    for norm in norms:
        norm.register_forward_hook(lambda _, __, output: sizes.append(output[0].numel()))
    student(inputs)
    parameters = sum(parameter.numel() for parameter in student.parameters())
    flops = forward_flops(student, inputs) / 2
    return Work(case.batch, case.classes, flops, teacher, parameters, len(norms), sum(sizes))


def rates_of(case: Case, work: Work) -> Rates:
    """Measured part by part, on as many rows as a process has."""
    own = case.batch // world_size()
    student = ImageModel(network(case.student, case.classes), NORMALIZATION)
    batch, label = images(own), torch.randint(0, case.classes, (case.batch,))

    def learn() -> None:
        student(batch).sum().backward()

    optimizer = TrainingConfig().build_optimizer([student])
    learning = seconds_of(learn)
    teaching = 1.0
    if case.teacher is not None:
        teacher = NetworkTeacher(network(case.teacher, case.classes), NORMALIZATION)
        teaching = seconds_of(lambda: teacher(batch))
    logits = torch.randn(case.batch, case.classes, requires_grad=True)
    loss = _loss(case)
    teacher_logits = None if case.teacher is None else torch.randn(case.batch, case.classes)
    losing = seconds_of(lambda: loss(logits, teacher_logits, label).total.backward())
    data = TrainingData(images(case.batch), label, augmentation=CropFlip(4, flip=True))
    reading = seconds_of(lambda: list(data.batches(data.plan(case.batch, 0, 0))))
    latency, bandwidth, synchronize, normalize = 1.0, 1.0, 1.0, 1.0
    if world_size() > 1:
        synchronize, normalize = synchronizing(own)
        small, large = torch.zeros(256), torch.zeros(LARGE)
        latency = seconds_of(lambda: [of_every_process(small) for _ in range(20)]) / 20
        bandwidth = 4.0 * LARGE / (seconds_of(lambda: dist.all_reduce(large)) - latency)  # 2 (P - 1) / P of it is sent
    return Rates(
        student=own * FORWARD_AND_BACKWARD * work.student_flops / learning,
        teacher=own * work.teacher_flops / teaching if case.teacher else 1.0,
        update=work.parameters / seconds_of(optimizer.step),
        loss=case.batch * case.classes / losing,
        read=own / reading,
        latency=latency,
        synchronize=synchronize,
        normalize=normalize,
        bandwidth=bandwidth,
    )


def synchronizing(rows: int) -> tuple[float, float]:
    """Seconds that synchronizing adds to a small batch norm, and numbers a second of what it adds to a large one."""
    layers, channels = 10, 16
    added = []
    for side in (1, SIDE):
        norms = nn.Sequential(*(nn.BatchNorm2d(channels) for _ in range(layers)))
        maps = torch.randn(rows, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()

        def learn(norms: nn.Module = norms, maps: Tensor = maps) -> None:
            norms(maps).sum().backward()

        plain = seconds_of(learn)
        with synchronized_batch_norms([norms]):
            added.append((seconds_of(learn) - plain) / layers)
    return added[0], rows * channels * (SIDE**2 - 1) / (added[1] - added[0])


def _loss(case: Case) -> DistillationLoss:
    return DistillationLoss.from_recipe("none" if case.teacher is None else "kd")


class Clock(Callback):
    """Notes when every step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        self.ends.append(time.perf_counter())


def trained_seconds(case: Case) -> float:
    """The median of whole steps of the trainer."""
    clock, count = Clock(), case.batch * STEPS
    labels = torch.randint(0, case.classes, (count,))
    data = TrainingData(images(count), labels, augmentation=CropFlip(4, flip=True))
    student = Student("student", ImageModel(network(case.student, case.classes), NORMALIZATION), _loss(case))
    teacher = case.teacher and NetworkTeacher(network(case.teacher, case.classes), NORMALIZATION)
    config = TrainingConfig(epochs=1, batch_size=case.batch)
    Trainer([student], teacher or None, data, config, [clock], precision="fp32", compile="never").fit()
    ends = clock.ends[WARM:]
    return statistics.median(after - before for before, after in pairwise(ends))


def measure(folder: Path) -> None:
    """One process of several: every case, part by part and as a whole."""
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        count, rows = world_size(), []
        for case in CASES:
            work = work_of(case)
            rates = rates_of(case, work)
            parts = step_seconds(work, rates, count)
            rows.append({"case": case.name, "measured": trained_seconds(case), "parts": parts, "rates": asdict(rates)})
        if rank() == 0:
            write_json({"cases": rows}, folder / f"{count}.json")


def markdown(content: dict[str, Any]) -> str:
    """A row a case."""
    heading = ["training", "processes", "measured, ms a step", "model", "model / measured", "times as fast as one"]
    rows = []
    for name, by_count in content["cases"].items():
        for count, one in by_count.items():
            measured, said = one["measured"], one["parts"]["total"]
            gain = by_count["1"]["measured"] / measured
            cells = [f"{1e3 * measured:.0f}", f"{1e3 * said:.0f}", f"{said / measured:.2f}", f"{gain:.2f}"]
            rows.append([name, count, *cells])
    notes = (
        f"Images of {SIDE} pixels, fp32, one thread a process; the batch is that of all processes together. Made by "
        f"`python -m experiments.bench.scale` ({content['versions']['machine']}, torch {content['versions']['torch']})."
    )
    return f"{table(heading, rows, names=2)}\n\n{notes}"


@dataclass(frozen=True)
class Plan:
    """A training that nobody has run.

    Attributes:
        name: of the data.
        images: in it.
        classes: of it.
        gpus: one a process.
        cached: whether the teacher's outputs are.
    """

    name: str
    images: int
    classes: int
    gpus: int
    cached: bool


PLANS = (
    Plan("ImageNet-1k", 1_281_167, 1000, 8, cached=False),
    Plan("ImageNet-1k", 1_281_167, 1000, 8, cached=True),
    Plan("ImageNet-1k", 1_281_167, 1000, 64, cached=True),
    Plan("ImageNet-21k", 14_197_122, 21_841, 64, cached=True),
    Plan("a billion images", 10**9, 1000, 64, cached=True),
)
ROWS_A_GPU, CORES_A_GPU = 128, 12
KIB_AN_IMAGE = 110
RESNET18, RESNET34 = 3.6e9, 7.3e9
"""Operations of a forward pass on an image of 224 pixels."""
PARAMETERS, NORMS, NORMALIZED = 11_700_000, 20, 2_500_000
"""Of the student, ResNet-18; the teacher is ResNet-34."""
READ_A_CORE = 200.0
"""Photographs that Pillow decodes a second; results/bench/photographs.json has 285 of 61 KiB."""
GPU = Rates(
    student=7e13,
    teacher=1.4e14,
    update=1e10,
    loss=2e9,
    read=CORES_A_GPU * READ_A_CORE,
    latency=5e-5,
    synchronize=1e-4,
    normalize=2e11,
    bandwidth=1e10,
)
"""Assumed, none was measured: a tenth to a fifth of what large GPUs compute in bf16, links of 10 GB/s."""


def predicted() -> list[dict[str, Any]]:
    """What the model says of each plan."""
    rows = []
    for plan in PLANS:
        teacher = 0 if plan.cached else RESNET34
        work = Work(ROWS_A_GPU * plan.gpus, plan.classes, RESNET18, teacher, PARAMETERS, NORMS, NORMALIZED)
        parts = step_seconds(work, GPU, plan.gpus)
        rate = work.batch / parts["total"]
        largest = max(("reading", "teacher", "student", "loss", "communication"), key=lambda name: parts[name])
        rows.append({"plan": asdict(plan), "parts": parts, "images_a_second": rate, "largest": largest})
    return rows


def predictions(content: dict[str, Any]) -> str:
    """A row a plan."""
    heading = ["data", "GPUs", "teacher", "images a second", "most of a step", "minutes an epoch", "read, GB a second"]
    rows = []
    for one in content["predictions"]:
        plan, rate = one["plan"], one["images_a_second"]
        minutes = plan["images"] / rate / 60
        cells = ["cached" if plan["cached"] else "live", f"{rate:,.0f}", one["largest"]]
        read = rate * KIB_AN_IMAGE * 1024 / 1e9
        rows.append([plan["name"], str(plan["gpus"]), *cells, f"{minutes:.3g}", f"{read:.1f}"])
    rates = content["assumed"]
    notes = (
        f"ResNet-18 under ResNet-34 at 224 pixels, {ROWS_A_GPU} images a GPU and step. Assumed, not measured: "
        f"{rates['student']:.0e} operations a second of a GPU in training and {rates['teacher']:.0e} in the teacher, "
        f"{CORES_A_GPU} cores a GPU that decode {READ_A_CORE:.0f} photographs a second each, links of "
        f"{rates['bandwidth'] / 1e9:.0f} GB a second, photographs of {KIB_AN_IMAGE} KiB."
    )
    return f"{table(heading, rows, names=1)}\n\n{notes}"


def main() -> None:
    """Measure one process and two, and write the result file."""
    cases: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in PROCESSES:
            launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
            subprocess.run([*launcher, "-m", "experiments.bench.scale", folder], check=True)

            for row in json.loads((Path(folder) / f"{count}.json").read_text())["cases"]:
                cases.setdefault(row.pop("case"), {})[str(count)] = row
    content = {"cases": cases, "predictions": predicted(), "assumed": asdict(GPU), "versions": versions()}
    write_json(content, RESULTS / "scale.json")
    print(f"{markdown(content)}\n\n{predictions(content)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        main()
