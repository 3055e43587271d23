"""Replay of a failed step: it is taken again from what the run kept, and examined part by part."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from preceptor.config import read_yaml
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.feature_losses.layers import LayerPairs
from preceptor.loss import DistillationLoss
from preceptor.models import seeded_model
from preceptor.models.features import FeatureModel, ImageModel
from preceptor.recipes import build_recipe_parts
from preceptor.run.config import RunConfig, resolve
from preceptor.run.folder import RUN_FILE
from preceptor.run.open_run import FAILURE_FOLDER
from preceptor.run.own_parts import FROM_PYTHON
from preceptor.training.device import choose_device, deterministic
from preceptor.training.failure import STATE_FILE, FailureReport, FaultLocation, load_failure
from preceptor.training.locate import locate_non_finite
from preceptor.training.student import Student, StudentTrainer


@dataclass(frozen=True)
class Replayed:
    """A failed step as the run reported it, and where it becomes non-finite now that it is taken again."""

    report: FailureReport
    again: FaultLocation

    @property
    def reproduced(self) -> bool:
        """Whether it fails in the same place."""
        before, again = self.report.fault, self.again
        return (again.place, again.at, again.samples) == (before.place, before.at, before.samples)


def replay(folder: Path, device: str | None = None) -> Replayed:
    """Take the step again from what the run kept: weights, batch and teacher outputs as they were before it.

    Neither data nor teacher are needed. The student runs uncompiled.

    Args:
        folder: of the run.
        device: where; None is where the run was configured to be.

    Raises:
        InputError: no run, no failed step in it, or one that is damaged or does not fit the run's configuration.
        MachineError: no such device.
    """
    if not (folder / RUN_FILE).is_file():
        raise InputError(f"{folder}: no {RUN_FILE}, so no run: give the folder of a run that failed")
    content = read_yaml(folder / RUN_FILE).get("config")
    if not isinstance(content, dict):
        raise InputError(f"{folder / RUN_FILE}: holds no run's configuration: give a run's folder")
    config = resolve(content)
    if config.student.startswith(FROM_PYTHON):
        raise InputError(
            f"{folder}: its student is a network from Python, which cannot be built here: torch.load "
            f"{folder / FAILURE_FOLDER / STATE_FILE} there: it holds the weights and the batch of the step"
        )
    where = choose_device(device or config.device)
    report = load_failure(folder / FAILURE_FOLDER, where)
    with deterministic(), torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        try:
            return Replayed(report, locate_non_finite(report.step, _student(config, report, where)))
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            if out_of_memory(error):
                raise
            raise InputError(
                f"{folder / FAILURE_FOLDER}: does not fit model {config.student!r} and the recipe of {RUN_FILE} "
                f"({first_line(error)}): is it this run's?"
            ) from error


def _student(config: RunConfig, report: FailureReport, device: torch.device) -> StudentTrainer:
    """The student as it was before the step."""
    failed, inputs = report.context, report.step.batch.inputs
    if failed.normalization is None:
        raise ValueError("its student takes no images")
    if not any(len(tensor) == failed.outputs for tensor in report.state["network"].values() if tensor.dim()):
        raise ValueError(f"no layer of {failed.outputs} outputs among its weights")
    network = seeded_model(
        config.student, channels=inputs.shape[1], classes=failed.outputs, seed=config.seed, weights="later"
    )
    loss = DistillationLoss(**build_recipe_parts(config.recipe))
    student = Student(failed.student, ImageModel(network, failed.normalization), loss).to(device)
    for name, feature_loss in loss.feature_losses.items():
        cast(LayerPairs, feature_loss).layers = dict(failed.layers[name])
        feature_loss.build_adapters(*([torch.Size(one) for one in shapes] for shapes in failed.adapted_shapes[name]))
    loss.to(device)
    trainer = StudentTrainer(
        student,
        FeatureModel(student.network, loss.student_layers),
        config.training,
        steps=failed.steps,
        samples=failed.samples,
        precision=failed.precision,
        device=device,
    )
    trainer.load_state_dict(report.state)
    trainer.begin_epoch(new=False)
    return trainer
