"""A failed step: where it first became non-finite, and all that is needed to replay it, in memory and in a folder."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import Tensor

from preceptor.data import Normalization
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.files import read_json, write_whole
from preceptor.models.features import ImageModel
from preceptor.teachers.base import TeacherOutput
from preceptor.training.batches import Batch, to_device

if TYPE_CHECKING:
    from preceptor.training.student import Step, StudentTrainer
    from preceptor.training.trainer import Trainer

STATE_FILE, BATCH_FILE, FAILURE_FILE = "state.pt", "batch.safetensors", "failure.json"

Place = Literal[
    "weights", "teacher", "student", "temperature", "correction", "selection", "term", "total", "gradient", "update",
    "unknown",
]  # fmt: skip
"""The places in a step where something can become non-finite, in the order in which they are examined."""

SAMPLES_NAMED = 5
"""Samples that a message names."""


class NotFinite(InputError):
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
        student_largest: absolute value of the student's largest finite logit; None when none is.
        teacher_largest: of the teacher's; None without one as well.
        learning_rate: of the step.
    """

    place: Place
    at: str | None
    value: Literal["nan", "inf"] | None
    terms: tuple[str, ...]
    samples: tuple[Sample, ...]
    batch: int
    student_largest: float | None
    teacher_largest: float | None
    learning_rate: float

    def line(self) -> str:
        """All of it in one line, with what to do."""
        parts = [self._what()]
        if self.samples:
            named = ", ".join(f"position {one.index} (label {one.label})" for one in self.samples[:SAMPLES_NAMED])
            more = " and others" if len(self.samples) > SAMPLES_NAMED else ""
            parts.append(f"{len(self.samples)} of {self.batch} samples, {named}{more}")
        if self.terms and self.place == "gradient":
            parts.append(f"in loss term {', '.join(map(repr, self.terms))}")
        sizes = {"student": self.student_largest, "teacher": self.teacher_largest}
        largest = ", ".join(f"{who} {size:.4g}" for who, size in sizes.items() if size is not None)
        parts += [f"largest logits: {largest}"] if largest else []
        return "; ".join([*parts, _ADVICE[self.place].format(rate=f"{self.learning_rate:g}")])

    def _what(self) -> str:
        at = "" if self.at is None else f" ({self.at})"
        match self.place:
            case "weights":
                return f"the weights are not finite before the step, in {self.at}"
            case "term":
                return f"loss term {self.at!r} is {self.value}"
            case "total":
                return f"the sum of the losses is {self.value}"
            case "gradient":
                return f"the losses are finite, the gradient is {self.value}, at {self.at}"
            case "update":
                return f"losses and gradients are finite, the weights after the step are not, in {self.at}"
            case "unknown":
                return "every part of the step is finite when computed uncompiled"
            case "student":
                layer = "" if self.at is None else f", first after layer {self.at}"
                return f"the student's logits are {self.value}{layer}"
            case "teacher":
                return f"the teacher's logits are {self.value}"
        return f"the output of the {self.place}{at} is {self.value}"


_ADVICE: dict[Place, str] = {
    "weights": "start from finite weights",
    "teacher": "repair the teacher or its file, leave these samples out, or set on_nonfinite=skip",
    "student": "lower the learning rate (now {rate}), or set precision=fp32",
    "temperature": "the temperature must be finite and above 0: choose another setting",
    "correction": "its log-probabilities must be finite: choose another correction or setting",
    "selection": "its weights must be finite: choose another selection or setting",
    "term": "if the logits are large, training has diverged: lower the learning rate (now {rate}); "
    "else the loss or its weight is at fault",
    "total": "lower the learning rate (now {rate}), or the weights of the terms",
    "gradient": "if the logits are large, training has diverged: lower the learning rate (now {rate}); "
    "else a derivative is at fault (a root or a logarithm at 0?): repair it, or set on_nonfinite=skip",
    "update": "lower the learning rate (now {rate})",
    "unknown": "set compile=never",
}


