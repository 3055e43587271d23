"""Does a written file say what the student says? Asked of the file itself, on real images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from preceptor.errors import InputError, MachineError
from preceptor.export.module import DEFAULT_SCORE, ExportModule, ExportOutput
from preceptor.metrics import Predictions, confidence
from preceptor.metrics.decisions import at_decision
from preceptor.metrics.logits import network_logits
from preceptor.models import ModelCard

Run = Callable[[UInt8[Tensor, "batch channels height width"]], ExportOutput]
"""A written file at work."""

IMAGES = 256
"""Looked at, spread evenly over those there are."""

BATCHES = {1: 16, 7: 49, 64: IMAGES}
"""Sizes of batches, and how many images go through in each."""

TOLERANCE = 1e-4
"""Of probabilities, and of a score against the larger of itself and 1."""

_NEAR = 1e-4
"""Of a uncertainty, relative to the largest that is answered: logits that differ by 1e-4 move a small probability so far."""


@dataclass(frozen=True)
class Expected:
    """What the student itself says, by the library's own scores in float64.

    Attributes:
        reply: labels, probabilities, scores and decisions.
        near: samples so near their threshold that rounding to float32 may decide.
    """

    reply: ExportOutput
    near: Bool[Tensor, " batch"]


@dataclass(frozen=True)
class Agreement:
    """How near a file came to the student.

    Attributes:
        images: compared.
        batch_sizes: in which they were shown.
        probability_difference: the largest of any class.
        score_difference: the largest.
        near_threshold: images so near a threshold that float32 decides.
        decided_otherwise: how many of those were.
    """

    images: int
    batch_sizes: tuple[int, ...]
    probability_difference: float
    score_difference: float
    near_threshold: int
    decided_otherwise: int


def some_of(images: UInt8[Tensor, "n channels height width"]) -> UInt8[Tensor, "some channels height width"]:
    """At most ``IMAGES`` of them, spread evenly, so that a set in the order of its classes gives of all."""
    count = min(IMAGES, len(images))
    return images[torch.arange(count) * len(images) // count]


def expected(network: nn.Module, card: ModelCard, images: UInt8[Tensor, "n channels height width"]) -> Expected:
    """What the student says of images, computed as everywhere else in the library.

    Raises:
        InputError: it says what is not finite.
    """
    answers = Predictions(network_logits(network, card.normalization(), images), card.abstains)
    bad = ~answers.outputs.isfinite().all(dim=1)
    if bad.any():
        raise InputError(f"the student's outputs for image {int(bad.nonzero()[0])} are not finite: train it again")
    decision = card.decision
    name, options = (DEFAULT_SCORE, {}) if decision is None else (decision.score, decision.options)
    score = confidence(name, answers, **options)
    always = torch.ones(len(images), dtype=torch.bool)
    answered = always if decision is None else at_decision(decision, score, answers.prediction)
    reply = ExportOutput(answers.prediction, answers.class_logits.double().softmax(dim=1), score, answered)
    return Expected(reply, _near(network, card, reply))


def check(name: str, run: Run, images: UInt8[Tensor, "n channels height width"], wanted: Expected) -> Agreement:
    """Run a file on images in batches of several sizes, and hold it against the student.

    Args:
        name: of the file, for messages.
        run: it.
        images: what to show it.
        wanted: what the student says of these.

    Raises:
        MachineError: a label differs; a probability does by more than ``TOLERANCE``; or a decision does, other
            than by rounding.
    """
    probability, score = [], []
    otherwise = torch.zeros(len(images), dtype=torch.bool)
    for size, count in BATCHES.items():
        part = slice(0, count)
        found = replies(run, images[part], size)
        _check_labels(name, size, found, wanted.reply.label[part])
        probability.append((found.probabilities.double() - wanted.reply.probabilities[part]).abs().max())
        score.append(_relative(found.score, wanted.reply.score[part]).max())
        otherwise[part] |= found.answered != wanted.reply.answered[part]
    _check_decisions(name, otherwise & ~wanted.near)
    return Agreement(
        images=len(images),
        batch_sizes=tuple(BATCHES),
        probability_difference=_within_tolerance(name, "a probability", probability),
        score_difference=_within_tolerance(name, "a score", score),
        near_threshold=int(wanted.near.sum()),
        decided_otherwise=int(otherwise.sum()),
    )


def replies(run: Run, images: UInt8[Tensor, "n channels height width"], batch_size: int) -> ExportOutput:
    """What a file says of many images, shown so many at a time."""
    parts = [run(part) for part in images.split(batch_size)]
    return ExportOutput(*(torch.cat(field) for field in zip(*parts, strict=True)))


def _near(network: nn.Module, card: ModelCard, reply: ExportOutput) -> Bool[Tensor, " batch"]:
    deployed = ExportModule(network, card)
    limit = deployed.limits.double()[reply.label]
    uncertainty = deployed.uncertainty.most - reply.score
    return (uncertainty - limit).abs() <= _NEAR * limit.abs() + deployed.uncertainty.floor


def _check_labels(name: str, size: int, found: ExportOutput, wanted: Tensor) -> None:
    if found.label.shape != wanted.shape:
        raise _differs(name, f"{len(found.label)} labels for {len(wanted)} images in batches of {size}")
    wrong = (found.label != wanted).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise _differs(
            name,
            f"{len(wrong)} of {len(wanted)} labels in batches of {size}, the first that of image {at}: "
            f"{int(found.label[at])} instead of {int(wanted[at])}",
        )


def _within_tolerance(name: str, what: str, differences: list[Tensor]) -> float:
    """The largest of them."""
    largest = float(torch.stack(differences).max())  # NaN if one is
    if not largest <= TOLERANCE:
        raise _differs(name, f"{what} differs by {largest:.1e}, allowed is {TOLERANCE:.0e}")
    return largest


def _check_decisions(name: str, otherwise: Bool[Tensor, " batch"]) -> None:
    if otherwise.any():
        raise _differs(
            name,
            f"{int(otherwise.sum())} decisions that rounding does not explain, the first that of image "
            f"{int(otherwise.nonzero()[0])}",
        )


def _differs(name: str, what: str) -> MachineError:
    return MachineError(
        f"{name}: does not say what the student says: {what}: not written; try other versions of torch and "
        "onnxruntime, or another format"
    )


def _relative(found: Float[Tensor, " batch"], wanted: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    return (found.double() - wanted).abs() / wanted.abs().clamp(min=1)
