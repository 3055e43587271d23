"""Students of a cache against students of the same teacher live in fp32, on Fashion-MNIST.

One teacher, several seeds; under each, students of several recipes learn the same images four times: from the live
teacher, all in fp32; from a cache of the optimized teacher, with teacher and students in fp32 and in bf16; and live in
fp32 from initial weights that differ in the last bit, which shows the effect of any change in rounding. Then the losses
of single steps from the same weights, without training in between. ``--quick`` prints the tables of a very short run
and writes nothing.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from experiments.bench.common import RESULTS, table, write_json
from experiments.speed.machine import Machine, this_machine
from experiments.training import new_student, train
from preceptor import DistillationLoss
from preceptor.compare.parallel import Counter, run_seeds
from preceptor.context import predicted_class
from preceptor.data import Dataset, load_dataset, subset
from preceptor.errors import PreceptorError
from preceptor.metrics import evaluate, paired_difference
from preceptor.metrics.logits import network_logits
from preceptor.models import seeded_model
from preceptor.models.layout import to_memory_format
from preceptor.run.folder import fingerprint
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.teachers.optimize import bf16_unsupported_reason
from preceptor.training import Batch, Student, TrainingConfig, TrainingData
from preceptor.training.device import deterministic

RECIPES = ("kd", "lr")
LIVE, NUDGED = "live, fp32", "live, fp32, the last bit of the first weights moved"
CACHES = {"cache, fp32": False, "cache, bf16": True}
TEACHER_SEED = 2**20
RESULT = RESULTS / "cached_against_live.json"


@dataclass(frozen=True)
class Settings:
    """Sizes and lengths; students and teacher see the views of the data set, crop with padding 4 and flip."""

    data: str = "fashion-mnist"
    teacher: str = "convnet32"
    student: str = "convnet16"
    teacher_images: int = 20_000
    teacher_epochs: int = 4
    training_images: int = 4000
    epochs: int = 8
    seeds: tuple[int, ...] = tuple(range(4))


QUICK = Settings(teacher_images=1000, teacher_epochs=1, training_images=300, epochs=2, seeds=(0, 1))


@dataclass(frozen=True)
class Experiment:
    """What the seeds share; the teacher's weights are in a file."""

    settings: Settings
    weights: Path

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.settings.data)

    @cached_property
    def pool(self) -> Tensor:
        """The teacher's training images, from which the students' are drawn."""
        return subset(self.dataset.train.labels, self.settings.teacher_images, 0)

    def __call__(self, seed: int, counter: Counter) -> dict[str, dict[str, float]]:
        """Accuracy on the test set after the last epoch, by recipe and source of the teacher's outputs."""
        ways = {
            LIVE: self.train_students(seed, self.live(), counter, precision="fp32", compile="never"),
            NUDGED: self.train_students(seed, self.live(), counter, nudged=True, precision="fp32", compile="never"),
        }
        for way, bf16 in CACHES.items():
            with self.cache(self.fast(bf16)) as cache:
                ways[way] = self.train_students(seed, cache, counter, precision="bf16" if bf16 else "fp32")
        print(f"seed {seed} is done", flush=True)
        return {name: {way: ways[way][name] for way in (LIVE, *CACHES, NUDGED)} for name in RECIPES}

    def train_students(
        self, seed: int, teacher: NetworkTeacher | LogitCache, counter: Counter, nudged: bool = False, **options: Any
    ) -> dict[str, float]:
        students = [self.student(name, self.settings.student, seed) for name in RECIPES]
        for student in students if nudged else ():
            nudge(student.network)
        options |= {"teacher": teacher, "callbacks": [counter], "seed": seed}
        self.fit(students, self.training_images(seed), self.settings.epochs, **options)
        return {student.name: self.accuracy(student.network) for student in students}

    def train_teacher(self) -> float:
        """Write its weights; its accuracy."""
        teacher = self.student("none", self.settings.teacher, TEACHER_SEED)
        self.fit([teacher], self.pool, self.settings.teacher_epochs, seed=TEACHER_SEED, precision="fp32")
        save_file(teacher.network.state_dict(), self.weights)
        return self.accuracy(teacher.network)

    def fit(self, students: list[Student], index: Tensor, length: int, **options: Any) -> None:
        data, config = self.dataset, TrainingConfig(epochs=length)
        with deterministic():
            train(students, data.train, index, data.augmentation, data.normalization, config, **options)

    def training_images(self, seed: int) -> Tensor:
        return self.pool[subset(self.dataset.train.labels[self.pool], self.settings.training_images, seed)]

    def student(self, recipe_name: str, name: str, seed: int) -> Student:
        data = self.dataset
        return new_student(recipe_name, name, channels=data.channels, classes=data.classes, seed=seed)

    def network(self, name: str, seed: int) -> nn.Module:
        return seeded_model(name, channels=self.dataset.channels, classes=self.dataset.classes, seed=seed)

    def accuracy(self, network: nn.Module) -> float:
        test = self.dataset.test
        assert test is not None, "Fashion-MNIST has a test set"
        return evaluate(network_logits(network, self.dataset.normalization, test.images), test.labels).accuracy

    def live(self) -> NetworkTeacher:
        network = self.network(self.settings.teacher, TEACHER_SEED)
        network.load_state_dict(load_file(self.weights))
        return NetworkTeacher(network, self.dataset.normalization, classes=self.dataset.classes)

    def fast(self, bf16: bool) -> NetworkTeacher:
        return self.live().optimize_for_inference(bf16=bf16, image_size=self.dataset.size)

    @contextmanager
    def cache(self, live: NetworkTeacher) -> Iterator[LogitCache]:
        """A cache that fills in training."""
        data, augmentation = self.dataset, self.dataset.augmentation
        layout = Layout(samples=len(data.train), views=augmentation.count, classes=data.classes)
        weights, images = fingerprint(load_file(self.weights)), fingerprint({"images": data.train.images})
        precision = "bf16" if live.report is not None and live.report.bf16 else "fp32"
        key = CacheKey.of(weights, images, data.normalization, augmentation, data.class_names, precision)
        with (
            tempfile.TemporaryDirectory(prefix="preceptor-cache-") as folder,
            open_cache(Path(folder) / "cache", key, layout, live) as cache,
        ):
            yield cache

    def steps(self) -> dict[str, Any]:
        """Losses of a student over an epoch live in fp32, and those by other teachers at the same weights."""
        with (
            self.cache(self.live()) as plain,
            self.cache(self.fast(False)) as fast,
            self.cache(self.fast(True)) as bf16,
        ):
            caches = {"fp16 entries": plain, "and teacher folded": fast, "and teacher in bf16": bf16}
            return self.losses_by({LIVE: self.live(), **caches})

    def losses_by(self, teachers: dict[str, NetworkTeacher | LogitCache]) -> dict[str, Any]:
        data, seed = self.dataset, self.settings.seeds[0]
        student, distillation_losses = (
            self.network(self.settings.student, seed),
            {name: DistillationLoss.from_recipe(name) for name in RECIPES},
        )
        optimizer, training_images = TrainingConfig().build_optimizer([student]), self.training_images(seed)
        values: dict[str, dict[str, list[float]]] = {name: {} for name in RECIPES}
        otherwise = dict.fromkeys(teachers, 0)
        training_data = TrainingData.of_images(data.train, training_images, data.augmentation)
        for batch in training_data.batches(training_data.plan(batch_size=64, seed=seed, epoch=0)):
            images = to_memory_format(data.normalization(batch.inputs))
            logits = {
                case: teacher.outputs(batch.inputs, batch.own_index, batch.view).logits
                for case, teacher in teachers.items()
            }
            losses = losses_of(distillation_losses, student, images, batch, logits)
            optimizer.zero_grad()
            losses[RECIPES[0]][LIVE].backward()
            optimizer.step()
            for name, case in product(RECIPES, losses[RECIPES[0]]):
                values[name].setdefault(case, []).append(float(losses[name][case].detach()))
            for case, one in logits.items():
                otherwise[case] += int((predicted_class(one) != predicted_class(logits[LIVE])).sum())
        losses_apart = {name: {case: apart(each[case], each[LIVE]) for case in each} for name, each in values.items()}
        shares = {case: number / len(training_images) for case, number in otherwise.items()}
        return {"losses": losses_apart, "share_predicted_otherwise": shares}


