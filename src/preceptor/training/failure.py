"""A failed step: where it first became non-finite, and all that is needed to replay it, in memory and in a folder."""

import copy
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import TypeAdapter
from torch import Tensor

from preceptor.context import MixedLabels
from preceptor.data import Normalization
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.files import read_json, write_whole
from preceptor.models.features import ImageModel
from preceptor.models.sized import SizedNormalization
from preceptor.teachers.base import TeacherOutput
from preceptor.training.batches import Batch
from preceptor.training.callbacks import StudentFailed
from preceptor.training.step import Step
from preceptor.training.student import StudentTrainer

if TYPE_CHECKING:
    from preceptor.training.trainer import Trainer

STATE_FILE, FAILURE_FILE = "state.pt", "failure.json"

OnNonfinite = Literal["raise", "skip"]
Value = Literal["nan", "inf"]

Place = Literal[
    "weights", "teacher", "student", "temperature", "correction", "selection", "term", "total", "gradient", "update",
    "divided", "unknown",
]  # fmt: skip
"""The places in a step where something can become non-finite, in the order in which they are examined."""

_DIVERGED = "if the logits are large, training has diverged: lower the learning rate (now {rate}); else "

_MESSAGES: dict[Place, tuple[str, str]] = {
    "weights": ("the weights are not finite before the step, in {at}", "start from finite weights"),
    "teacher": (
        "the teacher's logits are {value}",
        "repair the teacher or its file, leave these samples out, or set on_nonfinite=skip",
    ),
    "student": (
        "the student's logits are {value}, first after layer {at}",
        "lower the learning rate (now {rate}), or set precision=fp32",
    ),
    "temperature": ("the output of the temperature ({at}) is {value}", "it must be above 0: choose another setting"),
    "correction": ("the output of the correction ({at}) is {value}", "its target must be finite: choose another"),
    "selection": ("the output of the selection ({at}) is {value}", "its weights must be finite: choose another"),
    "term": ("loss term {at!r} is {value}", _DIVERGED + "the loss or its weight is at fault"),
    "total": ("the sum of the losses is {value}", "lower the learning rate (now {rate}), or the weights of the terms"),
    "gradient": (
        "the losses are finite, the gradient is {value}, at {at}",
        _DIVERGED + "a derivative is at fault (a root or a logarithm at 0?): repair it, or set on_nonfinite=skip",
    ),
    "update": (
        "losses and gradients are finite, the weights after the step are not, in {at}",
        "lower the learning rate (now {rate})",
    ),
    "divided": (
        "a loss, a gradient or a weight is not finite; where is not looked for in a student that is divided (shard)",
        "train it whole to see",
    ),
    "unknown": ("every part of the step is finite when computed uncompiled", "set compile=never"),
}
"""What a message tells of each place, and what to do about it."""

SAMPLES_NAMED = 5
"""In a message."""


class NotFinite(StudentFailed):
    """Training met a loss, a gradient or weights that are not finite."""


@dataclass(frozen=True)
class Sample:
    """A sample of the batch: position in the training set, label (-1: none), number of its view."""

    index: int
    label: int
    view: int


@dataclass(frozen=True)
class FaultLocation:
    """Where a step first became non-finite.

    Attributes:
        place: "weights" before the step; "teacher" and "student" are their logits; "term" is a loss; "gradient" that of
            a finite loss; "update" weights after finite gradients; "total" the sum of the losses, or over the epoch.
        at: name of the component, term, layer or parameter; None where there is no one name.
        value: what was found there.
        terms: the loss terms that are not finite, or whose gradient is not.
        samples: those affected; none where it cannot be told sample by sample.
        batch: number of samples in the batch.
        student_largest, teacher_largest: absolute value of their largest finite logit; None when none is.
        learning_rate: of the step.
    """

    place: Place
    at: str | None = None
    value: Value | None = None
    terms: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    batch: int = 0
    student_largest: float | None = None
    teacher_largest: float | None = None
    learning_rate: float = 0.0

    def line(self) -> str:
        """All of it in one line, with what to do."""
        what, advice = _MESSAGES[self.place]
        if self.place == "student" and self.at is None:
            what = what.partition(",")[0]
        parts = [what.format(at=self.at, value=self.value)]
        if self.samples:
            named = ", ".join(f"position {one.index} (label {one.label})" for one in self.samples[:SAMPLES_NAMED])
            more = " and others" if len(self.samples) > SAMPLES_NAMED else ""
            parts.append(f"{len(self.samples)} of {self.batch} samples, {named}{more}")
        if self.terms and self.place == "gradient":
            parts.append(f"in loss term {', '.join(map(repr, self.terms))}")
        sizes = {"student": self.student_largest, "teacher": self.teacher_largest}
        largest = ", ".join(f"{who} {size:.4g}" for who, size in sizes.items() if size is not None)
        parts += [f"largest logits: {largest}"] if largest else []
        return "; ".join([*parts, advice.format(rate=f"{self.learning_rate:g}")])


