"""The entry ``check``: on the GPU everything runs, agrees with the CPU, and resumes in the same bits."""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.speed.machine import this_machine
from experiments.training import new_student
from experiments.training import train as train_students
from preceptor.conformance.check import ComponentCase, forward_backward
from preceptor.data import CropFlip, ImageSet, Normalization
from preceptor.models import seeded_model
from preceptor.registry import components
from preceptor.run import resolve, resume, run
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import CacheKey, Layout, open_cache
from preceptor.training import Callback, Step, Student, Trainer, TrainingConfig, TrainingData
from preceptor.training.device import deterministic

CLASSES = 10
NORMALIZATION = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
AUGMENTATION = CropFlip(padding=4, flip=True)
IMAGES = 32 * 3 + 5
"""Three batches of 32, and a smaller one."""
CPU = torch.device("cpu")


def require(condition: object, message: str) -> None:
    """Fail a check."""
    if not condition:
        raise AssertionError(message)


def relative_difference(values: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected value; infinite where either is not finite."""
    values, expected = values.detach().double().cpu(), expected.detach().double().cpu()
    if not (values.isfinite().all() and expected.isfinite().all()):
        return float("inf")
    return float((values - expected).abs().amax() / expected.abs().amax().clamp(min=1e-6))


def random_images(device: torch.device, count: int = IMAGES) -> ImageSet:
    """Noise with labels, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels.to(device), torch.randint(CLASSES, (count,), generator=generator).to(device))


def untrained_teacher(device: torch.device) -> NetworkTeacher:
    """A teacher with random weights, the same on every device."""
    return NetworkTeacher(seeded_model("resnet8", channels=3, classes=CLASSES, seed=99), NORMALIZATION, device)


def train(recipe: str, device: torch.device, **options: Any) -> tuple[Student, float]:
    """A student after two short epochs, in fp32 and uncompiled by default, and its last loss."""
    student = new_student(recipe, "resnet8", channels=3, classes=CLASSES, seed=0)
    config = TrainingConfig(epochs=2, batch_size=32, learning_rate=0.01)
    options = {"teacher": untrained_teacher(device), "precision": "fp32", "compile": "never", **options}
    index = torch.arange(IMAGES)
    with deterministic():
        records = train_students(
            [student], random_images(device), index, AUGMENTATION, NORMALIZATION, config, **options
        )
    return student, records[-1][0].total


def compare_trainings(one: tuple[Student, float], other: tuple[Student, float], allowed: float) -> dict[str, float]:
    """The losses of two trainings must be alike; weights drift apart, so theirs are only reported."""
    weights = [
        torch.cat([p.detach().flatten().cpu() for p in student.network.parameters()]) for student, _ in (one, other)
    ]
    loss = abs(one[1] - other[1]) / abs(other[1])
    require(loss < allowed, f"losses {one[1]:.6g} and {other[1]:.6g} differ by {loss:.2g}")
    return {"loss": loss, "weights": relative_difference(*weights)}


@contextmanager
def no_synchronization(device: torch.device) -> Iterator[None]:
    """Within it, whatever makes the host wait for a GPU is an error."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def components_agree(device: torch.device) -> dict[str, Any]:
    """Every registered component has the CPU's loss and gradient, is finite in bf16 and never makes the host wait."""
    largest, broken = 0.0, []
    for info in components():
        case = ComponentCase(info, dict(getattr(info.cls, "conformance_options", {})))
        try:
            batch = case.plain_batch(samples=16)
            on_device = batch.to(str(device))
            expected, expected_gradient = forward_backward(case.loss(), batch)
            loss = case.loss().to(device)
            output, gradient = forward_backward(loss, on_device)
            difference = max(
                relative_difference(output.total, expected.total), relative_difference(gradient, expected_gradient)
            )
            require(difference < 1e-4, f"loss or gradient differs by {difference:.2g}")
            with no_synchronization(device):
                forward_backward(loss, on_device)
            with torch.autocast(device.type, torch.bfloat16):
                output, gradient = forward_backward(case.loss().to(device), on_device.cast(torch.bfloat16))
            require(output.total.isfinite() and gradient.isfinite().all(), "not finite under bf16 autocast")
            largest = max(largest, difference)
        except Exception as error:  # all components that break are named, not the first alone
            broken.append(f"{info.name}: {type(error).__name__}: {error}")
    require(not broken, "; ".join(broken))
    return {"largest_difference": largest}


def views_are_the_same_bits(device: torch.device) -> dict[str, Any]:
    """Every view of an image, and the batches of an epoch, are the CPU's bits."""
    on_device, on_cpu = (random_images(where, AUGMENTATION.count) for where in (device, CPU))
    views = torch.arange(AUGMENTATION.count)
    same = torch.equal(
        AUGMENTATION.apply(on_device.images, views.to(device)).cpu(), AUGMENTATION.apply(on_cpu.images, views)
    )
    require(same, "a view differs")
    data = [TrainingData.of_images(images, views, AUGMENTATION) for images in (on_device, on_cpu)]
    batches = (one.batches(one.plan(batch_size=64, seed=3, epoch=5)) for one in data)
    for one, other in zip(*batches, strict=True):
        for part in ("inputs", "label", "index", "view"):
            require(torch.equal(getattr(one, part).cpu(), getattr(other, part).cpu()), f"{part} of a batch differ")
    return {"views": AUGMENTATION.count}


