"""Recalibration by an affine map of the logits, fitted on labeled samples: one number, one per class, or a matrix."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from preceptor.context import BatchClasses, SelectionData
from preceptor.errors import InputError
from preceptor.fitting import FitPart, FittedOnLabels, fit_scale
from preceptor.registry import register, registered_name

NEWTON_STEPS, CONVERGED = 50, 1e-11
"""At most so many steps, until no element of the gradient is larger."""


def affine(
    logits: Float[Tensor, "n classes"], weight: Float[Tensor, "..."], bias: Float[Tensor, " classes"]
) -> Float[Tensor, "n classes"]:
    """``W z + b``, with a matrix [classes, classes], its diagonal [classes], or one number [1] for ``W``."""
    return (logits @ weight.T if weight.dim() == 2 else logits * weight) + bias


def fit_affine(
    inputs: Float[Tensor, "n classes"], label: Int[Tensor, " n"], weight: Float[Tensor, "..."], l2: float
) -> tuple[Tensor, Tensor]:
    """``W`` and ``b`` with the least ``mean_i -ln softmax(W x_i + b)_y + l2 / 2 (|W - W_0|^2 + |b|^2)``, in float64.

    The problem is strictly convex: Newton's method from ``W_0 = weight`` and ``b = 0``, its steps by conjugate
    gradients, halved until they lower the objective.

    Args:
        inputs: what is mapped.
        label: class numbers.
        weight: ``W_0``, a matrix or its diagonal.
        l2: of the penalty, above 0.
    """
    rows, classes = inputs.shape
    values, start = inputs.double(), torch.cat([weight.double().flatten(), inputs.new_zeros(classes).double()])
    right = F.one_hot(label.long(), classes).double()

    def map_of(theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[:-classes].reshape(weight.shape), theta[-classes:]

    def to_parameters(error: Tensor) -> Tensor:
        """The gradient in the parameters, of one in the outputs of the map."""
        of_weight = error.T @ values if weight.dim() == 2 else (error * values).sum(dim=0)
        return torch.cat([of_weight.flatten(), error.sum(dim=0)]) / rows

    def objective(theta: Tensor) -> Tensor:
        penalty = l2 / 2 * (theta - start).square().sum()
        return F.cross_entropy(affine(values, *map_of(theta)), label.long()) + penalty

    theta = start
    for _ in range(NEWTON_STEPS):
        probs = affine(values, *map_of(theta)).softmax(dim=1)
        gradient = to_parameters(probs - right) + l2 * (theta - start)
        if float(gradient.abs().max()) < CONVERGED:
            break

        def curvature(direction: Tensor, probs: Tensor = probs) -> Tensor:
            change = probs * affine(values, *map_of(direction))
            return to_parameters(change - probs * change.sum(dim=1, keepdim=True)) + l2 * direction

        step, before = conjugate_gradients(curvature, gradient), float(objective(theta))
        while float(objective(theta - step)) > before + 1e-12 * abs(before):
            step = step / 2
        theta = theta - step
    return map_of(theta)


def conjugate_gradients(product: Callable[[Tensor], Tensor], target: Tensor, steps: int = 500) -> Tensor:
    """Solve ``A x = target`` for a positive definite ``A``, given its product with a vector."""
    solution, residual = torch.zeros_like(target), target
    direction, squared = residual, residual.square().sum()
    enough = squared * squared.clamp(max=1e-2)  # Newton's steps need not be exact before the last ones
    for _ in range(steps):
        if bool(squared <= enough):
            break
        image = product(direction)
        length = squared / (direction * image).sum()
        solution, residual = solution + length * direction, residual - length * image
        squared, before = residual.square().sum(), squared
        direction = residual + squared / before * direction
    return solution


class Scaling(FittedOnLabels):
    """Base of the affine maps.

    Args:
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.
        l2: penalty on the distance from the identity, above 0. Default 0.01, this project's choice.

    Raises:
        InputError: an ``l2`` that is not above 0.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("weight", "bias")

    weight: Tensor
    bias: Tensor

    def __init__(self, fit_on: FitPart = "held_out", l2: float = 0.01) -> None:
        super().__init__(fit_on)
        if not 0 < l2 < math.inf:
            raise InputError(f"{registered_name(self)}: l2 = {l2}: expected a finite number above 0")
        self.l2 = l2

    def inputs(self, logits: BatchClasses) -> BatchClasses:
        """What is mapped; the logits themselves unless a method says otherwise."""
        return logits

    @abstractmethod
    def identity(self, classes: int) -> Float[Tensor, "..."]:
        """The map that changes nothing: a matrix, its diagonal, or one number."""

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the map; `InputError` where there are no labeled samples to fit it on."""
        samples = self.labeled(selection_data)
        start = self.identity(samples.logits.shape[1]).to(samples.logits.device)
        weight, bias = fit_affine(self.inputs(samples.logits.double()), samples.label, start, self.l2)
        self.store(weight=weight, bias=bias)

    def forward(self, logits: BatchClasses) -> BatchClasses:
        """The recalibrated logits; `InputError` before the fit."""
        self.check_fitted()
        return affine(self.inputs(logits), self.weight.to(logits.dtype), self.bias.to(logits.dtype))


@register("recalibration", "temperature_scaling", paper="Guo et al., 2017, arXiv:1706.04599 (temperature scaling)")
class TemperatureScaling(FittedOnLabels):
    """Divide the teacher's logits by one temperature, fitted on held-out samples.

    It changes how sure the teacher is, never its prediction. The temperature is from 0.05 to 20; that of the
    ``temperature`` slot comes on top.

    Args:
        fit_on: "held_out" (default): labeled samples that are held out from training; "train": the training samples,
            for a teacher whose outputs on them are out of fold.
        prior: strength, 0 or more, of a normal prior on the temperature's logarithm, which counts where samples are
            few: its variance is ``1 / prior``. Default 0, as in the paper; the prior is this project's.

    Raises:
        InputError: a ``prior`` below 0 or not finite.
    """

    fit_buffers: ClassVar[tuple[str, ...]] = ("scale",)

    scale: Tensor

    def __init__(self, fit_on: FitPart = "held_out", prior: float = 0.0) -> None:
        super().__init__(fit_on)
        if not 0 <= prior < math.inf:
            raise InputError(f"temperature_scaling: prior = {prior}: expected a finite number, 0 or more")
        self.prior = prior

    def fit(self, selection_data: SelectionData) -> None:
        """Fit the temperature; `InputError` where there are no labeled samples to fit it on."""
        samples = self.labeled(selection_data)
        self.store(scale=fit_scale(samples.logits, samples.label, prior=self.prior).reshape(1))

    def forward(self, logits: BatchClasses) -> BatchClasses:
        """The logits over the temperature; `InputError` before the fit."""
        self.check_fitted()
        return logits * self.scale.to(logits.dtype)


@register("recalibration", "vector_scaling", paper="Guo et al., 2017, arXiv:1706.04599 (vector scaling)")
class VectorScaling(Scaling):
    """Scale and shift the teacher's logit of each class, fitted on held-out samples: ``z'_c = w_c z_c + b_c``.

    Its options are those of :class:`Scaling`.
    """

    def identity(self, classes: int) -> Float[Tensor, " classes"]:
        return torch.ones(classes, dtype=torch.float64)


@register("recalibration", "dirichlet", paper="Kull et al., 2019, arXiv:1910.12656 (Dirichlet calibration)")
class Dirichlet(Scaling):
    """Map the teacher's log-probabilities by a matrix, fitted on held-out samples: ``ln p' = W ln p + b``.

    The paper penalizes the elements off the diagonal and the shift; here the penalty is on the distance from the
    identity, so that a class without samples stays as it is (this project's choice). With 100 classes it fits 10,100
    numbers: give it some thousand samples or more, or take ``vector_scaling``. Its options are those of
    :class:`Scaling`.
    """

    def inputs(self, logits: BatchClasses) -> BatchClasses:
        return logits.log_softmax(dim=1)

    def identity(self, classes: int) -> Float[Tensor, "classes classes"]:
        return torch.eye(classes, dtype=torch.float64)
