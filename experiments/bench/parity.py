"""One process against several: how far weights, losses and a loss's own state are apart after the same training.

    python -m experiments.bench.parity

In float64 what remains is rounding, which training magnifies; a loss that saw less than its batch would differ far
more. In float32 the same is shown for what users run, beside what rounding alone does to one process: its first
weights are moved by it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from experiments.bench.common import RESULTS, table, write_json
from preceptor.data import CropFlip
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.run import versions
from preceptor.selections import RankedSelection
from preceptor.teachers import NetworkTeacher
from preceptor.training import EpochRecords, Student, Trainer, TrainingConfig, TrainingData
from preceptor.training.distributed import process_group, rank

RECIPES = ("kd", "lr-ds", "cmkd", "dist", "at", "self-adaptive", "precise-abstain-b", "dkd", "sp", "crd-kd", "ctkd")
NORMS = ("batch", "group")
PRECISIONS = ("float64", "float32")
PROCESSES = (2, 4)
DRAWS = 4
"""Of weights moved by rounding."""
SAMPLES, CLASSES, EPOCHS, BATCH_SIZE = 75, 10, 2, 16
"""The last batch of 75 samples has 11: processes with two and with three of them."""

MOVED = "moved"
"""Where others have a number of processes: one, with its weights moved."""

Norm = Literal["batch", "group"]
Tensors = dict[str, Tensor]


class Network(nn.Module):
    """A small ResNet of any precision, that takes uint8 images.

    Args:
        name: of the architecture.
        outputs: of the last layer.
        norm: of its layers; "group" in eight groups.
        dtype: of its weights.
        seed: of its weights.
    """

    def __init__(self, name: str, outputs: int, norm: Norm, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self.body = seeded_model(name, channels=3, classes=outputs, seed=seed)
        if norm == "group":
            _replace_batch_norms(self.body)
        self.body.to(dtype)
        self.feature_layers = tuple(f"body.{layer}" for layer in getattr(self.body, "feature_layers", ()))
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.body(images.to(self.dtype) / 127.5 - 1)
        return logits


def _replace_batch_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(8, child.num_features))
        else:
            _replace_batch_norms(child)


def trained(
    recipe: str, norm: Norm, precision: str, *, shard: bool = False, moved: int | None = None, **training: Any
) -> tuple[Tensors, Tensors]:
    """Weights and buffers of the student, and losses and the loss's state, after a short training in this group.

    Args:
        recipe: of the loss.
        norm: of the student.
        precision: of the student and the loss.
        shard: whether the student is divided among the processes.
        moved: seed of a rounding by which the student's first weights are moved; None leaves them.
        training: settings other than these.
    """
    dtype = getattr(torch, precision)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (SAMPLES, 3, 16, 16), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    loss = DistillationLoss.from_recipe(recipe)
    if isinstance(loss.selection, RankedSelection):
        loss.selection.set_scores(torch.arange(SAMPLES), torch.arange(SAMPLES).float(), SAMPLES)
    network = Network("resnet8", CLASSES + loss.abstains, norm, dtype, seed=1)
    if moved is not None:
        draw = torch.Generator().manual_seed(moved)
        with torch.no_grad():
            for weight in network.parameters():
                weight *= 1 + torch.finfo(dtype).eps / 2 * torch.randn(weight.shape, generator=draw, dtype=dtype)
    teacher = NetworkTeacher(Network("resnet14", CLASSES, norm, dtype, seed=2), None) if loss.uses_teacher else None
    config = TrainingConfig(**{"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": 0.01, **training})
    data, records = TrainingData(images, labels, augmentation=CropFlip(2, flip=True)), EpochRecords()
    trainer = Trainer(
        [Student(recipe, network, loss)], teacher, data, config, [records], seed=3, precision="fp32", shard=shard
    )
    loss.to(dtype)  # adapters too, which the trainer has built
    trainer.fit()
    losses = {"losses": torch.tensor([record.total for (record,) in records.epochs], dtype=torch.float64)}
    return network.state_dict(), {**losses, **loss.state_dict()}


def furthest(one: Tensors, other: Tensors) -> float:
    """The largest absolute difference of two sets of tensors, of their largest value where that is above 1."""
    apart = 0.0
    for name, tensor in one.items():
        if tensor.numel():
            size = max(1.0, float(tensor.double().abs().max()))
            apart = max(apart, float((tensor.double() - other[name].double()).abs().max()) / size)
    return apart


def in_processes(count: int, cases: Sequence[Sequence[str]], folder: Path) -> list[tuple[Tensors, Tensors]]:
    """What :func:`trained` returns for each case, by so many processes that torchrun starts."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--log-dir", str(folder)]
    arguments = [",".join(case) for case in cases]
    subprocess.run([*command, "-m", "experiments.bench.parity", str(folder), *arguments], check=True)
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(len(cases))]


