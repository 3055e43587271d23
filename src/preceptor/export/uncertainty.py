"""Scores as an exported graph computes them in float32: as uncertainty, which is the distance from full confidence.

Near 1 a probability in float32 moves in steps of 6e-8: a threshold of 1 - 1e-9 could not be told from 1, and samples
would be answered that a guarantee does not cover. The uncertainty ``1 - confidence``, never computed as that
difference, keeps its relative precision however confident the student is; so the graph decides by it. The scores are
those of :mod:`preceptor.metrics.scores`, with their sources.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from preceptor.context import is_class, predicted_class

_FLOAT64_STEP = 2.0**-53
"""Half of float64's step at 1, where the library's own confidences are rounded."""


@dataclass(frozen=True)
class Uncertainty:
    """How a score's uncertainty is computed, and how it relates to the confidence.

    Attributes:
        function: of the outputs, the number of classes among them, and the score's options; lower is more confident.
        maximum: the confidence at uncertainty 0: ``confidence = maximum - uncertainty``.
        floor: differences of uncertainty below this are rounding: of probabilities float64's, of logits float32's.
    """

    function: Callable[..., Float[Tensor, " batch"]]
    maximum: float
    floor: float

    def limit(self, threshold: float) -> float:
        """The largest uncertainty that is answered, for the least confidence that is."""
        return max(self.maximum - threshold, _FLOAT64_STEP) if self.maximum else -threshold


def softmax_uncertainty(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """``1 - softmax response``: the probability of all classes but the predicted one."""
    others = _odds(outputs[:, :classes]).sum(dim=1)
    return others / (1 + others)


def margin_uncertainty(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """``1 - margin``: the probability of all classes but the predicted one, and of the second once more."""
    odds = _odds(outputs[:, :classes])
    others = odds.sum(dim=1)
    return (others + odds.amax(dim=1)) / (1 + others)


def entropy(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """The entropy in nats: ``ln S + sum_k o_k d_k / S`` of the odds ``o = exp(-d)`` against the predicted class.

    ``S = 1 + sum of the odds``; near 1 its logarithm is taken as ``2 artanh(s / (2 + s))``, since ONNX has no log1p.
    """
    logits = outputs[:, :classes]
    behind = logits.amax(dim=1, keepdim=True) - logits
    odds = _odds(logits)
    others = odds.sum(dim=1)
    logarithm = torch.where(others < 0.5, 2 * torch.atanh(others / (2 + others)), torch.log(1 + others))
    return logarithm + (odds * behind).sum(dim=1) / (1 + others)


def negative_max_logit(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """Minus the largest logit."""
    return -outputs[:, :classes].amax(dim=1)


def negative_p_norm(outputs: Float[Tensor, "batch outputs"], classes: int, p: float) -> Float[Tensor, " batch"]:
    """Minus MaxLogit-pNorm; scaled by the largest magnitude, whose p-th power float32 may not hold."""
    logits = outputs[:, :classes]
    centered = logits - logits.mean(dim=1, keepdim=True)
    largest = centered.amax(dim=1)
    if p == 0:
        return -largest
    scale = centered.abs().amax(dim=1)
    scale = torch.where(scale > 0, scale, 1.0)
    shares = centered.abs() / scale.unsqueeze(1)
    length = (shares**p).sum(dim=1).clamp(min=1) ** (1 / p)  # below 1 only for a row of equal logits
    return -largest / scale / length


def free_energy(
    outputs: Float[Tensor, "batch outputs"], classes: int, temperature: float = 1.0
) -> Float[Tensor, " batch"]:
    """The free energy."""
    return -temperature * (outputs[:, :classes] / temperature).logsumexp(dim=1)


def reservation(outputs: Float[Tensor, "batch outputs"], classes: int) -> Float[Tensor, " batch"]:
    """The probability of the extra output."""
    return outputs.softmax(dim=1)[:, -1]


UNCERTAINTIES: Mapping[str, Uncertainty] = {
    "softmax_response": Uncertainty(softmax_uncertainty, maximum=1.0, floor=1e-15),
    "margin": Uncertainty(margin_uncertainty, maximum=1.0, floor=1e-15),
    "negative_entropy": Uncertainty(entropy, maximum=0.0, floor=1e-15),
    "max_logit": Uncertainty(negative_max_logit, maximum=0.0, floor=1e-5),
    "max_logit_p_norm": Uncertainty(negative_p_norm, maximum=0.0, floor=1e-5),
    "energy": Uncertainty(free_energy, maximum=0.0, floor=1e-5),
    "reservation": Uncertainty(reservation, maximum=0.0, floor=1e-15),
}
"""By the names of ``metrics.SCORES``: all of those that need the student's outputs alone."""


def _odds(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """Each class's probability over that of the predicted class; 0 at that one itself."""
    odds = (logits - logits.amax(dim=1, keepdim=True)).exp()
    return torch.where(is_class(logits, predicted_class(logits)), 0.0, odds)
