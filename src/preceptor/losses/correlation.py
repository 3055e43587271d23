"""Losses by correlation of student and teacher rows: of values (Pearson), of ranks (Spearman), and both (CMKD)."""

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from preceptor.component_types import TargetSpace
from preceptor.context import BatchClasses, Classes, PerSample, Temperatures, column, z_score
from preceptor.errors import InputError
from preceptor.losses.soft_rank import permutahedron_soft_rank, window_soft_rank
from preceptor.registry import register, registered_name

On = Literal["prob", "z", "plain_prob"]
"""Input of Pearson: ``prob``, the softmax of z-scores over T; ``z``, the z-scores (the same as the logits); or, as in
DIST, ``plain_prob``, the softmax of the logits over T."""

Rank = Literal["window", "permutahedron"]
"""Which soft rank: see :mod:`preceptor.losses.soft_rank`."""

MIN_NORM = 1e-4
"""Floor under the norm of a centered row: the square root of the 1e-8 under a product of two norms in DIST's code."""

Weighting = Literal["ranks_when_hard", "values_when_hard", "static"]
"""Which of the two losses weighs more for a hard sample; ``static`` is half and half for every sample."""


def pearson(first: BatchClasses, second: BatchClasses, eps: float = MIN_NORM) -> PerSample:
    """``<a - mean a, b - mean b> / (max(|a - mean a|, eps) max(|b - mean b|, eps))`` per row, -1 to 1.

    A constant row correlates 0. The gradient on a row is at most 1 / eps. With 1e-8 under the product of the norms, as
    in the paper's code, a student of constant logits (a last layer that starts at zero) would get gradients of 1e6.

    Huang et al., "Knowledge Distillation from A Stronger Teacher" (DIST), 2022, arXiv:2205.10536.
    """
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    norms: Tensor = first.norm(dim=1).clamp(min=eps) * second.norm(dim=1).clamp(min=eps)
    return (first * second).sum(dim=1) / norms


def pearson_loss(
    student_logits: BatchClasses, target_logits: BatchClasses, temperature: Temperatures = 1.0, on: On = "prob"
) -> PerSample:
    """``1 - rho``, 0 to 2, of the z-scores or of a softmax over T of the z-scores or the plain logits; see ``On``."""
    student, teacher = student_logits, target_logits
    if on != "plain_prob":
        student, teacher = z_score(student), z_score(teacher)
    if on != "z":
        divisor = column(temperature)
        student, teacher = (student / divisor).softmax(dim=1), (teacher / divisor).softmax(dim=1)
    return 1 - pearson(student, teacher)


def spearman_loss(
    student_logits: BatchClasses, target_logits: BatchClasses, rank: Rank = "window", strength: float | None = None
) -> PerSample:
    """``1 - rho`` of the soft ranks of z-scored logits; 0 to 2. The strength defaults to 1 / classes."""
    chosen = 1 / student_logits.shape[1] if strength is None else strength
    soft_rank = window_soft_rank if rank == "window" else permutahedron_soft_rank
    return 1 - pearson(soft_rank(z_score(student_logits), chosen), soft_rank(z_score(target_logits), chosen))


def difficulty(target_logits: BatchClasses) -> PerSample:
    """The teacher's entropy at temperature 1 over ln C, 0 (certain) to 1 (uniform)."""
    log_probs = target_logits.log_softmax(dim=1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=1)
    return (entropy / math.log(target_logits.shape[1])).clamp(max=1)  # rounding alone exceeds it


def is_degenerate(rank: Rank, strength: float, classes: int) -> bool:
    """Whether the strength makes the soft rank of z-scores (nearly) linear, so that Spearman becomes Pearson.

    The projection pools every class of a normal row from about 1 on with 4 classes, 6 / C with 10 and 8 / C with 100;
    the window reaches across the whole row from about 5 on.
    """
    return strength * classes >= min(classes, 6) if rank == "permutahedron" else strength >= 5


class _CorrelatesClasses:
    """What the losses that correlate the classes of a row have in common."""

    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = True

    def check_classes(self, classes: int) -> None:
        """Refuse fewer than 3 classes.

        Raises:
            InputError: with two, every correlation is 1 or -1.
        """
        if classes < 3:
            raise InputError(
                f"{registered_name(self)}: {classes} classes: two values always correlate fully, so its gradient "
                "is 0: use kl"
            )


