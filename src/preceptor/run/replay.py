"""Takes the step of a run that was not finite once more, with a look at every component of it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from preceptor.config import read_yaml
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.recipes import build_recipe_parts
from preceptor.run.config import RunConfig, resolve
from preceptor.run.folder import RUN_FILE
from preceptor.run.train import FAILURE_FOLDER
from preceptor.training import Student
from preceptor.training.device import choose_device, deterministic
from preceptor.training.failure import FailureReport, load_failure
from preceptor.training.fault import FaultLocation
from preceptor.training.locate import examine
from preceptor.training.student import Seat


@dataclass(frozen=True)
class Replayed:
    """A step that was not finite, taken again.

    Attributes:
        failure: as the run has written it.
        again: where it goes wrong first now.
    """

    failure: FailureReport
    again: FaultLocation

    @property
    def came_again(self) -> bool:
        """Whether it goes wrong in the same place."""
        before = self.failure.fault
        return (self.again.component, self.again.at, self.again.samples) == (
            before.component,
            before.at,
            before.samples,
        )


def replay(folder: Path, device: str | None = None) -> Replayed:
    """Take the step again from what the run has kept: weights, batch and teacher's logits as they were before it.

    Neither data nor teacher need be there. The student is run uncompiled.

    Args:
        folder: of the run.
        device: where; None is where the run was configured to be.

    Raises:
        InputError: no run, no failure in it, or one that is damaged or does not fit the run's configuration.
        MachineError: no such device.
    """
    config = _config(folder)
    failure = load_failure(folder / FAILURE_FOLDER)
    where = choose_device(device or config.device)
    with deterministic(), torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        try:
            seat = _seat(config, failure, where)
            return Replayed(failure, examine(failure.again(where), seat, failure.occasion.precision))
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            if out_of_memory(error):
                raise
            raise InputError(
                f"{folder / FAILURE_FOLDER}: does not fit model {config.student!r} and the recipe of {RUN_FILE} "
                f"({first_line(error)}): is it this run's?"
            ) from error


def _config(folder: Path) -> RunConfig:
    if not (folder / RUN_FILE).is_file():
        raise InputError(f"{folder}: no {RUN_FILE}, so no run: give the folder of a run that went wrong")
    content = read_yaml(folder / RUN_FILE).get("config")
    if not isinstance(content, dict):
        raise InputError(f"{folder / RUN_FILE}: holds no run's configuration: give a run's folder")
    return resolve(content)


def _seat(config: RunConfig, failure: FailureReport, device: torch.device) -> Seat:
    """The pupil as it was before the step."""
    when = failure.occasion
    if not any(len(tensor) == when.outputs for tensor in failure.state["student"].values() if tensor.dim()):
        raise ValueError(f"no layer of {when.outputs} outputs among its weights")
    channels = failure.batch.images.shape[1]
    student = seeded_model(config.student, channels=channels, classes=when.outputs, seed=config.seed)
    loss = DistillationLoss(**build_recipe_parts(config.recipe))
    seat = Seat(Student(when.pupil, student, loss), config.training, device, when.samples)
    seat.resume(failure.state)
    return seat
