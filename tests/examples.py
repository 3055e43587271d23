"""A batch of four samples and a chain with every seat taken, for the tests of the chain."""

from typing import Any

import torch
from torch import Tensor

from preceptor import KL, Chain, CrossEntropy, DropWrong, Fixed, LabelRevision, SquaredErrorLogits, Term, Terms, recipe
from preceptor.select import RankedSelection

TEACHER = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.5, 2.0], [1.0, 1.0, 0.0]])
STUDENT = torch.tensor([[2.0, 1.0, 0.5], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.3, 0.1, 0.2]])
LABEL = torch.tensor([0, 1, 2, -1])  # right, wrong, right, unlabelled
EVERYTHING: dict[str, Any] = {
    "correct": LabelRevision(),
    "temper": Fixed(2.0),
    "select": DropWrong(),
    "terms": {"ce": Term(CrossEntropy(), 0.5), "kl": Term(KL()), "far": Term(SquaredErrorLogits(), 2.0, "right")},
}


def ready(name: str, size: int = 4, **overrides: Any) -> Chain:
    """The chain of a recipe; a selection it may have prefers samples at the beginning of the training set."""
    chain = Chain(**recipe(name, overrides))
    if isinstance(chain.select, RankedSelection):
        chain.select.adopt(torch.arange(size), -torch.arange(size).float(), size)
    chain.expect_samples(size)
    return chain


def suited(chain: Chain, student: Tensor) -> Tensor:
    """The logits, with one more where the chain wants a student that may abstain."""
    return torch.cat([student, student.new_zeros(len(student), 1)], dim=1) if chain.abstains else student


def learned(chain: Chain, student: Tensor, teacher: Tensor | None, label: Tensor) -> tuple[Terms, Tensor]:
    student = student.detach().clone().requires_grad_()
    terms = chain(student, teacher, label, index=torch.arange(len(label)), progress=0.5)
    terms.total.backward()
    assert student.grad is not None
    return terms, student.grad
