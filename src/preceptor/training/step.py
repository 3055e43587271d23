"""What every student receives in one training step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from preceptor.teachers.base import TeacherOutput
from preceptor.training.batches import Batch
from preceptor.training.distributed import gathered, world_size


@dataclass(frozen=True)
class Step:
    """What every student receives in one step. All of it follows from (seed, epoch, number) and the data.

    Attributes:
        epoch, number: counted from 0, the number in the epoch.
        steps: in the epoch.
        progress: share of training done when it begins.
        rng_seed: of the generators that a student draws from (dropout).
        teacher: its output; None when no active term uses the teacher.
    """

    epoch: int
    number: int
    steps: int
    progress: float
    rng_seed: int
    batch: Batch
    teacher: TeacherOutput | None

    def of_all_rows(self) -> "Step":
        """The same with the inputs of every process, in each of them."""
        batch, size = self.batch, len(self.batch.label)
        if world_size() == 1:
            return self
        inputs = (
            {name: gathered(one, size) for name, one in batch.inputs.items()}
            if isinstance(batch.inputs, Mapping)
            else gathered(batch.inputs, size)
        )
        index, view = gathered(batch.own_index, size), gathered(batch.view, size)
        return replace(self, batch=replace(batch, inputs=inputs, own_index=index, view=view, queried=None))


def rng_seed(seed: int, epoch: int, number: int) -> int:
    """The seed of what the students draw in a step."""
    return ((seed * 1_000_003 + epoch) * 1_000_003 + number) % 2**63
