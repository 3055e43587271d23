"""Comparison of an exported file with its student: the file is run on images, in batches of several sizes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor, nn

from preceptor.data.lazy import Inputs
from preceptor.errors import InputError, MachineError
from preceptor.export.module import ExportModule, ExportOutput
from preceptor.metrics import Predictions, confidence
from preceptor.metrics.decisions import at_decision
from preceptor.metrics.logits import network_logits
from preceptor.models import ModelCard

Run = Callable[[UInt8[Tensor, "batch channels height width"]], ExportOutput]
"""Runs an exported file."""

IMAGES = 256
"""Compared at most."""

BATCHES = {1: 16, 7: 49, 64: IMAGES}
"""Batch sizes, and how many images are compared in each."""

TOLERANCE = 1e-4
"""Of probabilities, and of a score relative to the larger of its size and 1."""

_NEAR = 1e-4
"""Of an uncertainty, relative to the largest answered: logits off by 1e-4 move a small probability by that share."""


@dataclass(frozen=True)
class Expected:
    """The student's own outputs, by the library's scores in float64.

    ``near`` are the samples so near their threshold that rounding to float32 may decide.
    """

    output: ExportOutput
    near: Bool[Tensor, " n"]


@dataclass(frozen=True)
class Agreement:
    """How close a file came to its student.

    Attributes:
        probability_difference: the largest of any class.
        score_difference: the largest, relative to the larger of the score's size and 1.
        near_threshold: images so near a threshold that float32 may decide.
        decided_otherwise: how many of those were decided otherwise.
    """

    images: int
    batch_sizes: tuple[int, ...]
    probability_difference: float
    score_difference: float
    near_threshold: int
    decided_otherwise: int


def some_of(images: Inputs) -> UInt8[Tensor, "some channels height width"]:
    """At most ``IMAGES``, spread evenly, so that a set ordered by class gives some of every class."""
    count = min(IMAGES, len(images))
    return images[torch.arange(count) * len(images) // count]


def random_images(card: ModelCard) -> UInt8[Tensor, "n channels height width"]:
    """Random pixels to compare on where there is no data; the same for each student of one input size."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (IMAGES, card.channels, *card.image_size), generator=generator, dtype=torch.uint8)


def expected(network: nn.Module, card: ModelCard, images: UInt8[Tensor, "n channels height width"]) -> Expected:
    """The student's outputs, computed as everywhere else in the library.

    Raises:
        InputError: one is not finite.
    """
    answers = Predictions(network_logits(network, card.normalization(), images), card.abstains)
    bad = ~answers.outputs.isfinite().all(dim=1)
    if bad.any():
        raise InputError(f"the student's outputs for image {int(bad.nonzero()[0])} are not finite: train it again")
    module, decision = ExportModule(network, card), card.decision
    score = confidence(module.score, answers, **({} if decision is None else decision.options))
    answered = torch.ones(len(images), dtype=torch.bool)
    if decision is not None:
        answered = at_decision(decision, score, answers.prediction)
    limit = module.limits.double()[answers.prediction]
    distance = (module.uncertainty.maximum - score - limit).abs()
    near = distance <= _NEAR * limit.abs() + module.uncertainty.floor
    probabilities = answers.class_logits.double().softmax(dim=1)
    return Expected(ExportOutput(answers.prediction, probabilities, score, answered), near)


def check(name: str, run: Run, images: UInt8[Tensor, "n channels height width"], wanted: Expected) -> Agreement:
    """Run a file on images in batches of several sizes, and compare it with the student's outputs for these.

    Raises:
        MachineError: a label differs; a probability or score differs by more than ``TOLERANCE``; or a decision
            differs by more than rounding.
    """

    def differs(what: str) -> MachineError:
        return MachineError(
            f"{name}: differs from the student: {what}: not written; try other versions of torch and onnxruntime, or "
            "another format"
        )

    largest = {"probability": 0.0, "score": 0.0}
    otherwise = torch.zeros(len(images), dtype=torch.bool)
    for size, count in BATCHES.items():
        part = slice(0, count)
        label, probabilities, score, answered = (field[part] for field in wanted.output)
        output = run_in_batches(run, images[part], size)
        if output.label.shape != label.shape:
            raise differs(f"{len(output.label)} labels for {len(label)} images in batches of {size}")
        wrong = (output.label != label).nonzero()
        if len(wrong):
            first = int(wrong[0])
            raise differs(
                f"{len(wrong)} of {len(label)} labels in batches of {size}, the first that of image {first}: "
                f"{int(output.label[first])} instead of {int(label[first])}"
            )
        differences = {
            "probability": (output.probabilities.double() - probabilities).abs(),
            "score": (output.score.double() - score).abs() / score.abs().clamp(min=1),
        }
        for what, difference in differences.items():
            most = float(difference.max())
            if not most <= TOLERANCE:  # so written, NaN differs too
                raise differs(f"a {what} differs by {most:.1e}, allowed is {TOLERANCE:.0e}")
            largest[what] = max(largest[what], most)
        otherwise[part] |= output.answered != answered
    unexplained = (otherwise & ~wanted.near).nonzero()
    if len(unexplained):
        first = int(unexplained[0])
        raise differs(f"{len(unexplained)} decisions that rounding does not explain, the first that of image {first}")
    return Agreement(
        images=len(images),
        batch_sizes=tuple(BATCHES),
        probability_difference=largest["probability"],
        score_difference=largest["score"],
        near_threshold=int(wanted.near.sum()),
        decided_otherwise=int(otherwise.sum()),
    )


def run_in_batches(run: Run, images: UInt8[Tensor, "n channels height width"], batch_size: int) -> ExportOutput:
    """A file's outputs for many images, some at a time."""
    parts = [run(part) for part in images.split(batch_size)]
    return ExportOutput(*(torch.cat(field) for field in zip(*parts, strict=True)))
