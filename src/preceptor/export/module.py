"""The exported student as one module: from pixels to class, probabilities, score and decision."""

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
from preceptor.models.features import call_model
from preceptor.models.layout import to_memory_format

DEFAULT_SCORE = "softmax_response"
"""The score of a student that was never calibrated."""


class ExportOutput(NamedTuple):
    """The outputs of an exported student, in their order in the file.

    Attributes:
        label: the class of the largest logit, the first of equals; the reservation is never predicted.
        probabilities: softmax over the classes, without the reservation.
        score: the confidence of the decision; softmax response where there is no decision.
        answered: whether the score reaches the threshold; always where there is no decision.
    """

    label: Int[Tensor, " batch"]
    probabilities: Float[Tensor, "batch classes"]
    score: Float[Tensor, " batch"]
    answered: Bool[Tensor, " batch"]


class ExportModule(nn.Module):
    """Normalization, network, softmax, score and decision; a copy of the student on the CPU, in eval mode and fp32.

    ``limits`` holds, by predicted class, the largest uncertainty that is answered.

    Raises:
        InputError: the decision's score is unknown, lacks an option, or needs more than the student's outputs.
    """

    gain: Tensor
    shift: Tensor
    limits: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = deepcopy(network).cpu().float()
        self.classes = card.classes
        decision = card.decision
        self.score = DEFAULT_SCORE if decision is None else decision.score
        options = {} if decision is None else decision.options
        check_servable(self.score)
        confidence(
            self.score, Predictions(torch.zeros(1, card.outputs), card.abstains), **options
        )  # checks the options
        defaults = {name: value for name, value in SCORES[self.score].options.items() if value is not None}
        self.options = {**defaults, **options}
        self.uncertainty = UNCERTAINTIES[self.score]
        thresholds: tuple[float | None, ...] = (-torch.inf,) * card.classes
        if decision is not None:
            thresholds = decision.class_thresholds or (decision.threshold,) * card.classes
        limits = [-torch.inf if each is None else self.uncertainty.limit(each) for each in thresholds]
        self.register_buffer("limits", torch.tensor(limits, dtype=torch.float32))
        # (pixel / 255 - mean) / std as one multiply-add, the arithmetic of data.Normalization
        normalize = card.normalization()
        gain = [1 / (255.0 * std) for std in normalize.std]
        shift = [-mean / std for mean, std in zip(normalize.mean, normalize.std, strict=True)]
        self.register_buffer("gain", torch.tensor(gain).reshape(1, -1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).reshape(1, -1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The fields of :class:`ExportOutput` as a plain tuple, which every format can write."""
        normalized = torch.addcmul(self.shift, images.float(), self.gain)
        outputs = call_model(self.network, to_memory_format(normalized))
        logits = outputs[:, : self.classes]
        label = predicted_class(logits)
        uncertainty = self.uncertainty.function(outputs, self.classes, **self.options)
        return label, logits.softmax(dim=1), self.uncertainty.maximum - uncertainty, uncertainty <= self.limits[label]

    @torch.no_grad()
    def run(self, images: UInt8[Tensor, "batch channels height width"]) -> ExportOutput:
        return ExportOutput(*self(images))
