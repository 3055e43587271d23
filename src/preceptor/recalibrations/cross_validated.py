"""The affine map of the teacher's log-probabilities that cross-validation chooses: as many numbers as samples bear."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from preceptor.context import BatchClasses, SelectionData
from preceptor.fitting import FitPart, FittedOnLabels, fit_scale
from preceptor.recalibrations.scaling import affine, fit_affine
from preceptor.registry import register

FOLDS = 5
STRENGTHS = (30.0, 3.0)
"""Of the pull to the identity, in samples: the penalty on the mean loss is one of these over their number."""

SCALE_PRIOR = 4.0
"""Of the temperature, this project's choice: a teacher that is right on all samples would have no end of it."""

LARGEST_MATRIX = 50
"""Classes up to which a whole matrix is tried: it has their square of numbers, and takes time."""

MOST_SAMPLES = 5000
"""Of more as many are drawn: time and memory stay bounded, and the map would hardly change."""

Map = tuple[Tensor, Tensor, Tensor]
"""Inverse temperature [1], weight [classes] or [classes, classes], and bias [classes]."""


def scaled_affine(logits: BatchClasses, scale: Tensor, weight: Tensor, bias: Tensor) -> BatchClasses:
    """``W ln softmax(s z) + b``."""
    return affine((logits * scale).log_softmax(dim=1), weight, bias)


def fit_scaled_affine(
    logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"], weight: Tensor, strength: float | None
) -> Map:
    """The temperature first, then the map of what it gives; without a strength, the temperature alone."""
    scale, bias = fit_scale(logits, label, prior=SCALE_PRIOR), logits.new_zeros(logits.shape[1]).double()
    if strength is not None:
        inputs = (logits.double() * scale).log_softmax(dim=1)
        weight, bias = fit_affine(inputs, label, weight, strength / len(logits))
    return scale.reshape(1), weight, bias


def best_map(logits: Float[Tensor, "n classes"], label: Int[Tensor, " n"], seed: int) -> Map:
    """The candidate with the least cross-entropy on samples that it was not fitted on, fitted on all of them.

    Candidates are a temperature, and with it a factor and a shift a class, or a matrix, each pulled to the identity
    with two strengths. Of equals it is the first, which has the fewest numbers. ``seed`` draws the folds.
    """
    classes = logits.shape[1]
    per_class, matrix = (make(classes, dtype=torch.float64, device=logits.device) for make in (torch.ones, torch.eye))
    forms = [per_class, matrix] if classes <= LARGEST_MATRIX else [per_class]
    candidates = [(per_class, None), *((form, strength) for form in forms for strength in STRENGTHS)]
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed)).to(logits.device)
    if len(order) > MOST_SAMPLES:
        chosen = order[:MOST_SAMPLES]
        return best_map(logits[chosen], label[chosen], seed)
    folds = [fold for fold in order.chunk(FOLDS) if len(fold) < len(logits)]
    losses = [_held_out_loss(logits, label, folds, *candidate) for candidate in candidates] if folds else [0.0]
    return fit_scaled_affine(logits, label, *candidates[losses.index(min(losses))])


def _held_out_loss(
    logits: Float[Tensor, "n classes"],
    label: Int[Tensor, " n"],
    folds: list[Tensor],
    weight: Tensor,
    strength: float | None,
) -> float:
    """Summed over the folds, each under the map of the others."""
    total = 0.0
    for fold in folds:
        rest = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        rest[fold] = False
        mapped = scaled_affine(logits[fold].double(), *fit_scaled_affine(logits[rest], label[rest], weight, strength))
        total += float(functional.cross_entropy(mapped, label[fold], reduction="sum"))
    return total


@register(
    "recalibration",
    "cross_validated",
    paper="this project's own choice among temperature, vector (Guo et al., 2017) and Dirichlet (Kull et al., 2019)",
)
class CrossValidated(FittedOnLabels):
    """The map of the teacher's log-probabilities that does best on labeled samples it was not fitted on.

    ``z' = W ln softmax(s z) + b``. A temperature ``s``, which only changes how sure the teacher is; with it a factor
    and a shift a class, which undo a prior or a shift of the inputs; or a matrix, which also undoes confusions of
    classes. Five-fold cross-validation says which one the samples bear.

    Args:
        fit_on: see :class:`~preceptor.fitting.FittedOnLabels`. Default "held_out".
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("scale", "weight", "bias")

    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, fit_on: FitPart = "held_out") -> None:
        super().__init__(fit_on)

    def fit(self, selection_data: SelectionData) -> None:
        """Choose and fit the map; `InputError` where there are no labeled samples to fit it on."""
        samples = self.labeled(selection_data)
        scale, weight, bias = best_map(samples.logits, samples.label.long(), selection_data.seed)
        self.store(scale=scale, weight=weight, bias=bias)

    def forward(self, logits: BatchClasses) -> BatchClasses:
        """The recalibrated logits; `InputError` before the fit."""
        self.check_fitted()
        return scaled_affine(logits, *(part.to(logits.dtype) for part in (self.scale, self.weight, self.bias)))