@dataclass(frozen=True)
class FailureContext:
    """Which step failed, epoch and step counted from 1, and how it was computed.

    Attributes:
        rng_seed: the seed that the student draws from in this step.
        progress: share of training done when the step begins.
        samples: size of the training set.
        outputs: of the student.
        layers: that its feature losses compare, by term.
        adapted_shapes: of these layers' features, the student's and the teacher's, by term.
        normalization: of the student's images; None for a network that takes its inputs as they are.
        action: what was done about it.
    """

    student: str
    epoch: int
    step: int
    steps: int
    seed: int
    rng_seed: int
    progress: float
    samples: int
    outputs: int
    layers: Mapping[str, Mapping[str, str]]
    adapted_shapes: Mapping[str, tuple[list[list[int]], list[list[int]]]]
    precision: Literal["fp32", "bf16"]
    normalization: SizedNormalization | Normalization | None
    action: OnNonfinite

    @classmethod
    def of(cls, trainer: "Trainer", student: StudentTrainer, step: Step, action: OnNonfinite) -> "FailureContext":
        network = student.student.network
        assert student.outputs is not None, "it has taken the step"
        return cls(
            student=student.name,
            epoch=step.epoch + 1,
            step=step.number + 1,
            steps=step.steps,
            seed=trainer.seed,
            rng_seed=step.rng_seed,
            progress=step.progress,
            samples=len(trainer.data),
            outputs=student.outputs,
            layers={name: loss.layers for name, loss in student.student.loss.feature_losses.items()},
            adapted_shapes={
                name: ([list(one) for one in student_shapes], [list(one) for one in teacher_shapes])
                for name, (student_shapes, teacher_shapes) in student.student.loss.adapted_shapes.items()
            },
            precision=student.precision,
            normalization=_normalization(network),
            action=action,
        )


def _normalization(network: torch.nn.Module) -> Normalization | None:
    stated = network.normalization if isinstance(network, ImageModel) else None
    return stated if isinstance(stated, Normalization) else None


@dataclass(frozen=True)
class FailureReport:
    """A failed step, with all that is needed to replay it.

    Attributes:
        context: which step, and how it was computed.
        fault: where it first became non-finite.
        step: its batch, and the teacher's output for it.
        state: of the student before the step.
    """

    context: FailureContext
    fault: FaultLocation
    step: Step
    state: Mapping[str, Any]

    def line(self) -> str:
        one = self.context
        return f"student {one.student!r}: epoch {one.epoch}, step {one.step} of {one.steps}: {self.fault.line()}"

    def record(self) -> dict[str, Any]:
        """Everything but tensors, ready for JSON."""
        return {**asdict(self.context), "fault": asdict(self.fault)}


def save_failure(folder: Path, report: FailureReport) -> None:
    """Write a report, over the one before it.

    Raises:
        MachineError: it cannot be written.
    """
    batch, teacher = report.step.batch, report.step.teacher
    inputs = batch.inputs if isinstance(batch.inputs, Tensor) else dict(batch.inputs)
    outputs = None if teacher is None else (teacher.logits, dict(teacher.features))
    mixed = None if batch.mixed is None else (batch.mixed.partner, batch.mixed.share)
    step = {"inputs": inputs, "label": batch.label, "index": batch.index, "view": batch.view, "teacher": outputs}
    file = io.BytesIO()
    torch.save({"state": dict(report.state), **copied({**step, "mixed": mixed})}, file)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    record = json.dumps({**report.record(), "sha256": digest}, indent=2, allow_nan=False)
    write_whole({folder / STATE_FILE: file.getvalue(), folder / FAILURE_FILE: record.encode()})


def load_failure(folder: Path, device: torch.device) -> FailureReport:
    """The report in a folder, its tensors on a device. Only tensors and plain values are unpickled.

    Raises:
        InputError: there is none, or it is damaged.
    """
    for name in (FAILURE_FILE, STATE_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no {name}: no step of this run failed, or it lies elsewhere")
    try:
        record, content = read_json(folder / FAILURE_FILE), (folder / STATE_FILE).read_bytes()
        if record.pop("sha256") != hashlib.sha256(content).hexdigest():
            raise InputError(f"{folder / STATE_FILE}: damaged: its content does not match its checksum")
        fault = TypeAdapter(FaultLocation).validate_python(record.pop("fault"))
        context = TypeAdapter(FailureContext).validate_python(record)
        kept = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        index, view = kept["index"], kept["view"].cpu()
        mixed = None if kept.get("mixed") is None else MixedLabels(*kept["mixed"])
        step = Step(
            epoch=context.epoch - 1,
            number=context.step - 1,
            steps=context.steps,
            progress=context.progress,
            rng_seed=context.rng_seed,
            batch=Batch(kept["inputs"], kept["label"], index, index.cpu(), view, mixed=mixed),
            teacher=None if kept["teacher"] is None else TeacherOutput(*kept["teacher"]),
        )
        return FailureReport(context, fault, step, kept["state"])
    except InputError:
        raise
    except Exception as error:  # on a damaged file, readers raise nearly anything
        if out_of_memory(error):
            raise
        raise InputError(f"{folder}: not the report of a failed step, or damaged: {first_line(error)}") from error


def copied(state: Any, device: torch.device | None = None) -> Any:
    """A deep copy of a state, its tensors on a device, or where they are."""
    if isinstance(state, Tensor):
        return state.detach().to(device or state.device, copy=True)
    if isinstance(state, dict):
        twin = copy.copy(state)  # keeps the version numbers of torch's ordered dictionaries
        for name, value in state.items():
            twin[name] = copied(value, device)  # not by update, which would add to a Counter's counts
        return twin
    if isinstance(state, (list, tuple)):
        return type(state)(copied(value, device) for value in state)
    return state
