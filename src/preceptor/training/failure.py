"""A step that went wrong, kept with everything it takes to take it again: batch, seed, weights before it, fault."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from jaxtyping import Float
from pydantic import TypeAdapter
from torch import Tensor

from preceptor.data import Normalization
from preceptor.errors import InputError, first_line, out_of_memory
from preceptor.files import read_json, write_whole
from preceptor.models.layout import to_memory_format
from preceptor.training.batches import Batch
from preceptor.training.fault import FaultLocation
from preceptor.training.step import Step

OnNonfinite = Literal["stop", "skip", "lower"]
"""What to do when a step is not finite; see :func:`preceptor.training.fit`."""

STATE_FILE, BATCH_FILE, FAILURE_FILE = "state.pt", "batch.safetensors", "failure.json"

BATCH_NAMES = ("images", "label", "position", "view")


class NotFinite(InputError):
    """Training met a loss, a gradient or weights that are not finite, and the policy is to stop."""


@dataclass(frozen=True)
class FailureContext:
    """When a step went wrong, and how it was to be taken.

    Attributes:
        pupil: its name.
        epoch: counted from 1.
        step: of the epoch, counted from 1.
        steps: of the epoch.
        seed: of the training; with epoch and step it settles order, views and draws.
        draws: the seed the student draws from in this step, which follows from those three.
        progress: share of training done when the step begins.
        samples: of the training set.
        outputs: of the student.
        precision: of the student.
        normalization: of the student's images.
        action: what was done about it.
    """

    pupil: str
    epoch: int
    step: int
    steps: int
    seed: int
    draws: int
    progress: float
    samples: int
    outputs: int
    precision: Literal["fp32", "bf16"]
    normalization: Normalization
    action: OnNonfinite


@dataclass(frozen=True)
class FailureReport:
    """A step that went wrong.

    Attributes:
        occasion: when.
        fault: where it went wrong first.
        batch: as it was shown.
        signal: the teacher's logits for it; None when nobody listened.
        state: of the pupil before the step, see ``Seat.state``.
    """

    occasion: FailureContext
    fault: FaultLocation
    batch: Batch
    signal: Float[Tensor, "batch classes"] | None
    state: Mapping[str, Any]

    def line(self) -> str:
        """All of it in one line."""
        when = self.occasion
        return f"pupil {when.pupil!r}: epoch {when.epoch}, step {when.step} of {when.steps}: {self.fault.line()}"

    def record(self) -> dict[str, Any]:
        """Everything but tensors, ready for JSON."""
        return {**asdict(self.occasion), "fault": asdict(self.fault)}

    def again(self, device: torch.device) -> Step:
        """The step as it was, on a device."""
        kept = self.batch
        batch = _batch(kept.images.to(device), kept.label.to(device), kept.position, kept.view)
        when = self.occasion
        images = to_memory_format(when.normalization(batch.images))
        signal = None if self.signal is None else self.signal.to(device)
        return Step(when.epoch - 1, when.step - 1, when.progress, when.draws, batch, images, signal)


def save_failure(folder: Path, failure: FailureReport) -> None:
    """Write a failure, over the one before it.

    Raises:
        MachineError: it cannot be written.
    """
    state = io.BytesIO()
    torch.save(dict(failure.state), state)
    files = {STATE_FILE: state.getvalue(), BATCH_FILE: safetensors.torch.save(_tensors(failure))}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    record = json.dumps({**failure.record(), "sha256": digests}, indent=2, allow_nan=False)
    write_whole({folder / name: content for name, content in files.items()} | {folder / FAILURE_FILE: record.encode()})


def load_failure(folder: Path) -> FailureReport:
    """The failure in a folder; its tensors are on the CPU. Nothing in it is unpickled but tensors and plain values.

    Raises:
        InputError: there is none, or it is damaged.
    """
    for name in (FAILURE_FILE, STATE_FILE, BATCH_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no {name}: no step of this run went wrong, or it lies elsewhere")
    try:
        record = read_json(folder / FAILURE_FILE)
        digests, fault = record.pop("sha256"), record.pop("fault")
        contents = {name: (folder / name).read_bytes() for name in (STATE_FILE, BATCH_FILE)}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != digests[name]:
                raise InputError(f"{folder / name}: damaged: its content does not match its checksum")
        tensors = safetensors.torch.load(contents[BATCH_FILE])
        return FailureReport(
            occasion=TypeAdapter(FailureContext).validate_python(record),
            fault=TypeAdapter(FaultLocation).validate_python(fault),
            batch=_batch(*(tensors[name] for name in BATCH_NAMES)),
            signal=tensors.get("signal"),
            state=torch.load(io.BytesIO(contents[STATE_FILE]), map_location="cpu", weights_only=True),
        )
    except InputError:
        raise
    except Exception as error:  # what is no failure, whatever its name says, makes readers raise nearly anything
        if out_of_memory(error):
            raise
        raise InputError(
            f"{folder}: not what a run writes of a step that went wrong, or damaged: {first_line(error)}"
        ) from error


def _tensors(failure: FailureReport) -> dict[str, Tensor]:
    batch = failure.batch
    named = {name: getattr(batch, name) for name in BATCH_NAMES}
    if failure.signal is not None:
        named["signal"] = failure.signal
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _batch(images: Tensor, label: Tensor, position: Tensor, view: Tensor) -> Batch:
    """The index of a batch is its positions, on its device."""
    return Batch(images, label, position.to(images.device), position, view)
