"""What a run will ask its teacher: known before the first step, since views follow from seed, epoch and sample."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from preceptor.data import CropFlip
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.teachers.cache import LogitCache
from preceptor.training import TrainingConfig
from preceptor.training.batches import EpochPlan, plan_epoch

Asked = tuple[Int[Tensor, " n"], Int[Tensor, " n"]]
"""Positions in the training set, and numbers of views."""


@dataclass(frozen=True)
class Coverage:
    """How much of what a run asks its cache holds.

    Attributes:
        asked: questions of the whole run, the same one again counted again.
        cells: different ones among them.
        missing: of these, those that the cache does not hold.
        first_missing: sample and view of one of them; None when nothing is missing.
    """

    asked: int
    cells: int
    missing: int
    first_missing: tuple[int, int] | None


def questions(
    loss: DistillationLoss, positions: Int[Tensor, " n"], rule: CropFlip, training: TrainingConfig, seed: int
) -> Iterator[Asked]:
    """What a run asks, epoch by epoch, in the order in which it is asked.

    Args:
        chain: whose selection is fitted; brought to the CPU.
        positions: which samples are trained on, on the CPU.
        rule: of the views.
        protocol: epochs and batch size.
        seed: of order and views.
    """
    listens = torch.zeros(int(positions.max()) + 1, dtype=torch.bool)
    listens[positions] = loss.cpu().teacher_mask(positions)
    for epoch in range(training.epochs):
        plan = plan_epoch(positions, rule, batch_size=training.batch_size, seed=seed, epoch=epoch)
        asked = listens[plan.index] & _hears(loss, epoch, plan, training)
        yield plan.index[asked], plan.view[asked]


def _hears(loss: DistillationLoss, epoch: int, plan: EpochPlan, training: TrainingConfig) -> Bool[Tensor, " samples"]:
    """For each place in the order of an epoch, whether the chain needs its teacher in that step."""
    steps = len(plan.bounds)
    by_step = [loss.uses_teacher_at((epoch + step / steps) / training.epochs) for step in range(steps)]
    return torch.tensor(by_step).repeat_interleave(torch.tensor([end - start for start, end in plan.bounds]))


def coverage(cache: LogitCache, asked: Iterable[Asked]) -> Coverage:
    """How much of what is asked a cache holds, told by its marks, without reading a record."""
    wanted = np.zeros(cache.layout.cells, bool)
    total = 0
    for index, view in asked:
        wanted[(index * cache.layout.views + view).numpy()] = True
        total += len(index)
    cells = np.flatnonzero(wanted)
    missing = cells[~cache.store.known(cells)]
    first = divmod(int(missing[0]), cache.layout.views) if len(missing) else None
    return Coverage(total, len(cells), len(missing), first)


def check_coverage(cache: LogitCache, found: Coverage) -> None:
    """Make sure that a cache without a teacher holds all that will be asked, before the first step.

    Raises:
        InputError: it does not; how much is missing is said, and one sample and view named.
    """
    if found.first_missing is not None:
        sample, view = found.first_missing
        raise InputError(
            f"cache {cache.folder}: holds nothing of {found.missing:,} of the {found.cells:,} views that this run shows "
            f"its student, the first sample {sample}, view {view}: give --teacher with it, or fill it ahead by "
            "preceptor cache --fill"
        )
