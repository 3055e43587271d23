"""What is deployed of a student: from pixels to an answer, or to declining it, as one module of torch alone."""

from copy import deepcopy
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from preceptor.context import predicted_class
from preceptor.export.uncertainty import UNCERTAINTIES
from preceptor.metrics import SCORES, Predictions, confidence
from preceptor.metrics.decisions import check_servable
from preceptor.models import ModelCard
from preceptor.models.layout import to_memory_format

DEFAULT_SCORE = "softmax_response"
"""What is told of a student that was never calibrated."""


class ExportOutput(NamedTuple):
    """What a deployed student says of images, in the order of its outputs.

    Attributes:
        label: the class of the largest logit, the first of equals; to decline is never predicted.
        probabilities: softmax over the real classes.
        score: the confidence of the decision; softmax response where there is none.
        answered: whether the score reaches the threshold; always where there is none.
    """

    label: Int[Tensor, " batch"]
    probabilities: Float[Tensor, "batch classes"]
    score: Float[Tensor, " batch"]
    answered: Bool[Tensor, " batch"]


class ExportModule(nn.Module):
    """Normalization, network, softmax, score and decision; a copy of the student on the CPU, in eval mode and fp32.

    Args:
        network: the student; left as it is.
        card: of the student.

    Attributes:
        score: name of the score.
        has_decision: whether it may decline.
        limits: by predicted class, the largest uncertainty that is answered.

    Raises:
        InputError: the decision's score is not known, lacks an option, or needs more than the student's outputs.
    """

    gain: Tensor
    shift: Tensor
    limits: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = deepcopy(network).cpu().float()
        self.classes = card.classes
        self.has_decision = card.decision is not None
        self.score, self.options = _score(card)
        self.uncertainty = UNCERTAINTIES[self.score]
        normalize = card.normalization()
        gain = [1 / (255.0 * std) for std in normalize.std]
        shift = [-mean / std for mean, std in zip(normalize.mean, normalize.std, strict=True)]
        self.register_buffer("gain", torch.tensor(gain).reshape(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).reshape(1, -1, 1, 1))
        limits = [-torch.inf if each is None else self.uncertainty.limit(each) for each in thresholds(card)]
        self.register_buffer("limits", torch.tensor(limits, dtype=torch.float32))
        self.eval().requires_grad_(False)

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The fields of a :class:`ExportOutput`, as a plain tuple, which every format can write.

        Args:
            images: 0 to 255, of the size on the card.
        """
        normalized = torch.addcmul(self.shift, images.float(), self.gain)
        outputs: Tensor = self.network(to_memory_format(normalized))
        logits = outputs[:, : self.classes]
        label = predicted_class(logits)
        uncertainty = self.uncertainty.function(outputs, self.classes, **self.options)
        return label, logits.softmax(dim=1), self.uncertainty.most - uncertainty, uncertainty <= self.limits[label]

    @torch.no_grad()
    def reply(self, images: UInt8[Tensor, "batch channels height width"]) -> ExportOutput:
        """What it says, by name."""
        return ExportOutput(*self(images))


def thresholds(card: ModelCard) -> tuple[float | None, ...]:
    """The least confidence that is answered, by predicted class; None where nothing is."""
    decision = card.decision
    if decision is None:
        return (-torch.inf,) * card.classes
    return decision.class_thresholds or (decision.threshold,) * card.classes


def _score(card: ModelCard) -> tuple[str, dict[str, float]]:
    """The score's name, and its options with their defaults."""
    decision = card.decision
    if decision is None:
        return DEFAULT_SCORE, {}
    check_servable(decision.score)
    nothing = Predictions(torch.zeros(1, card.outputs), card.abstains)
    confidence(decision.score, nothing, **decision.options)  # it knows what is wrong with options
    defaults = {name: value for name, value in SCORES[decision.score].options.items() if value is not None}
    return decision.score, {**defaults, **decision.options}