def losses_of(
    losses: dict[str, DistillationLoss], student: nn.Module, images: Tensor, batch: Batch, teacher: dict[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """By recipe and case; the last case is everything in bf16."""
    logits = student(images)
    cases = {case: (logits, one) for case, one in teacher.items()}
    cases["and student in bf16"] = in_bf16(student, images), teacher["and teacher in bf16"]
    return {
        name: {case: loss(*pair, batch.label, index=batch.index).total for case, pair in cases.items()}
        for name, loss in losses.items()
    }


@torch.no_grad()
def in_bf16(student: nn.Module, images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return Tensor.float(student(images))


@torch.no_grad()
def nudge(network: nn.Module) -> None:
    """Move every weight to the next float32."""
    for weight in network.parameters():
        weight.copy_(weight.nextafter(torch.tensor(torch.inf)))


def apart(values: list[float], others: list[float]) -> dict[str, float]:
    off = [abs(value - other) for value, other in zip(values, others, strict=True)]
    return {"mean_loss": fmean(values), "mean_difference": fmean(off), "largest_difference": max(off)}


def compared(by_seed: list[dict[str, float]]) -> dict[str, Any]:
    accuracy = {way: [seed[way] for seed in by_seed] for way in by_seed[0]}
    deviation = stdev(accuracy[LIVE])
    differences = {way: asdict(paired_difference(accuracy[way], accuracy[LIVE])) for way in (*CACHES, NUDGED)}
    return {
        "accuracy": accuracy,
        "deviation_over_seeds": deviation,
        "difference_to_live": differences,
        "less_than_the_deviation": {way: abs(differences[way]["mean"]) < deviation for way in CACHES},
    }


def measure(settings: Settings, weights: Path) -> dict[str, Any]:
    started, experiment = time.perf_counter(), Experiment(settings, weights)
    teacher = experiment.train_teacher()
    print(f"the teacher is right on {teacher:.1%}", flush=True)
    by_seed = run_seeds(Experiment(settings, weights), settings.seeds, lambda images: None)
    return {
        "machine": this_machine(torch.device("cpu")).model_dump(mode="json"),
        "settings": asdict(settings) | {"views": experiment.dataset.augmentation.count},
        "default_precision": "fp32" if bf16_unsupported_reason(torch.device("cpu")) else "bf16",
        "teacher_accuracy": teacher,
        "students": {name: compared([seed[name] for seed in by_seed]) for name in RECIPES},
        "single_steps": experiment.steps(),
        "seconds": time.perf_counter() - started,
    }


def markdown(content: dict[str, Any]) -> str:
    """The result file as two tables."""
    accuracies, steps = _accuracy_table(content["students"]), _step_table(content["single_steps"]["losses"])
    settings, machine = content["settings"], Machine.model_validate(content["machine"])
    made = (
        f"{settings['teacher']} teaches {settings['student']} {settings['training_images']:,} images of "
        f"{settings['data']} for {settings['epochs']} epochs in {settings['views']} views; "
        f"last epoch, {len(settings['seeds'])} seeds, one teacher. "
        f"The default precision here is {content['default_precision']}. Made by "
        f"`python -m experiments.bench.cached_against_live` ({machine})."
    )
    return f"{accuracies}\n\n{steps}\n\n{made}"


def _accuracy_table(students: dict[str, Any]) -> str:
    rows = [
        [name, way, _points(values), _interval(measured["difference_to_live"].get(way))]
        for name, measured in students.items()
        for way, values in measured["accuracy"].items()
    ]
    return table(["recipe", "taught", "accuracy", "points against live, fp32 (95 % interval)"], rows, names=2)


def _step_table(losses: dict[str, Any]) -> str:
    rows = [
        [name, case, f"{each['mean_loss']:.4f}", f"{each['mean_difference']:.1e}", f"{each['largest_difference']:.1e}"]
        for name, cases in losses.items()
        for case, each in cases.items()
    ]
    heading = ["recipe", "teacher and student", "mean loss", "mean difference", "largest difference"]
    return table(heading, rows, names=2)


def _points(values: list[float]) -> str:
    return f"{fmean(values):.2%} ± {stdev(values):.2%}"


def _interval(difference: dict[str, float] | None) -> str:
    points = {key: 100 * value for key, value in (difference or {}).items()}
    return "{mean:+.2f} ({low:+.2f} to {high:+.2f})".format(**points) if difference else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a very short run; writes nothing")
    quick = parser.parse_args().quick
    try:
        with tempfile.TemporaryDirectory(prefix="preceptor-teacher-") as folder:
            result = measure(QUICK if quick else Settings(), Path(folder) / "teacher.safetensors")
    except PreceptorError as error:
        sys.exit(f"error: {error}")
    print(markdown(result))
    if not quick:
        write_json(result, RESULT)
