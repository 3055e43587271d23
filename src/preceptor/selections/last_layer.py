"""Gradients and curvature of the cross-entropy in the last linear layer's weights, without a gradient a sample.

With features ``h_i`` (a trailing 1 stands for the bias), logits ``W h_i``, probabilities ``p_i`` and the one-hot label
``y_i``, sample i has the gradient ``g_i = (p_i - y_i) (x) h_i`` and the Gauss-Newton (here also Fisher and Hessian)
matrix ``(diag p_i - p_i p_i^T) (x) h_i h_i^T``. Everything is summed in float64, some thousand samples at a time.
"""

import warnings
from collections.abc import Iterator
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
"""Samples that are in float64 at a time; fewer of more than 512 classes."""
ENOUGH = 1e-6
"""Share of the target's norm that conjugate gradients may leave unsolved."""
ROUGH = 0.1
"""Share from which on what they leave unsolved is worth a warning."""


class Part(NamedTuple):
    """Some samples in float64: what the layer is given, the probabilities it leads to, and these minus the label."""

    inputs: Float[Tensor, "part dimensions"]
    probs: Float[Tensor, "part classes"]
    residual: Float[Tensor, "part classes"]


@dataclass(frozen=True)
class LastLayer:
    """LabeledData samples as the last linear layer meets them.

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
            raise InputError("the last layer's gradients need its inputs: gather the evidence with features")
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

    def parts(self) -> Iterator[Part]:
        """All samples, in their order."""
        assert self.outputs.features is not None
        rows = min(CHUNK, max(1, ELEMENTS // self.shape[0]))
        pieces = (values.split(rows) for values in (self.outputs.logits, self.outputs.features, self.label))
        for logits, features, label in zip(*pieces, strict=True):
            probs = logits.double().softmax(dim=1)
            inputs = F.pad(features.double(), (0, int(self.has_bias)), value=1.0)
            yield Part(inputs, probs, probs - F.one_hot(label.long(), probs.shape[1]))

    def zeros(self, *shape: int) -> Float[Tensor, "..."]:
        """Float64 where the samples are."""
        return torch.zeros(shape, dtype=torch.float64, device=self.outputs.logits.device)


def mean_gradient(samples: LastLayer) -> Float[Tensor, "classes dimensions"]:
    """``mean_i g_i``, the gradient of the samples' mean cross-entropy."""
    total = samples.zeros(*samples.shape)
    for part in samples.parts():
        total += part.residual.mT @ part.inputs
    return total / len(samples.label)


def held_out_gradient(
    selection_data: SelectionData, checkpoint: TeacherSnapshot
) -> Float[Tensor, "classes dimensions"]:
    """``g_val``: the :func:`mean_gradient` of the held-out samples at one of the evidence's checkpoints.

    Raises:
        InputError: there are no held-out samples.
    """
    if checkpoint.held_out is None or selection_data.held_out_label is None:
        raise InputError("nothing is held out from training: keep some of the training set aside (never the test set)")
    return mean_gradient(LastLayer(checkpoint.held_out, selection_data.held_out_label, selection_data.has_bias))


def gradient_products(samples: LastLayer, direction: Float[Tensor, "classes dimensions"]) -> Float[Tensor, " n"]:
    """``<direction, g_i> = (p_i - y_i)^T direction h_i``."""
    products = (((part.inputs @ direction.mT) * part.residual).sum(dim=1) for part in samples.parts())
    return concat_rows(products, len(samples.label))


def gradient_norms(samples: LastLayer) -> Float[Tensor, " n"]:
    """``|g_i| = |p_i - y_i| |h_i|``."""
    norms = (part.residual.norm(dim=1) * part.inputs.norm(dim=1) for part in samples.parts())
    return concat_rows(norms, len(samples.label))


def gauss_newton(samples: LastLayer) -> Float[Tensor, "weights weights"]:
    """``mean_i (diag p_i - p_i p_i^T) (x) h_i h_i^T``, dense; a class's weights stand together.

    It is built block by pair of classes: no sample's gradient is ever written down.
    """
    classes, dimensions = samples.shape
    total = samples.zeros(classes, dimensions, classes, dimensions)
    for part in samples.parts():
        for row in range(classes):
            of_row = part.inputs * part.probs[:, row, None]
            total[row, :, row] += of_row.mT @ part.inputs
            for column in range(row + 1):
                total[row, :, column] -= of_row.mT @ (part.inputs * part.probs[:, column, None])
    lower = total.view(classes * dimensions, -1).div_(len(samples.label)).tril_()
    return lower + lower.tril(-1).mT


def curvature_product(
    samples: LastLayer, direction: Float[Tensor, "classes dimensions"]
) -> Float[Tensor, "classes dimensions"]:
    """``H direction = mean_i (diag p_i - p_i p_i^T) direction h_i h_i^T``, without :func:`gauss_newton`'s matrix H."""
    total = samples.zeros(*samples.shape)
    for part in samples.parts():
        weighed = part.probs * (part.inputs @ direction.mT)
        total += (weighed - part.probs * weighed.sum(dim=1, keepdim=True)).mT @ part.inputs
    return total / len(samples.label)


def solve_exact(
    samples: LastLayer, target: Float[Tensor, "classes dimensions"], damping: float
) -> Float[Tensor, "classes dimensions"]:
    """``(H + damping I)^-1 target`` with the dense :func:`gauss_newton` matrix H, by Cholesky's factors in float64.

    Raises:
        InputError: the damped matrix is not positive definite in float64.
    """
    curvature = gauss_newton(samples)
    curvature.diagonal().add_(damping)
    factor, failed = torch.linalg.cholesky_ex(curvature)
    if failed.any():
        raise _too_little(damping)
    return torch.cholesky_solve(target.reshape(-1, 1), factor).view_as(target)


