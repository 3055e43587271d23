"""Gradients and curvature of the cross-entropy in the last linear layer's weights, without a gradient a sample.

With features ``h_i`` (a trailing 1 stands for the bias), logits ``W h_i``, probabilities ``p_i`` and the one-hot label
``y_i``, sample i has the gradient ``g_i = (p_i - y_i) (x) h_i`` and the Gauss-Newton (here also Fisher and Hessian)
matrix ``(diag p_i - p_i p_i^T) (x) h_i h_i^T``. All sums are in float64, in chunks of some thousand samples.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from preceptor.chunking import ELEMENTS, concat_rows
from preceptor.context import ModelOutputs, SelectionData, TeacherSnapshot
from preceptor.errors import InputError

CHUNK = 4096
"""Samples per chunk; fewer with more than 512 classes."""
TOLERANCE = 1e-6
"""Relative residual at which conjugate gradients stop."""
WARN_ABOVE = 0.1
"""Relative residual above which a warning says that the scores are rough."""


class Chunk(NamedTuple):
    """Some samples in float64: the layer's inputs, the probabilities, and the probabilities minus the one-hot label."""

    inputs: Float[Tensor, "chunk dimensions"]
    probs: Float[Tensor, "chunk classes"]
    residual: Float[Tensor, "chunk classes"]


