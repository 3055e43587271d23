"""What a chain refuses, and the words in which it does: seats, names and times of terms, shapes of what it is handed.

Every function here raises an InputError.
"""

from typing import cast

import torch
from torch import Tensor, nn

from preceptor.context import UNLABELED
from preceptor.errors import InputError
from preceptor.loss_terms import LossTerm
from preceptor.registry import ComponentType, Correction, Loss, check_slot


def check_slots(**seats: object) -> None:
    """Refuse components in seats of another kind."""
    for kind, component in seats.items():
        check_slot(component, cast(ComponentType, kind))
    correct, match = seats["correction"], seats["loss"]
    if correct is not None and not isinstance(correct, Correction):
        raise InputError(f"correction={type(correct).__name__}: not a correction (it has no 'apply_to')")
    if match is not None and not isinstance(match, Loss):
        raise InputError(f"loss={type(match).__name__}: not a match (it has no 'target_space'); see preceptor methods")


def check_names(names: list[str]) -> None:
    """Refuse no terms, names given twice and names that a term cannot have."""
    if not names:
        raise InputError("a chain needs at least one term: give loss=..., label_loss=... or terms={...}")
    if len(set(names)) < len(names):
        raise InputError(f"two terms share a name in {names}: rename one of them")
    for name in names:
        if not name.isidentifier() or hasattr(nn.ModuleDict, name):
            raise InputError(
                f"a term cannot be called {name!r}: use letters, digits and underscores, like 'ce' or 'kl'"
            )


def check_times(terms: list[LossTerm]) -> None:
    """Whatever moment begins a gap is the end of some term, or the beginning of training."""
    for moment in {0.0, *(term.until for term in terms)} - {1.0}:
        if not any(term.is_active(moment) for term in terms):
            raise InputError(
                f"no term counts when {moment:g} of training is done: let 'since' and 'until' leave no gap"
            )


def check_index(index: Tensor | None, label: Tensor) -> None:
    """Refuse what are no positions in the training set, one a sample."""
    if index is not None and (index.shape != label.shape or index.is_floating_point() or index.dtype == torch.bool):
        raise InputError(
            f"index {tuple(index.shape)} of type {index.dtype}: expected {tuple(label.shape)} positions in the "
            "training set, of an integer type"
        )


def check_shapes(student: Tensor, teacher: Tensor | None, label: Tensor, abstains: bool) -> None:
    """Refuse logits and labels that do not belong together."""
    if student.dim() != 2 or label.dim() != 1 or label.shape[0] != student.shape[0]:
        raise InputError(
            f"student logits {tuple(student.shape)} and labels {tuple(label.shape)}: "
            "expected [batch, outputs] and [batch] of the same batch"
        )
    if label.is_floating_point() or label.dtype == torch.bool:
        raise InputError(f"labels of type {label.dtype}: expected class numbers (an integer type)")
    if teacher is None:
        _check_label_range(label, student.shape[1] - abstains)
        return
    if teacher.dim() != 2 or teacher.shape[0] != student.shape[0]:
        raise InputError(
            f"teacher logits {tuple(teacher.shape)} do not go with student logits {tuple(student.shape)}: "
            "expected [batch, classes] of the same batch"
        )
    if abstains and student.shape[1] != teacher.shape[1] + 1:
        raise InputError(
            f"the teacher has {teacher.shape[1]} classes, the student {student.shape[1]} outputs, but a term gambles: "
            f"the student needs {teacher.shape[1] + 1}, one to abstain with"
        )
    if student.shape[1] not in (teacher.shape[1], teacher.shape[1] + 1):
        raise InputError(
            f"the teacher has {teacher.shape[1]} classes, the student {student.shape[1]} outputs: "
            "the student needs as many, or one more for an abstaining head"
        )
    _check_label_range(label, teacher.shape[1])


def _check_label_range(label: Tensor, classes: int) -> None:
    """Refuse labels outside the classes, where looking costs no wait: on the CPU, outside a compiled step."""
    # A subclass such as FakeTensor has no values to look at, and is_compiling() must come first: dynamo stops here.
    if torch.compiler.is_compiling() or label.device.type != "cpu" or type(label) is not Tensor:
        return
    label = label.long()  # an unsigned label can't be compared with -1
    outside = (label < UNLABELED) | (label >= classes)
    if outside.any():
        raise InputError(
            f"label {int(label[outside][0])} is outside the {classes} classes: expected 0 to {classes - 1}, or "
            f"{UNLABELED} for an unlabeled sample"
        )
