"""Checks of a distillation loss: its components, its terms, the batch it is called with. All raise InputError."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from preceptor.component_types import ComponentType, Correction, Loss, declares
from preceptor.context import UNLABELED, VERDICTS, Verdict
from preceptor.errors import InputError, unknown_name
from preceptor.loss_terms import LossTerm
from preceptor.registry import check_slot, registered_name


def check_components(**slots: object) -> None:
    """Refuse components in slots of another type."""
    for slot, component in slots.items():
        check_slot(component, cast(ComponentType, slot))
    correction, loss = slots["correction"], slots["loss"]
    if correction is not None and not isinstance(correction, Correction):
        raise InputError(f"correction={type(correction).__name__}: not a correction (it has no 'apply_to')")
    if loss is not None and not isinstance(loss, Loss):
        raise InputError(f"loss={type(loss).__name__}: not a loss (it has no 'target_space'); see preceptor methods")


def parse_verdicts(text: str) -> tuple[Verdict, ...]:
    """Read verdicts joined by ``|``."""
    names = [name.strip() for name in text.split("|")]
    for name in names:
        if name not in VERDICTS:
            raise unknown_name("verdict in correction_where", name, VERDICTS)
    return tuple(verdict for verdict in VERDICTS if verdict in names)


def check_names(names: list[str]) -> None:
    """Refuse no terms, names used twice and names that a term cannot have."""
    if not names:
        raise InputError("a distillation loss needs at least one term: give loss=..., label_loss=... or terms={...}")
    if len(set(names)) < len(names):
        raise InputError(f"two terms share a name in {names}: rename one of them")
    for name in names:
        if not name.isidentifier() or hasattr(nn.ModuleDict, name):
            raise InputError(
                f"a term cannot be called {name!r}: use letters, digits and underscores, like 'ce' or 'kl'"
            )


def check_time_spans(terms: list[LossTerm]) -> None:
    """Refuse a part of training in which no term is active.

    A gap can only begin at 0 or at a term's ``until``, so testing those points suffices.
    """
    for progress in {0.0, *(term.until for term in terms)} - {1.0}:
        if not any(term.is_active(progress) for term in terms):
            raise InputError(
                f"no term is active when {progress:g} of training is done: let 'since' and 'until' leave no gap"
            )


def check_mixing(slots: Mapping[str, object], terms: Mapping[str, LossTerm]) -> None:
    """Refuse mixed inputs with components, by slot, or terms that decide by the label.

    Corrections compare the teacher's class with the label, and selections weigh samples, by their very type.
    """
    obstacles = {
        "correction": "compares the teacher's class with the label",
        "selection": "weighs samples one by one, many by their label",
    }
    for slot, component in slots.items():
        if component is not None and (slot in obstacles or declares(component, "uses_label")):
            reason = obstacles.get(slot, "looks at the label")
            raise _not_mixed(f"{slot} {registered_name(component)} {reason}")
    for name, term in terms.items():
        use = _label_use(term)
        if use is not None:
            raise _not_mixed(f"term {name!r} ({registered_name(term.loss)}) {use}")


def _label_use(term: LossTerm) -> str | None:
    """How a term decides by the label; None where it does not, as a label loss, of which each label has its share."""
    if term.where is not None:
        return f"is limited to samples by their label (where: {term.where})"
    if term.wants_reservation:
        return "teaches to abstain, by a bet on the label"
    if term.wants_index:
        return "compares two views of a sample" if term.kind == "loss" else "keeps a target for every sample"
    if declares(term.loss, "uses_label"):
        return "depends on the label"
    if term.kind == "label_loss" and term.batch_statistic:
        return "is a statistic of the labels of a batch"
    return None


def _not_mixed(reason: str) -> InputError:
    return InputError(
        f"{reason}, and a mixed image has two labels: leave mixup and cutmix out, or choose a recipe that does not, "
        "such as kd, dist or at"
    )


def check_batch(student: Tensor, teacher: Tensor | None, label: Tensor, index: Tensor | None, abstains: bool) -> None:
    """Refuse logits, labels and positions that do not belong together. Looks at shapes and types only: no
    synchronization with the device."""
    if student.dim() != 2 or label.dim() != 1 or label.shape[0] != student.shape[0]:
        raise InputError(
            f"student logits {tuple(student.shape)} and labels {tuple(label.shape)}: "
            "expected [batch, outputs] and [batch] of the same batch"
        )
    if label.is_floating_point() or label.dtype == torch.bool:
        raise InputError(f"labels of type {label.dtype}: expected class numbers (an integer type)")
    if index is not None and (index.shape != label.shape or index.is_floating_point() or index.dtype == torch.bool):
        raise InputError(
            f"index {tuple(index.shape)} of type {index.dtype}: expected {tuple(label.shape)} positions in the "
            "training set, of an integer type"
        )
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
            f"the teacher has {teacher.shape[1]} classes, the student {student.shape[1]} outputs, but a term trains "
            f"abstention: the student needs {teacher.shape[1] + 1}, one to abstain with"
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