def work(folder: Path, cases: Sequence[str]) -> None:
    """One process of several: train every case, and keep what the first process ends with."""
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        for number, case in enumerate(cases):
            recipe, norm, precision, *settings = case.split(",")
            training = {name: float(value) for name, _, value in (one.partition("=") for one in settings)}
            result = trained(recipe, norm, precision, **training)  # type: ignore[arg-type] # of NORMS
            if rank() == 0:
                torch.save(result, folder / f"{number}.pt")


def markdown(content: dict[str, Any]) -> str:
    """A row a recipe and norm, a column a precision and number of processes."""
    columns = {f"{one}, {count} processes": (one, str(count)) for one in PRECISIONS for count in PROCESSES}
    columns["float32, one process, weights moved"] = ("float32", MOVED)
    rows = [
        [recipe, norm, *(f"{content['apart'][one][other][recipe][norm]:.0e}" for one, other in columns.values())]
        for recipe in RECIPES
        for norm in NORMS
    ]
    notes = (
        f"Largest difference between what one process and several end with, of weights, running statistics, losses and "
        f"the loss's own state, after {EPOCHS} epochs of {SAMPLES} samples in batches of {BATCH_SIZE}; of the largest "
        "value where that is above 1. Weights moved: the first ones by a rounding, the furthest of "
        f"{DRAWS} draws. Made by `python -m experiments.bench.parity` "
        f"({content['versions']['machine']}, torch {content['versions']['torch']})."
    )
    return f"{table(['recipe', 'norm', *columns], rows, names=2)}\n\n{notes}"


def main() -> None:
    """Compare all, and write the result file."""
    cases = [(recipe, norm, precision) for precision in PRECISIONS for recipe in RECIPES for norm in NORMS]
    alone = [trained(*case) for case in cases]  # type: ignore[arg-type] # of NORMS
    apart: dict[str, Any] = {precision: {str(count): {} for count in PROCESSES} for precision in PRECISIONS}
    for count in PROCESSES:
        with tempfile.TemporaryDirectory() as folder:
            together = in_processes(count, cases, Path(folder))
        for (recipe, norm, precision), one, other in zip(cases, alone, together, strict=True):
            worst = max(furthest(*pair) for pair in zip(one, other, strict=True))
            apart[precision][str(count)].setdefault(recipe, {})[norm] = worst
    apart["float32"][MOVED] = {recipe: {} for recipe in RECIPES}
    for (recipe, norm, precision), one in zip(cases, alone, strict=True):
        if precision == "float32":
            others = [trained(recipe, norm, precision, moved=draw) for draw in range(DRAWS)]  # type: ignore[arg-type]
            worst = max(furthest(*pair) for other in others for pair in zip(one, other, strict=True))
            apart["float32"][MOVED][recipe][norm] = worst
    content = {"apart": apart, "versions": versions()}
    write_json(content, RESULTS / "parity.json")
    print(markdown(content))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(Path(sys.argv[1]), sys.argv[2:])
    else:
        main()
