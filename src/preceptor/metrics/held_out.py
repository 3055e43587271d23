"""Choices on held-out samples: the temperature, which changes no prediction, and the p-norm that divides the logits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.chunking import chosen_rows, chunked
from preceptor.context import UNLABELED, at_class
from preceptor.errors import InputError
from preceptor.metrics.checks import check_finite, check_inputs
from preceptor.metrics.scores import max_logit_p_norm, softmax_response
from preceptor.metrics.selective import aurc

LOWEST, HIGHEST = 0.01, 100.0
"""Temperatures outside are not looked for: beyond, probabilities are one-hot or uniform for any usual logits."""

NORMS = tuple(range(9))
"""The p that are tried, 0 to 8; 0 does not normalize (the authors' code, lfpc/FixSelectiveClassification)."""


@dataclass(frozen=True)
class TemperatureFit:
    """The temperature that a held-out set is likeliest at.

    Attributes:
        temperature: to divide the class logits by.
        at_limit: whether the likelihood still grew at 0.01 or 100, for example since every held-out prediction is
            right, so that any temperature is too high.
        nll_before: mean negative log-likelihood of the held-out labels at temperature 1, in nats.
        nll_after: at the fitted temperature.
        samples: labeled ones that it was fitted on.
    """

    temperature: float
    at_limit: bool
    nll_before: float
    nll_after: float
    samples: int


def fit_temperature(class_logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> TemperatureFit:
    """The temperature that minimizes the NLL of held-out labels; the unlabeled, -1, are left out.

    The NLL is convex in ``b = 1 / T``, with the slope ``mean_i (sum_k softmax(b z_i)_k z_ik - z_iy)``, whose one root
    is found by Brent's method on ln T. Fit it on data that was neither trained on nor is reported on. It gives no
    guarantee of a risk, and since the softmax response of different samples may change places, the risk-coverage
    curve may move.

    Raises:
        InputError: as :func:`preceptor.metrics.evaluate`: logits that are not finite, labels that do not fit, or no
            labeled sample.

    Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599.
    """
    from scipy.optimize import brentq

    labels = check_inputs(class_logits, labels, known="some")
    check_finite(class_logits)
    labeled = labels != UNLABELED
    logits, known = chosen_rows(class_logits, labeled), labels[labeled]
    own = at_class(logits, known).double()

    def slope(log_temperature: float) -> float:
        """Of the NLL in 1 / T: above 0 where the temperature is too low."""
        return float((_expected(logits, math.exp(-log_temperature)) - own).mean())

    def nll(temperature: float) -> float:
        return float((_log_partition(logits, temperature) - own / temperature).mean())

    if slope(math.log(LOWEST)) <= 0:
        temperature = LOWEST
    elif slope(math.log(HIGHEST)) >= 0:
        temperature = HIGHEST
    else:
        temperature = math.exp(brentq(slope, math.log(LOWEST), math.log(HIGHEST), xtol=1e-10))
    return TemperatureFit(temperature, temperature in (LOWEST, HIGHEST), nll(1.0), nll(temperature), samples=len(known))


@chunked
def _expected(logits: Float[Tensor, "n classes"], sharpness: float) -> Float[Tensor, " n"]:
    """Of the logits, under the softmax of so many times the logits."""
    exact = logits.double()
    return ((exact * sharpness).softmax(dim=1) * exact).sum(dim=1)


@chunked
def _log_partition(logits: Float[Tensor, "n classes"], temperature: float) -> Float[Tensor, " n"]:
    return (logits.double() / temperature).logsumexp(dim=1)


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
