"""Where the teacher speaks from: asked only about the samples that somebody listens to, looked up ahead in a cache."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from preceptor.loss import DistillationLoss
from preceptor.teachers.base import Teacher
from preceptor.teachers.cache import LogitCache
from preceptor.training.batches import Batch, EpochPlan

SAMPLES_LOOKED_UP = 4096
"""How many samples are looked up in a cache at a time: one by one, batch by batch, costs some six times as much."""


class TeacherFeed:
    """The teacher, where there is one, and the samples it is asked about.

    Args:
        teacher: None when no chain needs one.
        chains: of all the pupils.
        size: of the training set.

    Attributes:
        asked: by position in the training set, whether any chain listens; None when some listens everywhere.
    """

    def __init__(self, teacher: Teacher | None, losses: Sequence[DistillationLoss], size: int) -> None:
        self._teacher = teacher
        self._classes = None if teacher is None else teacher.classes
        listeners = [loss for loss in losses if loss.uses_teacher]
        self.asked = _asked(listeners, size) if listeners else None
        self._ahead = _Ahead(teacher) if isinstance(teacher, LogitCache) else None

    def begin_epoch(self, plan: EpochPlan) -> None:
        """Take note of what the epoch will show."""
        if self._ahead is not None:
            self._ahead.begin_epoch(plan)

    def signal(self, batch: Batch, number: int) -> Float[Tensor, "batch classes"] | None:
        """The teacher's logits for a batch of the epoch; rows that nobody listens to may hold anything finite."""
        if self._teacher is None:
            return None
        known = None if self._ahead is None else self._ahead.signal(batch, number)
        if known is not None:
            return known
        if batch.asked is None:
            return self._teacher.outputs(batch.images, batch.position, batch.view).logits
        return self._said_in_part(self._teacher, batch, *batch.asked)

    def _said_in_part(self, teacher: Teacher, batch: Batch, there: Tensor, here: Tensor) -> Tensor:
        signal = torch.zeros(len(batch.images), self._width(teacher, batch), device=batch.images.device)
        if len(here) == 0:
            return signal
        said = teacher.outputs(batch.images[there], batch.position[here], batch.view[here]).logits
        return signal.index_copy(0, there, said)

    def _width(self, teacher: Teacher, batch: Batch) -> int:
        """How many logits it says; one that does not tell is asked about an image, once."""
        if self._classes is None:
            self._classes = teacher.outputs(batch.images[:1], batch.position[:1], batch.view[:1]).logits.shape[1]
        return self._classes


class _Ahead:
    """What a cache holds of the coming batches, looked up many at a time and sent to the device in one piece."""

    def __init__(self, cache: LogitCache) -> None:
        self._bank = cache
        self._plan: EpochPlan | None = None
        self._begin, self._end = 0, 0

    def begin_epoch(self, plan: EpochPlan) -> None:
        self._plan, self._begin, self._end = plan, 0, 0

    def signal(self, batch: Batch, number: int) -> Tensor | None:
        """The logits for a batch; None when something that is asked for is not in the cache yet."""
        assert self._plan is not None, "an epoch begins first"
        start, end = self._plan.bounds[number]
        if not self._begin <= start < end <= self._end:
            self._look_up(self._plan, number, batch.images.device)
        part = slice(start - self._begin, end - self._begin)
        known = self._known[part] if batch.asked is None else self._known[part][batch.asked[1]]
        return self._logits[part] if bool(known.all()) else None

    def _look_up(self, plan: EpochPlan, number: int, device: torch.device) -> None:
        self._begin, self._end = plan.bounds[number]
        for _, end in plan.bounds[number:]:
            self._end = end
            if end - self._begin >= SAMPLES_LOOKED_UP:
                break
        part = slice(self._begin, self._end)
        found = self._bank.lookup(plan.position[part], plan.view[part])
        self._known: Bool[Tensor, " n"] = found.known
        pinned = found.logits.pin_memory() if device.type == "cuda" else found.logits
        self._logits: Float[Tensor, "n classes"] = pinned.to(device, non_blocking=True)


def _asked(losses: Sequence[DistillationLoss], size: int) -> Tensor | None:
    """By position in the training set, whether any chain listens to the teacher; None when some listens everywhere."""
    everything = torch.arange(size)
    wanted = [loss.cpu().teacher_mask(everything) for loss in losses]
    return None if any(bool(asks.all()) for asks in wanted) else torch.stack(wanted).any(dim=0)
