"""The teacher that an earlier entry trained, and the bank of what it says."""

from pathlib import Path

import torch

from preceptor.data import Dataset
from preceptor.models import load_student
from preceptor.runs.cards import check_card
from preceptor.runs.folder import fingerprint
from preceptor.teachers import LiveTeacher
from preceptor.teachers.bank import Bank, Fingerprint, Layout, open_bank


def layout_of(dataset: Dataset) -> Layout:
    """A bank of all logits in all views."""
    return Layout(samples=len(dataset.train), views=dataset.view_rule.count, classes=dataset.classes)


def loaded_teacher(folder: Path, dataset: Dataset, device: torch.device) -> tuple[LiveTeacher, str]:
    """The teacher in a folder, as it came, and the fingerprint of its weights."""
    network, card = load_student(folder)
    check_card(f"teacher {folder}", card, dataset)
    return LiveTeacher(network, card.normalisation(), device, card.classes), fingerprint(network.state_dict())


def opened_bank(folder: Path, teacher: LiveTeacher, weights: str, dataset: Dataset) -> Bank:
    """The bank of a teacher, which says what the bank does not hold yet.

    Args:
        folder: of the bank; made if there is none.
        teacher: made fast.
        weights: fingerprint of the teacher as it came.
        dataset: that it is of.
    """
    in_bf16 = teacher.report is not None and teacher.report.bf16
    given = Fingerprint.of(
        teacher=weights,
        data=fingerprint({"images": dataset.train.images}),
        normalisation=teacher.normalise,
        rule=dataset.view_rule,
        class_names=dataset.class_names,
        precision="bf16" if in_bf16 else "fp32",
    )
    return open_bank(folder, given, layout_of(dataset), teacher)
