"""What views, components and teachers must keep on a GPU: each check raises ``Broken``, or returns the numbers it found."""

import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.made_up import CLASSES, NORMALIZE, RULE, made_up, untrained
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.conformance.check import ComponentCase as Subject
from preceptor.conformance.check import forward_backward as learn
from preceptor.loss import DistillationLoss
from preceptor.recipes import recipe
from preceptor.registry import components
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache
from preceptor.training import epoch_batches
from preceptor.training.epoch_metrics import EpochMetrics

Numbers = dict[str, Any]


class Broken(Exception):
    """A guarantee does not hold on this device."""


def require(condition: object, message: str) -> None:
    if not condition:
        raise Broken(message)


def apart(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected value; infinite where either is not finite."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    if not (found.isfinite().all() and expected.isfinite().all()):
        return float("inf")
    return float((found - expected).abs().amax() / expected.abs().amax().clamp(min=1e-6))


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
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


def views_are_the_same_bits(device: torch.device) -> Numbers:
    """every view of an image, and the batches of an epoch, are the same bits on either device"""
    there, here = made_up(RULE.count + 39, device), made_up(RULE.count + 39, torch.device("cpu"))
    views = torch.arange(len(here)) % RULE.count
    same = torch.equal(RULE.apply(there.images, views.to(device)).cpu(), RULE.apply(here.images, views))
    require(same, "a view differs")
    settings: dict[str, Any] = {"batch_size": 64, "seed": 3, "epoch": 5}
    order = torch.arange(len(here))
    pairs = zip(
        epoch_batches(there, order, RULE, **settings), epoch_batches(here, order, RULE, **settings), strict=True
    )
    for number, (one, other) in enumerate(pairs):
        for part in ("images", "label", "index", "position", "view"):
            same = torch.equal(getattr(one, part).cpu(), getattr(other, part).cpu())
            require(same, f"{part} of batch {number} differ")
    difference = apart(NORMALIZE(there.images), NORMALIZE(here.images))
    require(difference < 1e-6, f"normalized images differ by {difference:.2g}")
    return {"views": RULE.count, "normalized_images_apart": difference}


def stages_agree_with_the_cpu(device: torch.device) -> Numbers:
    """every registered component has the CPU's loss and gradient, and finite ones under bf16 autocast"""
    return {"apart": _each_stage(lambda subject: _stage_apart(subject, device))}


def _stage_apart(subject: Subject, device: torch.device) -> float:
    batch = subject.plain_batch(samples=16)
    given = batch.to(str(device))
    expected, expected_gradient = learn(subject.loss(), batch)
    outcome, gradient = learn(subject.loss().to(device), given)
    difference = max(apart(outcome.total, expected.total), apart(gradient, expected_gradient))
    require(difference < 1e-4, f"loss or gradient is {difference:.2g} off the CPU's")
    with torch.autocast(device.type, torch.bfloat16):
        rough, rough_gradient = learn(subject.loss().to(device), given.cast(torch.bfloat16))
    require(rough.total.isfinite().all() and rough_gradient.isfinite().all(), "not finite under bf16 autocast")
    return difference


def stages_never_wait(device: torch.device) -> Numbers:
    """no registered component makes the host wait for the GPU, nor does adding up what it did"""
    return {"components": len(_each_stage(lambda subject: _learn_without_waiting(subject, device)))}


def _learn_without_waiting(subject: Subject, device: torch.device) -> None:
    loss, given = subject.loss().to(device), subject.plain_batch(samples=16).to(str(device))
    learn(loss, given)  # the first time, libraries set themselves up
    with no_waiting(device):
        outcome, _ = learn(loss, given)
        EpochMetrics(loss.abstains).add(outcome, given.student, given.label, gambling=loss.trains_reservation(0.5))


def _each_stage(look: Callable[[Subject], Any]) -> dict[str, Any]:
    """What a look at every component found; all that break are named, and where."""
    found, broken = {}, []
    for info in components():
        try:
            found[f"{info.kind} {info.name}"] = look(Subject(info, dict(getattr(info.cls, "conformance_options", {}))))
        except Exception as error:
            ours = [f for f in traceback.extract_tb(error.__traceback__) if "/preceptor/" in f.filename]
            where = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
            broken.append(f"{info.kind} {info.name}: {error}{where}")
    require(not broken, "; ".join(broken))
    return found


class _Heard:
    """A teacher of which every word is kept."""

    def __init__(self, teacher: NetworkTeacher) -> None:
        self.teacher = teacher
        self.words: list[Tensor] = []

    @property
    def classes(self) -> int | None:
        return self.teacher.classes

    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        self.words.append(self.teacher.outputs(images, index, view).logits)
        return TeacherOutput(self.words[-1])


@contextmanager
def small_bank(live: NetworkTeacher | _Heard, samples: int) -> Iterator[LogitCache]:
    """An empty cache in a folder that goes when it is closed."""
    given = CacheKey.of("untrained", "made up", NORMALIZE, RULE, [str(number) for number in range(CLASSES)])
    layout = Layout(samples=samples, views=RULE.count, classes=CLASSES)
    with tempfile.TemporaryDirectory() as folder, open_cache(Path(folder) / "cache", given, layout, live) as cache:
        yield cache


def bank_says_what_the_teacher_said(device: torch.device) -> Numbers:
    """a cache's word is the live one within fp16 rounding, and the same bits from then on"""
    train, heard = made_up(64, device), _Heard(untrained(device))
    index, view = torch.arange(64), torch.arange(64) * 5 % RULE.count
    with small_bank(heard, 64) as cache:
        first, again = (cache.outputs(RULE.apply(train.images, view.to(device)), index, view).logits for _ in range(2))
    require(first.device == train.images.device, f"the cache answered on {first.device}")
    require(len(heard.words) == 1 and torch.equal(first, again), "asked again, the cache said otherwise")
    live = heard.words[0]
    largest = live.amax(dim=1, keepdim=True)
    allowed = 2**-11 * (largest - live) + 2**-24 + 2**-21 * live.abs().amax()
    require(((first - live).abs() <= allowed).all(), "further from the live logits than rounding to fp16 takes it")
    kd = DistillationLoss(**recipe("kd")).to(device)
    student = torch.randn(64, CLASSES, generator=torch.Generator().manual_seed(1)).to(device)
    losses = [kd(student, word, train.labels).total for word in (first, live)]
    difference = apart(*losses)
    require(difference < 1e-3, f"the loss of recipe kd differs by {difference:.2g}")
    return {"logits_apart": apart(first, live), "loss_apart": difference}


def a_fast_teacher_says_the_same(device: torch.device) -> Numbers:
    """folded, in bf16 or compiled, a teacher says the same but for rounding, for batches of any size"""
    plain, images = untrained(device), made_up(100, device).images
    ways: dict[str, dict[str, Any]] = {"folded": {"bf16": False}, "in bf16": {"bf16": True}}
    if device.type == "cuda":
        ways["compiled"] = {"compile": True, "batch_size": 64}
    found = {}
    for name, way in ways.items():
        fast = plain.optimize_for_inference(**way)
        difference = apart(fast(images), plain(images))
        require(difference < 0.03, f"{name}: logits are {difference:.2g} off")
        found[name] = {"done": str(fast.report), "logits_apart": difference}
    return found