def teacher_agrees(device: torch.device) -> dict[str, Any]:
    """A teacher has the CPU's logits; folded, in bf16 and compiled they change by rounding alone."""
    plain, images = untrained_teacher(device), random_images(device, 100).images
    differences = {"cpu": relative_difference(plain(images), untrained_teacher(CPU)(images.cpu()))}
    require(differences["cpu"] < 1e-3, f"logits differ from the CPU's by {differences['cpu']:.2g}")
    ways: dict[str, dict[str, Any]] = {"folded": {"bf16": False}, "bf16": {"bf16": True}}
    if device.type == "cuda":
        ways["compiled"] = {"compile": True, "batch_size": 64}
    for name, options in ways.items():
        differences[name] = relative_difference(plain.optimize_for_inference(**options)(images), plain(images))
        require(differences[name] < 0.05, f"{name}: logits differ by {differences[name]:.2g}")
    return differences


def cache_agrees(device: torch.device) -> dict[str, Any]:
    """A cache returns the live teacher's logits within rounding to fp16, and the same bits again."""
    images, index = random_images(device, 64).images, torch.arange(64)
    view = index * 5 % AUGMENTATION.count
    key = CacheKey.of("untrained", "random", NORMALIZATION, AUGMENTATION, [str(number) for number in range(CLASSES)])
    layout = Layout(samples=64, views=AUGMENTATION.count, classes=CLASSES)
    live = untrained_teacher(device)
    images = AUGMENTATION.apply(images, view.to(device))
    with tempfile.TemporaryDirectory() as folder, open_cache(Path(folder) / "cache", key, layout, live) as cache:
        first, again = (cache.outputs(images, index, view).logits for _ in range(2))
    require(first.device == images.device, f"the logits are on {first.device}")
    require(torch.equal(first, again), "a second lookup gave other bits")
    difference = relative_difference(first, live(images))
    require(difference < 2e-3, f"logits differ by {difference:.2g}")
    return {"logits": difference}


def training_agrees(device: torch.device) -> dict[str, Any]:
    """A short training in fp32 has the losses of the CPU, by recipes with and without a teacher."""
    return {name: compare_trainings(train(name, device), train(name, CPU), 0.02) for name in ("none", "kd", "cmkd")}


def faster_ways_agree(device: torch.device) -> dict[str, Any]:
    """Students in bf16 and as CUDA graphs learn what plain ones do."""
    plain = train("kd", device)
    ways: dict[str, dict[str, Any]] = {"bf16": {"precision": "bf16"}}
    if device.type == "cuda":
        ways |= {"graph": {"compile": "graph"}, "graph, bf16": {"compile": "graph", "precision": "bf16"}}
    return {name: compare_trainings(train("kd", device, **options), plain, 0.05) for name, options in ways.items()}


class _StopAfter(Callback):
    """Ends a run after so many steps, as a crash would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, trainer: Trainer, step: Step) -> None:
        self.steps -= 1
        if self.steps == 0:
            raise _Stopped


class _Stopped(Exception):
    pass


def resume_is_the_same_bits(device: torch.device) -> dict[str, Any]:
    """A run that was ended in the midst of an epoch and resumed has the weights of one that was not."""
    settings = {"data": "digits", "train_images": 200, "training": {"epochs": 2, "batch_size": 16}}
    settings |= {"device": device.type, "student": "resnet8", "recipe": "none"}
    with tempfile.TemporaryDirectory() as name:
        whole, ended = Path(name) / "whole", Path(name) / "ended"
        run(resolve(settings), whole)
        try:
            run(resolve(settings), ended, [_StopAfter(17)], checkpoint_seconds=0)
        except _Stopped:
            resume(ended)
        else:
            raise AssertionError("the run ended before it could be stopped")
        weights = [(folder / "student.safetensors").read_bytes() for folder in (whole, ended)]
    require(weights[0] == weights[1], "the weights differ")
    return {"same_bits": True}


CHECKS: Sequence[Callable[[torch.device], dict[str, Any]]] = (
    components_agree,
    views_are_the_same_bits,
    teacher_agrees,
    cache_agrees,
    training_agrees,
    faster_ways_agree,
    resume_is_the_same_bits,
)


def run_check(check: Callable[[torch.device], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """The outcome of a check; a failure is recorded with its traceback and stops no other check."""
    started = time.monotonic()
    outcome: dict[str, Any] = {"guarantee": check.__doc__}
    try:
        outcome |= {"passed": True, "measured": check(device)}
    except Exception:
        outcome |= {"passed": False, "traceback": traceback.format_exc()}
    return {**outcome, "seconds": round(time.monotonic() - started, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the outcomes so far as a line of JSON after each check; 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    device = torch.device(parser.parse_args(arguments).device)
    machine, outcomes = this_machine(device).model_dump(mode="json"), {}
    for check in CHECKS:
        outcomes[check.__name__] = run_check(check, device)
        print(json.dumps({"machine": machine, "checks": outcomes}), flush=True)
    return 0 if all(outcome["passed"] for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
