"""Scores as an exported graph computes them, in float32: as uncertainty, which is a confidence seen from its other end.

Near 1 a probability in float32 moves in steps of 6e-8: a threshold of 1 - 1e-9 could not be told from 1, and samples
would be answered that a guarantee does not cover. The uncertainty ``1 - confidence``, never computed as that difference, keeps
its relative precision however sure the student is; so the graph decides by it. The scores themselves are those of
:mod:`preceptor.metrics.scores`, with their sources.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import is_class, predicted_class

_FLOAT64_STEP = 2.0**-53
"""Half of float64's step at 1, where the library's own confidences are rounded."""


@dataclass(frozen=True)
class Uncertainty:
    """How a score's uncertainty is computed, and what it means.

    Attributes:
        function: from the outputs, how many of them are classes, and the score's options; lower when surer.
        most: the confidence where there is no uncertainty: ``confidence = most - uncertainty``.
        floor: a uncertainty below which differences are rounding: of probabilities float64's, of logits float32's.
    """

    function: Callable[..., Float[Tensor, " batch"]]
    most: float
    floor: float

    def limit(self, threshold: float) -> float:
        """The largest uncertainty that is answered where confidences from the threshold on are."""
        return max(self.most - threshold, _FLOAT64_STEP) if self.most else -threshold


def softmax_doubt(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """``1 - softmax response``: the probability of all classes but the predicted one."""
    others = _odds(outputs[:, :classes]).sum(dim=1)
    return others / (1 + others)


def margin_doubt(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """``1 - margin``: the probability of all classes but the predicted one, and of the second once more."""
    odds = _odds(outputs[:, :classes])
    others = odds.sum(dim=1)
    return (others + odds.amax(dim=1)) / (1 + others)


def entropy_doubt(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """The entropy in nats: ``ln S + sum_k o_k d_k / S`` of the odds ``o = exp(-d)`` against the predicted class.

    ``S = 1 + sum of the odds``; its logarithm is taken as ``2 artanh(s / (2 + s))`` where S is near 1, for ONNX has no
    log1p.
    """
    logits = outputs[:, :classes]
    behind = logits.amax(dim=1, keepdim=True) - logits
    odds = _odds(logits)
    others = odds.sum(dim=1)
    logarithm = torch.where(others < 0.5, 2 * torch.atanh(others / (2 + others)), torch.log(1 + others))
    return logarithm + (odds * behind).sum(dim=1) / (1 + others)


def max_logit_doubt(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """Minus the largest logit."""
    return -outputs[:, :classes].amax(dim=1)


def p_norm_doubt(outputs: Float[Tensor, "batch outputs"], classes: int, p: float) -> Float[Tensor, " batch"]:
    """Minus MaxLogit-pNorm; scaled by the largest magnitude, whose p-th power float32 may not hold."""
    logits = outputs[:, :classes]
    centerd = logits - logits.mean(dim=1, keepdim=True)
    largest = centerd.amax(dim=1)
    if p == 0:
        return -largest
    scale = centerd.abs().amax(dim=1)
    scale = torch.where(scale > 0, scale, 1.0)
    shares = centerd.abs() / scale.unsqueeze(1)
    length = (shares**p).sum(dim=1).clamp(min=1) ** (1 / p)  # below 1 for a row of equal logits alone
    return -largest / scale / length


def energy_doubt(
    outputs: Float[Tensor, "batch outputs"], classes: int, temperature: float = 1.0
) -> Float[Tensor, " batch"]:
    """The free energy."""
    return -temperature * (outputs[:, :classes] / temperature).logsumexp(dim=1)


def reservation_doubt(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """The probability of the extra output."""
    return outputs.softmax(dim=1)[:, -1]


UNCERTAINTIES: Mapping[str, Uncertainty] = {
    "softmax_response": Uncertainty(softmax_doubt, most=1.0, floor=1e-15),
    "margin": Uncertainty(margin_doubt, most=1.0, floor=1e-15),
    "negative_entropy": Uncertainty(entropy_doubt, most=0.0, floor=1e-15),
    "max_logit": Uncertainty(max_logit_doubt, most=0.0, floor=1e-5),
    "max_logit_p_norm": Uncertainty(p_norm_doubt, most=0.0, floor=1e-5),
    "energy": Uncertainty(energy_doubt, most=0.0, floor=1e-5),
    "reservation": Uncertainty(reservation_doubt, most=0.0, floor=1e-15),
}
"""By the names of ``evaluation.SCORES``: all of those that need the student's outputs alone."""


def _odds(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """Each class's probability over that of the predicted class; 0 at that one itself."""
    predicted: Int[Tensor, " batch"] = predicted_class(logits)
    odds = (logits - logits.amax(dim=1, keepdim=True)).exp()
    return torch.where(is_class(logits, predicted), 0.0, odds)
