"""Agreement of a student with its teacher, sample by sample."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from preceptor.context import UNLABELED, predicted_class
from preceptor.losses.correlation import pearson
from preceptor.losses.kl import kl_divergence
from preceptor.metrics.checks import per_sample


@per_sample
def same_answer(student: Float[Tensor, "n classes"], teacher: Float[Tensor, "n classes"]) -> Bool[Tensor, " n"]:
    """Whether the student predicts what the teacher predicts, ties going to the first class in both.

    Its mean is the fidelity of Stanton et al., "Does Knowledge Distillation Really Work?", 2021, arXiv:2106.05945.
    """
    return predicted_class(student) == predicted_class(teacher)


@per_sample
def divergence_from_teacher(
    student: Float[Tensor, "n classes"], teacher: Float[Tensor, "n classes"]
) -> Float[Tensor, " n"]:
    """``KL(p, q) = sum_i p_i ln (p_i / q_i)`` of the teacher's p from the student's q at temperature 1, in nats."""
    return kl_divergence(student.double(), teacher.double().log_softmax(dim=1))


@per_sample
def rank_correlation(student: Float[Tensor, "n classes"], teacher: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Spearman correlation of the two rows of class logits, the tied sharing their mean rank; float64.

    NaN where a row is constant, and with fewer than three classes, where any two rows correlate fully.
    """
    from scipy.stats import rankdata

    if student.shape[1] < 3:
        return torch.full((len(student),), float("nan"), dtype=torch.float64)
    own, theirs = (torch.from_numpy(rankdata(logits.double().cpu().numpy(), axis=1)) for logits in (student, teacher))
    vary = (own != own[:, :1]).any(dim=1) & (theirs != theirs[:, :1]).any(dim=1)
    return torch.where(vary, pearson(own, theirs), float("nan"))


@dataclass(frozen=True)
class Outcomes:
    """How many samples the teacher and the student are right and wrong on; every labeled sample is in one count.

    Attributes:
        both_right: both.
        mended: the teacher is wrong and the student right.
        own: the teacher is right and the student wrong.
        copied: both predict the same wrong class.
        wrong_otherwise: both are wrong, each with another class.
    """

    both_right: int
    mended: int
    own: int
    copied: int
    wrong_otherwise: int


def outcomes(student: Int[Tensor, " n"], teacher: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> Outcomes:
    """Count the samples by whose predicted class is right; the unlabeled are left out."""
    labeled = labels != UNLABELED
    ours, theirs, truth = student[labeled], teacher[labeled], labels[labeled]
    right, teacher_right, same = ours == truth, theirs == truth, ours == theirs
    copied = ~right & same
    return Outcomes(
        both_right=int((right & teacher_right).sum()),
        mended=int((right & ~teacher_right).sum()),
        own=int((~right & teacher_right).sum()),
        copied=int(copied.sum()),
        wrong_otherwise=int((~right & ~teacher_right & ~copied).sum()),
    )


@per_sample
def copied_error(
    student: Float[Tensor, "n classes"], teacher: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """1 where the student repeats the teacher's wrong prediction, 0 where not; NaN where the teacher is not wrong.

    Our measure of a known risk of plain distillation. NaN for the unlabeled as well.
    """
    theirs = predicted_class(teacher)
    teacher_errs = (labels != UNLABELED) & (theirs != labels)
    return torch.where(teacher_errs, (predicted_class(student) == theirs).double(), float("nan"))
