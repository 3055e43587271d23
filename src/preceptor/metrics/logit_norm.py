"""The choice, on validation data, of the p-norm that divides the logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.errors import InputError
from preceptor.metrics.scores import max_logit_p_norm, softmax_response
from preceptor.metrics.selective import aurc

NORMS = tuple(range(9))
"""The p that are tried, 0 to 8; 0 does not normalize (the authors' code, lfpc/FixSelectiveClassification)."""


@dataclass(frozen=True)
class NormChoice:
    """Which score ranks the validation set best.

    Attributes:
        score: "max_logit_p_norm", or "softmax_response" where no p beat it.
        options: of that score: its p, or nothing. ``confidence(choice.score, answers, **choice.options)`` applies it.
        aurc: of that score on the validation set.
        aurc_of_softmax_response: what it had to beat.
        samples: size of the validation set.
    """

    score: str
    options: Mapping[str, float]
    aurc: float
    aurc_of_softmax_response: float
    samples: int


def choose_p_norm(
    class_logits: Float[Tensor, "n classes"], wrong: Bool[Tensor, " n"], norms: Sequence[float] = NORMS
) -> NormChoice:
    """The p whose MaxLogit-pNorm has the lowest AURC, the smallest p of equals; softmax response where none has less.

    Use validation data: neither the training set, on which hardly any prediction is wrong, nor the test set. The p are
    0 to 8 by default.

    Raises:
        InputError: no p to try, or as `aurc`.

    Cattelan and Silva, "How to Fix a Broken Confidence Estimator", 2024, arXiv:2305.15508.
    """
    if not norms:
        raise InputError("norms is empty; expected at least one p, for example 4")
    fallback = aurc(softmax_response(class_logits), wrong)
    areas = {p: aurc(max_logit_p_norm(class_logits, p), wrong) for p in sorted(norms)}
    best = min(areas, key=lambda p: areas[p])
    if areas[best] < fallback:
        return NormChoice("max_logit_p_norm", {"p": best}, areas[best], fallback, len(wrong))
    return NormChoice("softmax_response", {}, fallback, fallback, len(wrong))