class _RanksClasses(_CorrelatesClasses):
    """What those of them that rank the classes have in common; both fields are the class's own."""

    rank: Rank
    strength: float | None

    def __post_init__(self) -> None:
        if self.strength is not None and not 0 < self.strength < float("inf"):
            raise InputError(
                f"{registered_name(self)}: strength = {self.strength}: expected a finite number above 0, or null for "
                "1 / classes"
            )

    def ranks(self, student_logits: BatchClasses, target: BatchClasses) -> PerSample:
        """Apply :func:`spearman_loss`; warn where the strength makes it Pearson's."""
        classes, strength = target.shape[1], self.strength
        if strength is not None and not torch.compiler.is_compiling() and is_degenerate(self.rank, strength, classes):
            warnings.warn(
                f"{registered_name(self)}: strength = {strength} with {classes} classes makes the {self.rank} rank "
                "linear, so that its Spearman correlation is Pearson's: lower it, 1 / classes = "
                f"{1 / classes:.3g} is the default",
                stacklevel=3,
            )
        return spearman_loss(student_logits, target, self.rank, strength)


@register(
    "loss", "pearson", paper="Huang et al., 2022, arXiv:2205.10536 (DIST, the inter-class term), on z-scored logits"
)
@dataclass(frozen=True)
class Pearson(_CorrelatesClasses):
    """One minus the Pearson correlation of the student's row with the teacher's.

    Args:
        on: "prob" (default), "z" or "plain_prob": the rows that are correlated, see ``On``.
    """

    on: On = "prob"

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return pearson_loss(student_logits, target, temperature, self.on)


@register("loss", "spearman", paper="Niu et al., 2024, arXiv:2410.06561 (CMKD's rank loss); reconstruction")
@dataclass(frozen=True)
class Spearman(_RanksClasses):
    """One minus the correlation of the student's soft ranks of the classes with the teacher's.

    Args:
        rank: "window" (default, the fast one) or "permutahedron" (the literature's).
        strength: of the soft rank, on z-scored logits; None is 1 / classes, which keeps ranks meaningful and the
            gradient alive (this project's measurement; the paper's value is not known).
    """

    rank: Rank = "window"
    strength: float | None = None

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        return self.ranks(student_logits, target)


@register("loss", "cmkd", paper="Niu et al., 2024, arXiv:2410.06561 (CMKD); reconstruction: weights and rank are ours")
@dataclass(frozen=True)
class CMKD(_RanksClasses):
    """Pearson and Spearman correlation, weighted per sample by how hard it is for the teacher.

    ``beta (1 - w) L_Pearson + gamma w L_Spearman`` with w the teacher's normalized entropy. The paper's measure of
    difficulty, its weights and its rank operator are not known.

    Args:
        weighting: "ranks_when_hard" (default), "values_when_hard", or "static", w = 1/2.
        beta, gamma: factors of the two losses. Default 2, as in DIST.
        on: see :class:`Pearson`. Default "prob".
        rank, strength: see :class:`Spearman`. Default "window" and None.
    """

    weighting: Weighting = "ranks_when_hard"
    beta: float = 2.0
    gamma: float = 2.0
    on: On = "prob"
    rank: Rank = "window"
    strength: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (abs(self.beta) < float("inf") and abs(self.gamma) < float("inf")):
            raise InputError(f"cmkd: beta = {self.beta}, gamma = {self.gamma}: expected finite numbers")

    def rank_weight(self, target: BatchClasses) -> PerSample:
        if self.weighting == "static":
            return torch.full_like(target[:, 0], 0.5)
        hard = difficulty(target)
        return hard if self.weighting == "ranks_when_hard" else 1 - hard

    def __call__(
        self, student_logits: BatchClasses, target: BatchClasses, temperature: Temperatures, label: Classes
    ) -> PerSample:
        weight = self.rank_weight(target).detach()
        values = pearson_loss(student_logits, target, temperature, self.on)
        return self.beta * (1 - weight) * values + self.gamma * weight * self.ranks(student_logits, target)
