"""Trust functions: how probable it is that the teacher is right, learned from its outputs on labeled samples."""

import math
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.chunking import chunked
from preceptor.context import BatchContext, PerSample, SelectionData, predicted_class
from preceptor.errors import InputError
from preceptor.fitting import FitPart, FittedOnLabels, labeled_outputs
from preceptor.registry import register
from preceptor.selections.ranked import RankedSelection

NEWTON_STEPS = 30
"""Always as many, so that equal inputs give equal bits."""


def trust_inputs(
    logits: Float[Tensor, "n classes"], features: Float[Tensor, "n dimensions"] | None = None
) -> Float[Tensor, "n inputs"]:
    """What trust is computed from: the log-probabilities, the lead of the first over the second, the entropy, features.

    The lead is the difference of the two largest log-probabilities.
    """
    log_probs = logits.log_softmax(dim=1)
    first, second = log_probs.topk(2, dim=1).values.unbind(dim=1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=1)
    columns = [log_probs, (first - second).unsqueeze(1), entropy.unsqueeze(1)]
    return torch.cat(columns if features is None else [*columns, features.to(logits.dtype)], dim=1)


def fit_trust(
    inputs: Float[Tensor, "n inputs"], right: Bool[Tensor, " n"], l2: float
) -> tuple[Float[Tensor, " inputs"], Float[Tensor, ""]]:
    """Weights ``w`` and ``b`` of the logistic regression of 1[teacher right], its two classes weighted alike; float64.

    The least ``sum_i c_i BCE(sigmoid(w.x_i + b), right_i) / n + l2 / 2 (|w|^2 + b^2)`` over standardized inputs, with
    ``c_i = n / (2 n_of_its_class)``; the weights returned are those of the inputs as they came. Newton's method.

    The paper learns an MLP of the last hidden state; a logistic regression is this project's choice.
    """
    values, target = inputs.double(), right.double()
    mean, deviation = values.mean(dim=0), values.std(dim=0, correction=0).clamp(min=1e-6)
    columns = torch.cat([(values - mean) / deviation, torch.ones_like(values[:, :1])], dim=1)
    weight_of_class = [len(values) / (2 * number.clamp(min=1)) for number in ((1 - target).sum(), target.sum())]
    share = torch.where(right, weight_of_class[1], weight_of_class[0]) / len(values)
    penalty = l2 * torch.eye(columns.shape[1], dtype=columns.dtype, device=columns.device)
    theta = torch.zeros_like(columns[0])
    for _ in range(NEWTON_STEPS):
        trust = (columns @ theta).sigmoid()
        gradient = columns.T @ (share * (trust - target)) + l2 * theta
        hessian = (columns * (share * trust * (1 - trust)).unsqueeze(1)).T @ columns + penalty
        step = torch.linalg.solve(hessian, gradient)
        theta = theta - step / step.norm().clamp(min=1)  # at most of length 1: far from the optimum it overshoots
    weight = theta[:-1] / deviation
    return weight, theta[-1] - weight @ mean


def _check(name: str, l2: float) -> None:
    if not 0 < l2 < math.inf:
        raise InputError(f"{name}: l2 = {l2}: expected a finite number above 0")


@register("selection", "trust", paper="trust functions, ICML 2026, arXiv:2606.01000; reconstruction: a logistic one")
class Trust(RankedSelection):
    """Distill the samples on which the teacher is most probably right, as learned on held-out samples.

    ``score_i = sigmoid(w.h_i + b)``, with ``h`` the teacher's log-probabilities, the lead of its first class, its
    entropy and, with ``features``, the inputs of its last layer. Where the trust function comes from other data it is
    worth less: refit it for each.

    Args:
        keep: share of the labeled samples to distill, 0 to 1. Default 0.7, as for every selection by score.
        ascending: keep the least trusted instead. Default False.
        features: use the inputs of the teacher's last linear layer, too, which only a network has. Default False.
        l2: penalty on the weights, above 0. Default 0.01, this project's choice.
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.

    Raises:
        InputError: a ``keep`` that is no share, an ``l2`` that is not above 0.
    """

    def __init__(
        self,
        keep: float = 0.7,
        ascending: bool = False,
        features: bool = False,
        l2: float = 0.01,
        fit_on: FitPart = "held_out",
    ) -> None:
        super().__init__(keep, ascending)
        _check("trust", l2)
        self.features = self.needs_features = features
        self.l2 = l2
        self.fit_on: FitPart = fit_on
        self.needs_held_out = fit_on != "train"

    def score(self, selection_data: SelectionData) -> Float[Tensor, " n"]:
        samples = labeled_outputs(selection_data, self.fit_on, "trust")
        inputs = trust_inputs(samples.logits.double(), samples.features if self.features else None)
        weight, bias = fit_trust(inputs, predicted_class(samples.logits) == samples.label, self.l2)

        @chunked
        def trust(logits: Tensor, *features: Tensor) -> Tensor:
            return (trust_inputs(logits.double(), *features) @ weight + bias).sigmoid()

        train = selection_data.teacher.train
        return (
            trust(train.logits, train.features) if self.features and train.features is not None else trust(train.logits)
        )


@register("selection", "trust_weight", paper="trust functions, ICML 2026, arXiv:2606.01000; reconstruction: as weights")
class TrustWeight(FittedOnLabels):
    """Weigh each sample by how probably the teacher is right on it, as learned on held-out samples.

    The trust of ``trust``, of the view that the student sees and of unlabeled samples, too: 0 to 1, from the teacher's
    logits alone.

    Args:
        l2: penalty on the weights of the trust function, above 0. Default 0.01, this project's choice.
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.

    Raises:
        InputError: an ``l2`` that is not above 0.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("slope", "bias")

    slope: Tensor
    bias: Tensor

    def __init__(self, l2: float = 0.01, fit_on: FitPart = "held_out") -> None:
        super().__init__(fit_on)
        _check("trust_weight", l2)
        self.l2 = l2

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the trust function; `InputError` where there are no labeled samples to fit it on."""
        samples = self.labeled(selection_data)
        right = predicted_class(samples.logits) == samples.label
        slope, bias = fit_trust(trust_inputs(samples.logits.double()), right, self.l2)
        self.store(slope=slope, bias=bias.reshape(1))

    def forward(self, context: BatchContext) -> PerSample:
        """The trust in the teacher on each sample; `InputError` before the fit."""
        self.check_fitted()
        logits = context.teacher_logits
        return (trust_inputs(logits) @ self.slope.to(logits.dtype) + self.bias.to(logits.dtype)).sigmoid()
