"""Teacher outputs for the batches of an epoch: only for samples that a loss uses, looked up ahead in a logit cache."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache import LogitCache
from preceptor.training.batches import Batch, EpochPlan, TrainingData, own_part, take_rows, to_device

SAMPLES_LOOKED_UP = 4096
"""Samples looked up in a cache at a time: batch by batch costs some six times as much."""

LOGITS_LOOKED_UP = 2**24
"""Fewer samples where their logits would be more than this, 64 MiB: with 21,841 classes some 770."""


class TeacherFeed:
    """The teacher (None when no loss uses one), and the samples it is queried on for the losses of all students.

    Attributes:
        queried: by position in the training set, whether any loss uses the teacher there, on the CPU; None when some
            loss uses it everywhere.
    """

    def __init__(self, teacher: Teacher | None, losses: Sequence[DistillationLoss], data: TrainingData) -> None:
        self._teacher, self._data = teacher, data
        self.queried = _queried([loss for loss in losses if loss.uses_teacher], len(data))
        self._with_features = any(loss.teacher_layers for loss in losses)
        self._plan: EpochPlan | None = None
        self._looked_up: tuple[int, int, Tensor, Tensor] | None = None

    def begin_epoch(self, plan: EpochPlan) -> None:
        self._plan, self._looked_up = own_part(plan), None

    def output(self, batch: Batch, number: int) -> TeacherOutput | None:
        """The teacher's output for this process's rows of a batch; those that no loss uses hold zeros."""
        if self._teacher is None:
            return None
        if isinstance(self._teacher, LogitCache):
            cached = self._cached(self._teacher, batch, number)
            if cached is not None:
                return TeacherOutput(cached)
        if batch.queried is None:
            return self._teacher.outputs(batch.inputs, batch.own_index, batch.view)
        return self._for_some_rows(self._teacher, batch, *batch.queried)

    def _for_some_rows(self, teacher: Teacher, batch: Batch, rows: Tensor, rows_cpu: Tensor) -> TeacherOutput:
        if not len(rows) and teacher.classes is not None and not self._with_features:
            return TeacherOutput(torch.zeros(len(batch.own_index), teacher.classes, device=rows.device))
        # A batch of which no row is used still needs outputs of the right shape: one query tells it.
        some = rows if len(rows) else torch.zeros(1, dtype=torch.int64, device=rows.device)
        some_cpu = rows_cpu if len(rows) else torch.zeros(1, dtype=torch.int64)
        output = teacher.outputs(take_rows(batch.inputs, some), batch.own_index[some_cpu], batch.view[some_cpu])
        size = len(batch.own_index)
        features: Mapping[str, Tensor] = {name: _scattered(one, some, size) for name, one in output.features.items()}
        return TeacherOutput(_scattered(output.logits, some, size), features)

    def _cached(self, cache: LogitCache, batch: Batch, number: int) -> Tensor | None:
        """Logits from the cache; None when it lacks some that are used."""
        assert self._plan is not None, "an epoch begins first"
        start, end = self._plan.bounds[number]
        if self._looked_up is None or not self._looked_up[0] <= start < end <= self._looked_up[1]:
            self._looked_up = self._look_up(cache, self._plan, number)
        begin, _, logits, known = self._looked_up
        part = slice(start - begin, end - begin)
        used = known[part] if batch.queried is None else known[part][batch.queried[1]]
        return logits[part] if bool(used.all()) else None

    def _look_up(self, cache: LogitCache, plan: EpochPlan, number: int) -> tuple[int, int, Tensor, Tensor]:
        """Begin, end, logits and known mask of the coming batches, sent to the device in one piece."""
        begin = plan.bounds[number][0]
        ends = [end for _, end in plan.bounds[number:]]
        samples = min(SAMPLES_LOOKED_UP, LOGITS_LOOKED_UP // cache.classes)
        end = next((end for end in ends if end - begin >= samples), ends[-1])
        result = cache.lookup(plan.index[begin:end], plan.view[begin:end])
        return begin, end, to_device(result.logits, self._data.device), result.known


def _scattered(rows: Tensor, where: Tensor, size: int) -> Tensor:
    return rows.new_zeros(size, *rows.shape[1:]).index_copy(0, where, rows)


def _queried(losses: Sequence[DistillationLoss], size: int) -> Tensor | None:
    if not losses:
        return None
    masks = torch.stack([loss.teacher_mask(torch.arange(size)).cpu() for loss in losses])
    return None if bool(masks.all(dim=1).any()) else masks.any(dim=0)


def check_gives_features(teacher: Teacher | None, losses: Sequence[DistillationLoss]) -> None:
    """Refuse a feature loss with a teacher of logits alone.

    Raises:
        InputError: the teacher cannot give features.
    """
    compared = [name for loss in losses for name in loss.feature_losses]
    if compared and teacher is not None and not hasattr(teacher, "with_features"):
        raise InputError(
            f"term {compared[0]!r} compares features, and this teacher ({type(teacher).__name__}) gives logits alone: "
            "give a single network, without a cache"
        )


def teacher_with_features(teacher: Teacher | None, losses: Sequence[DistillationLoss]) -> Teacher | None:
    """The teacher, set up to return the features that the losses compare; the teacher itself when none does."""
    layers = tuple(dict.fromkeys(layer for loss in losses for layer in loss.teacher_layers))
    if not layers or teacher is None:
        return teacher
    with_features: Teacher = teacher.with_features(layers)  # type: ignore[attr-defined] # checked beforehand
    return with_features