@dataclass(frozen=True)
class KroneckerInverse:
    """``(H + damping I)^-1`` with H replaced by its exact diagonal in a Kronecker-factored eigenbasis.

    The basis ``U_G (x) U_A`` is that of ``G = mean_i (diag p_i - p_i p_i^T)`` and ``A = mean_i h_i h_i^T``; the
    diagonal of H in it is ``mean_i (u_a^T h_i)^2 u_c^T (diag p_i - p_i p_i^T) u_c``. It is exact when all samples share
    one p, and rougher the more p and h go together: do not read more into its ranking than into that of a proxy.
    Memory grows with classes^2 + dimensions^2 instead of (classes dimensions)^2.

    Args:
        of_classes: ``U_G``, eigenvectors in columns.
        of_inputs: ``U_A``, eigenvectors in columns.
        diagonal: of the damped H in this basis.

    George et al., "Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis" (EKFAC), 2018,
    arXiv:1806.03884.
    """

    of_classes: Float[Tensor, "classes classes"]
    of_inputs: Float[Tensor, "dimensions dimensions"]
    diagonal: Float[Tensor, "classes dimensions"]

    @classmethod
    def of(cls, samples: LastLayer, damping: float) -> "KroneckerInverse":
        """That of some samples, in two passes over them."""
        of_classes, of_inputs = _kronecker_basis(samples)
        diagonal = samples.zeros(*samples.shape)
        for part in samples.parts():
            variance = part.probs @ of_classes.square() - (part.probs @ of_classes).square()
            diagonal += variance.clamp(min=0).mT @ (part.inputs @ of_inputs).square()
        return cls(of_classes, of_inputs, diagonal / len(samples.label) + damping)

    def __call__(self, target: Float[Tensor, "classes dimensions"]) -> Float[Tensor, "classes dimensions"]:
        """The inverse times ``target``."""
        rotated = self.of_classes.mT @ target @ self.of_inputs
        solved: Tensor = self.of_classes @ (rotated / self.diagonal) @ self.of_inputs.mT
        return solved


def solve_kronecker(
    samples: LastLayer, target: Float[Tensor, "classes dimensions"], damping: float, steps: int = 0
) -> Float[Tensor, "classes dimensions"]:
    """``(H + damping I)^-1 target`` by :class:`KroneckerInverse`, then refined with H itself.

    The refinement is by conjugate gradients, preconditioned by the Kronecker-factored inverse. It needs one
    :func:`curvature_product` a step, and one to begin with.

    Args:
        samples: that H is the mean over.
        target: what the inverse is applied to.
        damping: above 0.
        steps: of conjugate gradients at most; 0 leaves the Kronecker-factored solution as it is. They end once the
            residual has fallen to ``ENOUGH`` of the target's norm.

    Raises:
        InputError: the damped matrix is not positive definite in float64, as far as the steps have seen it.

    Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    """
    inverse = KroneckerInverse.of(samples, damping)
    solution = inverse(target)
    return _refined(solution, samples, target, damping, inverse, steps) if steps else solution


def _refined(
    solution: Float[Tensor, "classes dimensions"],
    samples: LastLayer,
    target: Float[Tensor, "classes dimensions"],
    damping: float,
    inverse: KroneckerInverse,
    steps: int,
) -> Float[Tensor, "classes dimensions"]:
    residual = target - curvature_product(samples, solution) - damping * solution
    direction, gain = torch.zeros_like(target), target.new_tensor(torch.inf)
    for _ in range(steps):
        if residual.norm() <= ENOUGH * target.norm():
            break
        ahead = inverse(residual)
        before, gain = gain, (residual * ahead).sum()
        direction = ahead + gain / before * direction
        change = curvature_product(samples, direction) + damping * direction
        bend = (direction * change).sum()
        if not 0 < bend < torch.inf:
            raise _too_little(damping)
        solution = solution + gain / bend * direction
        residual = residual - gain / bend * change
    _warn_if_rough(float(residual.norm() / target.norm()), steps)
    return solution


def _warn_if_rough(residual: float, steps: int) -> None:
    """Scores far from the curvature's inverse would rank samples wrongly, and nobody would notice."""
    if residual > ROUGH:
        warnings.warn(
            f"influence: after {steps} steps the residual is {residual:.2g} of the target's norm, so the scores are "
            "rough: give the selection more steps (select.steps), or more damping",
            stacklevel=2,
        )


def _too_little(damping: float) -> InputError:
    return InputError(f"damping = {damping}: too small for these features, the curvature cannot be inverted")


def _kronecker_basis(
    samples: LastLayer,
) -> tuple[Float[Tensor, "classes classes"], Float[Tensor, "dimensions dimensions"]]:
    """Eigenvectors, in columns, of the mean curvature in the logits and of the mean square of the inputs."""
    classes, dimensions = samples.shape
    of_classes, of_inputs = samples.zeros(classes, classes), samples.zeros(dimensions, dimensions)
    for part in samples.parts():
        of_classes += part.probs.sum(dim=0).diag() - part.probs.mT @ part.probs
        of_inputs += part.inputs.mT @ part.inputs
    return torch.linalg.eigh(of_classes)[1], torch.linalg.eigh(of_inputs)[1]
