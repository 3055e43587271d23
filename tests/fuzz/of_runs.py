"""A run's folder: its record and metrics, checkpoints, scores, and a failed step."""

import hashlib
import io
import json
from contextlib import suppress
from functools import cache
from pathlib import Path

import safetensors.torch
import torch

from preceptor.training import FailureReport, NotFinite, TrainingConfig
from tests.fuzz.registry import target


@target(lambda: [_run_record()])
def stopped_run(folder: Path, content: bytes) -> None:
    """A run folder to go on with: its record, or, behind a zero byte, its metrics."""
    from preceptor.run.resume import _forget_after, _part
    from preceptor.run.resume import stopped_run as look

    record, _, metrics = content.partition(b"\0")
    (folder / "run.yaml").write_bytes(record)
    (folder / "metrics.jsonl").write_bytes(metrics)
    _, earlier = look(folder)
    assert all(isinstance(key, str) for key in _part(earlier, "versions"))
    _forget_after(folder, 1, 1)


def _run_record() -> bytes:
    from preceptor.run.set_up import settings_digest

    settings = settings_digest({"recipe": "kd", "data": "digits"})
    record = f"record: {{versions: {{torch: '2'}}, fingerprints: {{settings: {settings}, data: x, teacher: y}}}}\n"
    return (
        b"config: {recipe: kd, data: digits}\n"
        + record.encode()
        + b"\0"
        + b'{"event": "epoch", "epoch": 1, "loss": 0.5}\n{"event": "epoch", "epoch": 2}\n'
    )


@target(lambda: [_checkpoint()])
def checkpoint(folder: Path, content: bytes) -> None:
    """A checkpoint whose checksum is right, as whoever makes the file can make that too."""
    from preceptor.training.checkpoint import load

    path = folder / f"epoch-000001-step-00000002-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    load(path, torch.device("cpu"))


def _checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"epoch": 1, "step": 2, "students": {"student": {"weight": torch.zeros(3)}}}, file)
    return file.getvalue()


@target(lambda: [_scores()])
def scores(folder: Path, content: bytes) -> None:
    from preceptor.run.scores import load_scores

    (folder / "scores.safetensors").write_bytes(content)
    load_scores(folder / "scores.safetensors")


def _scores() -> bytes:
    origin = {"component": "el2n", "options": {}, "data": "digits", "data_fingerprint": "x", "teacher_fingerprint": "y"}
    origin |= {"size": 3, "held_out": 0, "checkpoints": 1, "seed": 0, "preceptor": "0.1.0"}
    tensors = {"index": torch.arange(3), "score": torch.zeros(3), "selected": torch.ones(3, dtype=torch.bool)}
    return safetensors.torch.save(tensors, {"preceptor-scores": json.dumps(origin)})


@cache
def _failed() -> tuple[bytes, bytes]:
    """What a run writes of a failed step: record and state."""
    from tempfile import TemporaryDirectory

    from preceptor.training.failure import FAILURE_FILE, STATE_FILE, save_failure
    from tests.training_helpers import make_student, train

    reports: list[FailureReport] = []
    student = make_student()
    with torch.no_grad():
        next(student.network.parameters())[0] = torch.nan
    with suppress(NotFinite):
        training = TrainingConfig(epochs=1, batch_size=8)
        train([student], 10, training, teacher=None, compile="never", on_failure=reports.append)
    with TemporaryDirectory() as name:
        save_failure(Path(name), reports[0])
        record, state = ((Path(name) / file).read_bytes() for file in (FAILURE_FILE, STATE_FILE))
    return record, state


def _replay(folder: Path, record: bytes, state: bytes) -> None:
    """The files of a failed run, the checksum right where the record can hold them."""
    from preceptor.run import replay
    from preceptor.training.failure import FAILURE_FILE, STATE_FILE

    (folder / "failure").mkdir()
    config = b"{data: digits, student: convnet8, recipe: none, device: cpu}"
    (folder / "run.yaml").write_bytes(b"config: " + config + b"\nrecord: {}\n")
    with suppress(ValueError, TypeError, RecursionError):
        record = json.dumps({**json.loads(record), "sha256": hashlib.sha256(state).hexdigest()}).encode()
    for name, content in ((FAILURE_FILE, record), (STATE_FILE, state)):
        (folder / "failure" / name).write_bytes(content)
    replay(folder)


@target(lambda: [_failed()[0]])
def failure_record(folder: Path, content: bytes) -> None:
    _replay(folder, content, _failed()[1])


@target(lambda: [_failed()[1]])
def failure_state(folder: Path, content: bytes) -> None:
    _replay(folder, _failed()[0], content)