@dataclass(frozen=True)
class FailureContext:
    """Which step failed, and how it was computed.

    Attributes:
        student: its name.
        epoch: counted from 1.
        step: of the epoch, counted from 1.
        steps: of the epoch.
        seed: of the training.
        rng_seed: the seed that the student draws from in this step.
        progress: share of training done when the step begins.
        samples: size of the training set.
        outputs: of the student.
        precision: of the student.
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
    precision: Literal["fp32", "bf16"]
    normalization: Normalization | None
    action: Literal["raise", "skip", "reduce_lr"]

    @classmethod
    def of(
        cls, trainer: "Trainer", student: "StudentTrainer", step: "Step", action: Literal["raise", "skip", "reduce_lr"]
    ) -> "FailureContext":
        """The context of a step that a student has just taken."""
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
            precision=student.precision,
            normalization=network.normalization if isinstance(network, ImageModel) else None,
            action=action,
        )


@dataclass(frozen=True)
class FailureReport:
    """A failed step, with all that is needed to replay it.

    Attributes:
        context: which step, and how it was computed.
        fault: where it first became non-finite.
        batch: its inputs, labels, positions.
        teacher: the teacher's output for it; None when no term used the teacher.
        state: of the student before the step.
    """

    context: FailureContext
    fault: FaultLocation
    batch: Batch
    teacher: TeacherOutput | None
    state: Mapping[str, Any]

    def line(self) -> str:
        """All of it in one line."""
        context = self.context
        return (
            f"student {context.student!r}: epoch {context.epoch}, step {context.step} of {context.steps}: "
            f"{self.fault.line()}"
        )

    def record(self) -> dict[str, Any]:
        """Everything but tensors, ready for JSON."""
        return {**asdict(self.context), "fault": asdict(self.fault)}

    def step(self, device: torch.device) -> "Step":
        """The step as it was, on a device."""
        from preceptor.training.student import Step  # which builds on callbacks, which build on this module

        batch, context, teacher = self.batch, self.context, self.teacher
        index = batch.index_cpu.to(device)
        inputs, label = to_device(batch.inputs, device), batch.label.to(device)
        if teacher is not None:
            features = {name: tensor.to(device) for name, tensor in teacher.features.items()}
            teacher = TeacherOutput(teacher.logits.to(device), features)
        return Step(
            epoch=context.epoch - 1,
            number=context.step - 1,
            steps=context.steps,
            progress=context.progress,
            rng_seed=context.rng_seed,
            batch=Batch(inputs, label, index, batch.index_cpu, batch.view),
            teacher=teacher,
        )


def save_failure(folder: Path, report: FailureReport) -> None:
    """Write a report, over the one before it.

    Raises:
        MachineError: it cannot be written.
    """
    state = io.BytesIO()
    torch.save(dict(report.state), state)
    batch = report.batch
    tensors = {"label": batch.label, "index": batch.index_cpu, "view": batch.view}
    named = [("inputs", batch.inputs)] if isinstance(batch.inputs, Tensor) else batch.inputs.items()
    tensors |= {f"inputs.{name}" if name != "inputs" else name: tensor for name, tensor in named}
    if report.teacher is not None:
        tensors["teacher"] = report.teacher.logits
        tensors |= {f"features.{name}": tensor for name, tensor in report.teacher.features.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    files = {STATE_FILE: state.getvalue(), BATCH_FILE: safetensors.torch.save(tensors)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    record = json.dumps({**report.record(), "sha256": digests}, indent=2, allow_nan=False)
    write_whole({folder / name: content for name, content in files.items()} | {folder / FAILURE_FILE: record.encode()})


def load_failure(folder: Path) -> FailureReport:
    """The report in a folder, its tensors on the CPU. Only tensors and plain values are unpickled.

    Raises:
        InputError: there is none, or it is damaged.
    """
    for name in (FAILURE_FILE, STATE_FILE, BATCH_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no {name}: no step of this run failed, or it lies elsewhere")
    try:
        record = read_json(folder / FAILURE_FILE)
        digests, fault = record.pop("sha256"), record.pop("fault")
        contents = {name: (folder / name).read_bytes() for name in (STATE_FILE, BATCH_FILE)}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != digests[name]:
                raise InputError(f"{folder / name}: damaged: its content does not match its checksum")
        tensors = safetensors.torch.load(contents[BATCH_FILE])
        inputs = tensors.get("inputs", _below(tensors, "inputs."))
        teacher = TeacherOutput(tensors["teacher"], _below(tensors, "features.")) if "teacher" in tensors else None
        return FailureReport(
            context=TypeAdapter(FailureContext).validate_python(record),
            fault=TypeAdapter(FaultLocation).validate_python(fault),
            batch=Batch(inputs, tensors["label"], tensors["index"], tensors["index"], tensors["view"]),
            teacher=teacher,
            state=torch.load(io.BytesIO(contents[STATE_FILE]), map_location="cpu", weights_only=True),
        )
    except InputError:
        raise
    except Exception as error:  # on a damaged file, readers raise nearly anything
        if out_of_memory(error):
            raise
        raise InputError(f"{folder}: not the report of a failed step, or damaged: {first_line(error)}") from error


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