@dataclass(frozen=True)
class LastLayer:
    """Labeled samples and what the last linear layer computes from them.

    Args:
        outputs: with features.
        label: class numbers.
        has_bias: whether a 1 is appended to the features.

    Raises:
        InputError: no features, no samples, or a label that is no class.
    """

    outputs: ModelOutputs
    label: Int[Tensor, " n"]
    has_bias: bool

    def __post_init__(self) -> None:
        classes = self.outputs.logits.shape[1]
        if self.outputs.features is None:
            raise InputError("the last layer's gradients need its inputs: collect the selection data with features")
        if not len(self.label):
            raise InputError("the last layer's gradients need labeled samples, there are none")
        outside = (self.label < 0) | (self.label >= classes)
        if outside.any():
            raise InputError(f"label {int(self.label[outside][0])} with {classes} classes: leave out unlabeled samples")

    @property
    def shape(self) -> tuple[int, int]:
        """Classes, and dimensions with the one for the bias: the shape of the layer's weights."""
        assert self.outputs.features is not None
        return self.outputs.logits.shape[1], self.outputs.features.shape[1] + self.has_bias

    def chunks(self) -> Iterator[Chunk]:
        assert self.outputs.features is not None
        rows = min(CHUNK, max(1, ELEMENTS // self.shape[0]))
        pieces = (values.split(rows) for values in (self.outputs.logits, self.outputs.features, self.label))
        for logits, features, label in zip(*pieces, strict=True):
            probs = logits.double().softmax(dim=1)
            inputs = F.pad(features.double(), (0, int(self.has_bias)), value=1.0)
            yield Chunk(inputs, probs, probs - F.one_hot(label.long(), probs.shape[1]))

    def zeros(self, *shape: int) -> Float[Tensor, "..."]:
        """Float64 zeros on the samples' device."""
        return torch.zeros(shape, dtype=torch.float64, device=self.outputs.logits.device)


def mean_gradient(samples: LastLayer) -> Float[Tensor, "classes dimensions"]:
    """``mean_i g_i``, the gradient of the samples' mean cross-entropy."""
    total = samples.zeros(*samples.shape)
    for chunk in samples.chunks():
        total += chunk.residual.mT @ chunk.inputs
    return total / len(samples.label)


def held_out_gradient(
    selection_data: SelectionData, checkpoint: TeacherSnapshot
) -> Float[Tensor, "classes dimensions"]:
    """``g_val``: the :func:`mean_gradient` of the held-out samples at one checkpoint of the teacher.

    Raises:
        InputError: there are no held-out samples.
    """
    if checkpoint.held_out is None or selection_data.held_out_label is None:
        raise InputError("nothing is held out from training: keep some of the training set aside (never the test set)")
    return mean_gradient(LastLayer(checkpoint.held_out, selection_data.held_out_label, selection_data.has_bias))


def gradient_products(samples: LastLayer, direction: Float[Tensor, "classes dimensions"]) -> Float[Tensor, " n"]:
    """``<direction, g_i> = (p_i - y_i)^T direction h_i``."""
    products = (((chunk.inputs @ direction.mT) * chunk.residual).sum(dim=1) for chunk in samples.chunks())
    return concat_rows(products, len(samples.label))


def gradient_norms(samples: LastLayer) -> Float[Tensor, " n"]:
    """``|g_i| = |p_i - y_i| |h_i|``."""
    norms = (chunk.residual.norm(dim=1) * chunk.inputs.norm(dim=1) for chunk in samples.chunks())
    return concat_rows(norms, len(samples.label))


def gauss_newton(samples: LastLayer) -> Float[Tensor, "weights weights"]:
    """``mean_i (diag p_i - p_i p_i^T) (x) h_i h_i^T``, dense, the weights of a class adjacent.

    It is computed one pair of classes at a time: the gradients of single samples, [n, classes x dimensions], are never
    stored.
    """
    classes, dimensions = samples.shape
    total = samples.zeros(classes, dimensions, classes, dimensions)
    for chunk in samples.chunks():
        for row in range(classes):
            weighted = chunk.inputs * chunk.probs[:, row, None]
            total[row, :, row] += weighted.mT @ chunk.inputs
            for column in range(row + 1):  # the matrix is symmetric: the lower half is enough
                total[row, :, column] -= weighted.mT @ (chunk.inputs * chunk.probs[:, column, None])
    lower = total.view(classes * dimensions, -1).div_(len(samples.label)).tril_()
    return lower + lower.tril(-1).mT


def curvature_product(
    samples: LastLayer, direction: Float[Tensor, "classes dimensions"]
) -> Float[Tensor, "classes dimensions"]:
    """``H direction = mean_i (diag p_i - p_i p_i^T) direction h_i h_i^T``, without :func:`gauss_newton`'s matrix H."""
    total = samples.zeros(*samples.shape)
    for chunk in samples.chunks():
        weighted = chunk.probs * (chunk.inputs @ direction.mT)
        total += (weighted - chunk.probs * weighted.sum(dim=1, keepdim=True)).mT @ chunk.inputs
    return total / len(samples.label)


def solve_exact(
    samples: LastLayer, target: Float[Tensor, "classes dimensions"], damping: float
) -> Float[Tensor, "classes dimensions"]:
    """``(H + damping I)^-1 target`` with the dense :func:`gauss_newton` matrix H, by Cholesky factorization in float64.

    Raises:
        InputError: the damped matrix is not positive definite in float64.
    """
    curvature = gauss_newton(samples)
    curvature.diagonal().add_(damping)
    factor, failed = torch.linalg.cholesky_ex(curvature)
    if failed.any():
        raise _too_little_damping(damping)
    return torch.cholesky_solve(target.reshape(-1, 1), factor).view_as(target)


Solve = Callable[[Float[Tensor, "classes dimensions"]], Float[Tensor, "classes dimensions"]]


def kronecker_inverse(samples: LastLayer, damping: float) -> Solve:
    """What multiplies by ``(H + damping I)^-1``, H replaced by its exact diagonal in a Kronecker-factored eigenbasis.

    The basis ``U_G (x) U_A`` is that of ``G = mean_i (diag p_i - p_i p_i^T)`` and ``A = mean_i h_i h_i^T``; the
    diagonal of H in it is ``mean_i (u_a^T h_i)^2 u_c^T (diag p_i - p_i p_i^T) u_c``. It is exact when all samples share
    one p, and rougher the more p and h go together: do not read more into its ranking than into that of a proxy.
    Memory grows with classes^2 + dimensions^2 instead of (classes dimensions)^2.

    George et al., "Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis" (EKFAC), 2018,
    arXiv:1806.03884.
    """
    classes, dimensions = samples.shape
    of_classes, of_inputs = samples.zeros(classes, classes), samples.zeros(dimensions, dimensions)
    for chunk in samples.chunks():
        of_classes += chunk.probs.sum(dim=0).diag() - chunk.probs.mT @ chunk.probs
        of_inputs += chunk.inputs.mT @ chunk.inputs
    of_classes, of_inputs = torch.linalg.eigh(of_classes)[1], torch.linalg.eigh(of_inputs)[1]
    diagonal = samples.zeros(classes, dimensions)
    for chunk in samples.chunks():
        variance = chunk.probs @ of_classes.square() - (chunk.probs @ of_classes).square()
        diagonal += variance.clamp(min=0).mT @ (chunk.inputs @ of_inputs).square()
    diagonal = diagonal / len(samples.label) + damping

    def solve(target: Tensor) -> Tensor:
        rotated = of_classes.mT @ target @ of_inputs
        solved: Tensor = of_classes @ (rotated / diagonal) @ of_inputs.mT
        return solved

    return solve


def solve_kronecker(
    samples: LastLayer, target: Float[Tensor, "classes dimensions"], damping: float, steps: int = 0
) -> Float[Tensor, "classes dimensions"]:
    """``(H + damping I)^-1 target`` by :func:`kronecker_inverse`, refined with H itself.

    The refinement is by conjugate gradients, preconditioned by that inverse (Hestenes and Stiefel, "Methods of
    Conjugate Gradients for Solving Linear Systems", 1952): at most ``steps`` of them, fewer once the residual is at
    most ``TOLERANCE`` of the target's norm; 0 is the Kronecker-factored solution. Each takes a
    :func:`curvature_product`. The damping is above 0.

    Raises:
        InputError: a step shows that the damped matrix is not positive definite in float64.
    """
    inverse = kronecker_inverse(samples, damping)
    solution = inverse(target)
    if not steps:
        return solution
    residual = target - curvature_product(samples, solution) - damping * solution
    direction, gain = torch.zeros_like(target), target.new_tensor(torch.inf)
    for _ in range(steps):
        if residual.norm() <= TOLERANCE * target.norm():
            break
        preconditioned = inverse(residual)
        previous, gain = gain, (residual * preconditioned).sum()
        direction = preconditioned + gain / previous * direction
        change = curvature_product(samples, direction) + damping * direction
        curvature = (direction * change).sum()
        if not 0 < curvature < torch.inf:
            raise _too_little_damping(damping)
        solution = solution + gain / curvature * direction
        residual = residual - gain / curvature * change
    rough = float(residual.norm() / target.norm())
    if rough > WARN_ABOVE:
        warnings.warn(
            f"influence: after {steps} steps the residual is {rough:.2g} of the target's norm, so the scores are "
            "rough: raise selection.steps or selection.damping",
            stacklevel=2,
        )
    return solution


def _too_little_damping(damping: float) -> InputError:
    return InputError(f"damping = {damping}: too small for these features, the curvature cannot be inverted: raise it")
