"""The teacher that an earlier entry trained, and the cache of what it says."""

from pathlib import Path

import torch

from preceptor.data import Dataset
from preceptor.models import load_student
from preceptor.run.cards import check_card
from preceptor.run.folder import fingerprint
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache


def layout_of(dataset: Dataset) -> Layout:
    """A cache of all logits in all views."""
    return Layout(samples=len(dataset.train), views=dataset.augmentation.count, classes=dataset.classes)


def loaded_teacher(folder: Path, dataset: Dataset, device: torch.device) -> tuple[NetworkTeacher, str]:
    """The teacher in a folder, as it came, and the fingerprint of its weights."""
    network, card = load_student(folder)
    check_card(f"teacher {folder}", card, dataset)
    return NetworkTeacher(network, card.normalization(), device, card.classes), fingerprint(network.state_dict())


def opened_bank(folder: Path, teacher: NetworkTeacher, weights: str, dataset: Dataset) -> LogitCache:
    """The cache of a teacher, which says what the cache does not hold yet.

    Args:
        folder: of the cache; made if there is none.
        teacher: made fast.
        weights: fingerprint of the teacher as it came.
        dataset: that it is of.
    """
    in_bf16 = teacher.report is not None and teacher.report.bf16
    given = CacheKey.of(
        teacher=weights,
        data=fingerprint({"images": dataset.train.images}),
        normalization=teacher.normalize,
        augmentation=dataset.augmentation,
        class_names=dataset.class_names,
        precision="bf16" if in_bf16 else "fp32",
    )
    return open_cache(folder, given, layout_of(dataset), teacher)
