"""Temperature scaling: one number that calibrates probabilities and changes no prediction."""

import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from preceptor.chunking import chosen_rows, chunked
from preceptor.context import UNLABELED, at_class
from preceptor.metrics.checks import check_finite, check_inputs

LOWEST, HIGHEST = 0.01, 100.0
"""Temperatures outside are not looked for: beyond, probabilities are one-hot or uniform for any usual logits."""


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
