"""The queries of a run, known before its first step: views follow from seed, epoch and sample alone.

They tell whether a cache without a teacher holds enough, and whether compiling the teacher pays.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data import Augmentation, Dataset
from preceptor.data.lazy import taken
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.run.config import RunConfig
from preceptor.run.set_up import RunContext
from preceptor.run.teachers import LoadedTeacher, compile_teacher
from preceptor.teachers.cache import LogitCache
from preceptor.training import TrainingConfig
from preceptor.training.batches import plan_epoch
from preceptor.training.compile import compiling_pays, forward_flops

MAX_CACHED_SHARE = 0.5
"""A compiled teacher computes whole batches, however much of them is cached: where the cache answers more than this
share of a run's queries, the teacher is not compiled."""

Queries = tuple[Int[Tensor, " n"], Int[Tensor, " n"]]
"""Positions in the training set, and numbers of views."""


def resolve_teacher(config: RunConfig, context: RunContext, compiled: bool | None = None) -> LoadedTeacher | None:
    """The teacher as it will teach, once the loss's selection is fitted; None without one.

    Args:
        config: of the run.
        context: of the run.
        compiled: whether its networks are compiled; None decides by the length of the run.

    Raises:
        InputError: a cache without a teacher does not hold all that the run will query.
    """
    loaded, training = context.teacher, config.training
    if loaded is None:
        return None
    coverage = None
    if loaded.cache is not None:
        queries = planned_queries(context.loss, context.index, context.augmentation, training, config.seed)
        coverage = cache_coverage(loaded.cache, queries)
        if loaded.cache.teacher is None:
            check_coverage(loaded.cache, coverage)
            compiled = False
    if compiled is None:
        device = context.train.images.device
        images = _images_to_compute(config, context, coverage)
        compiled = should_compile(config, loaded, context.dataset, images, training.batch_size, device)
    return compile_teacher(loaded, config, context.dataset, training.batch_size) if compiled else loaded


def planned_queries(
    loss: DistillationLoss, index: Int[Tensor, " n"], augmentation: Augmentation, training: TrainingConfig, seed: int
) -> Iterator[Queries]:
    """The queries of a run, epoch by epoch, in their order.

    Args:
        loss: whose selection is fitted.
        index: positions of the samples that are trained on, on the CPU.
        augmentation: whose views are shown.
        training: epochs and batch size.
        seed: of order and views.
    """
    uses_teacher = torch.zeros(int(index.max()) + 1, dtype=torch.bool)
    uses_teacher[index] = loss.teacher_mask(index).cpu()
    for epoch in range(training.epochs):
        plan = plan_epoch(index, augmentation, batch_size=training.batch_size, seed=seed, epoch=epoch)
        # Terms may begin and end within an epoch, so whether the loss needs its teacher is a question of the step.
        steps = len(plan.bounds)
        by_step = [loss.uses_teacher_at((epoch + step / steps) / training.epochs) for step in range(steps)]
        lengths = torch.tensor([end - start for start, end in plan.bounds])
        queried = uses_teacher[plan.index] & torch.tensor(by_step).repeat_interleave(lengths)
        yield plan.index[queried], plan.view[queried]


@dataclass(frozen=True)
class Coverage:
    """How much of what a run queries its cache holds.

    Attributes:
        queries: of the whole run, repeated ones counted again.
        entries: different ones among them.
        missing: of these, those that the cache does not hold.
        first_missing: sample and view of one of them; None where nothing is missing.
    """

    queries: int
    entries: int
    missing: int
    first_missing: tuple[int, int] | None


def cache_coverage(cache: LogitCache, queries: Iterable[Queries]) -> Coverage:
    """How much of what is queried a cache holds; its records are not read."""
    wanted = np.zeros(cache.layout.entries, bool)
    total = 0
    for index, view in queries:
        wanted[(index * cache.layout.views + view).numpy()] = True
        total += len(index)
    entries = np.flatnonzero(wanted)
    missing = entries[~cache.store.is_filled(entries)]
    first = divmod(int(missing[0]), cache.layout.views) if len(missing) else None
    return Coverage(total, len(entries), len(missing), first)


def check_coverage(cache: LogitCache, coverage: Coverage) -> None:
    """Refuse, before the first step, a cache without a teacher that does not hold all that will be queried.

    Raises:
        InputError: it does not; one missing sample and view are named.
    """
    if coverage.first_missing is not None:
        sample, view = coverage.first_missing
        raise InputError(
            f"cache {cache.folder}: lacks {coverage.missing:,} of the {coverage.entries:,} views that this run shows "
            f"its student, the first sample {sample}, view {view}: {cache.remedy}"
        )


def should_compile(
    config: RunConfig, loaded: LoadedTeacher, dataset: Dataset, images: int, batch_size: int, device: torch.device
) -> bool:
    """Whether to compile a teacher that will compute so many images; see ``training.compile.compiling_pays``."""
    if not loaded.networks or config.compile == "never":
        return False
    if config.compile == "always" or images == 0:
        return config.compile == "always"
    one = taken(dataset.train.images, torch.arange(1)).to(device)[:]
    flops = sum(
        forward_flops(network.network, one if network.normalize is None else network.normalize(one))
        for network in loaded.networks
    )
    return compiling_pays("teacher", flops=flops * images, steps=-(-images // batch_size), device=device)


def _images_to_compute(config: RunConfig, context: RunContext, coverage: Coverage | None) -> int:
    """Images that a compiled teacher would compute; 0 where most batches would reach it only in part."""
    if not bool(context.loss.teacher_mask(context.index).all()):
        return 0
    if coverage is None:
        return config.training.epochs * len(context.index)
    cached_share = 1 - coverage.missing / max(1, coverage.queries)
    return 0 if cached_share > MAX_CACHED_SHARE else coverage.missing
