"""A run's folder: its record and metrics, checkpoints, scores, and a step that went wrong."""

import hashlib
import io
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from preceptor.teachers.base import TeacherOutput
from tests.fuzz.registry import target


@target(lambda: [_run_record()])
def stopped_run(folder: Path, content: bytes) -> None:
    """A run folder to go on with: its record, or, behind a zero byte, its metrics."""
    from preceptor.run.resume import _forget_after, _part, _was_compiled
    from preceptor.run.resume import stopped_run as look

    record, _, metrics = content.partition(b"\0")
    (folder / "run.yaml").write_bytes(record)
    (folder / "metrics.jsonl").write_bytes(metrics)
    _, found = look(folder)
    _was_compiled(found)
    assert all(isinstance(key, str) for key in _part(found, "versions"))
    _forget_after(folder, 1, 1)


def _run_record() -> bytes:
    record = (
        b"config: {recipe: kd, data: digits}\nrecord: {versions: {torch: '2'}, fingerprints: {data: x, teacher: y}}\n"
    )
    return record + b"\0" + b'{"event": "epoch", "epoch": 1, "loss": 0.5}\n{"event": "epoch", "epoch": 2}\n'


@target(lambda: [_checkpoint()])
def checkpoint(folder: Path, content: bytes) -> None:
    """A checkpoint whose checksum is right, for whoever made the bytes can make that too."""
    from preceptor.training.checkpoint import load

    path = folder / f"epoch-000001-step-00000002-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    load(path, torch.device("cpu"))


def _checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"epoch": 1, "step": 2, "pupils": {"student": {"weight": torch.zeros(3)}}}, file)
    return file.getvalue()


@target(lambda: [_scores()])
def scores(folder: Path, content: bytes) -> None:
    from preceptor.run.scores import load_scores

    (folder / "scores.safetensors").write_bytes(content)
    load_scores(folder / "scores.safetensors")


def _scores() -> bytes:
    origin = {"name": "el2n", "options": {}, "data": "digits", "data_fingerprint": "x", "teacher_fingerprint": "y"}
    origin |= {"size": 3, "held_out": 0, "checkpoints": 1, "seed": 0, "preceptor": "0.1.0"}
    tensors = {"index": torch.arange(3), "score": torch.zeros(3), "selected": torch.ones(3, dtype=torch.bool)}
    return safetensors.torch.save(tensors, {"preceptor-scores": json.dumps(origin)})


@cache
def _stopped() -> Any:
    """A moment of a short training, and what goes on from it."""
    from preceptor.training import Student, TrainingConfig, fit
    from tests.classroom import digits, few, network
    from tests.examples import ready

    kept = []

    class Keeps:
        def after_step(self, moment: Any) -> None:
            file = io.BytesIO()
            made = moment()
            torch.save(made.pupils, file)
            kept.append((made.epoch, made.step, file.getvalue()))

    def going_on(start: Any = None) -> None:
        data = digits()
        pupil = Student(
            "student", network(0, "convnet4", outputs=11), ready("corrected-self-adaptive", len(data.train))
        )
        how = {"teacher": Said(), "compile": "never", "keeper": Keeps(), "start": start}
        rule, training = data.augmentation, TrainingConfig(epochs=2, batch_size=8)
        list(fit([pupil], data.train, few(16), rule, data.normalization, training, **how))

    going_on()
    return kept[1], going_on


class Said:
    """A teacher that says the same of everything."""

    classes = 10

    def outputs(self, images: Any, index: Any, view: Any) -> TeacherOutput:
        return TeacherOutput(torch.arange(10.0).repeat(len(images), 1))


def _changes() -> list[bytes]:
    changes = [
        (["lowered"], 0),
        (["optimizer", "state", 0], [1]),
        (["scheduler", "last_epoch"], -1),
        (["scheduler", "optimizer"], {}),
        (["tally", "losses"], {"kl": [[1.0]]}),
        (["optimizer", "param_groups", 0, "lr"], 1e300),
        (["chain", "_terms.head.loss.belief"], [0.5, 0.5]),
        (["student"], {}),
    ]
    return [f"{json.dumps(path)}\n{json.dumps(value)}".encode() for path, value in changes]


@target(_changes)
def moment(folder: Path, content: bytes) -> None:
    """A checkpoint that is whole, in which one thing is another: the path to it, and, on a line of its own, what."""
    from preceptor.training.callbacks import TrainState

    (epoch, step, state), going_on = _stopped()
    pupils = torch.load(io.BytesIO(state), weights_only=True)
    path, _, value = content.partition(b"\n")
    try:
        put(pupils["student"], json.loads(path), as_tensors(json.loads(value)))
    except (ValueError, LookupError, TypeError, RecursionError, RuntimeError, OverflowError):
        return  # it names no place, or nothing that torch could have written
    going_on(TrainState(epoch, step, pupils))


def put(there: Any, path: Any, value: Any) -> None:
    *above, last = path
    for key in above:
        there = there[key]
    there[last] = value


def as_tensors(value: Any) -> Any:
    """Lists of numbers as the tensors that a checkpoint holds."""
    if isinstance(value, list):
        return torch.tensor(value)
    return {key: as_tensors(part) for key, part in value.items()} if isinstance(value, dict) else value


@cache
def _failed() -> tuple[bytes, bytes, bytes]:
    """What a run writes of a step that went wrong: record, batch, and state."""
    from tempfile import TemporaryDirectory

    from preceptor.training import NotFinite, Student, TrainingConfig, fit
    from preceptor.training.failure import BATCH_FILE, FAILURE_FILE, STATE_FILE, save_failure
    from tests.classroom import digits, few, network
    from tests.examples import ready

    data, found = digits(), []
    pupil = Student("student", network(0, "convnet4"), ready("none"))
    with torch.no_grad():
        next(pupil.student.parameters())[0] = torch.nan
    try:
        training = TrainingConfig(epochs=1, batch_size=8)
        how = {"compile": "never", "on_failure": found.append}
        list(fit([pupil], data.train, few(8), data.augmentation, data.normalization, training, **how))
    except NotFinite:
        pass
    with TemporaryDirectory() as name:
        save_failure(Path(name), found[0])
        record, batch, state = ((Path(name) / file).read_bytes() for file in (FAILURE_FILE, BATCH_FILE, STATE_FILE))
    return record, batch, state


def _replay(folder: Path, record: bytes, batch: bytes, state: bytes) -> None:
    """The files of a failed run, their checksums right where the record can hold them."""
    from preceptor.run import replay
    from preceptor.training.failure import BATCH_FILE, FAILURE_FILE, STATE_FILE

    (folder / "failure").mkdir()
    config = b"{data: digits, student: convnet4, recipe: none, device: cpu}"
    (folder / "run.yaml").write_bytes(b"config: " + config + b"\nrecord: {}\n")
    digests = {BATCH_FILE: hashlib.sha256(batch).hexdigest(), STATE_FILE: hashlib.sha256(state).hexdigest()}
    with suppress(ValueError, TypeError, RecursionError):
        record = json.dumps({**json.loads(record), "sha256": digests}).encode()
    for name, content in ((FAILURE_FILE, record), (BATCH_FILE, batch), (STATE_FILE, state)):
        (folder / "failure" / name).write_bytes(content)
    replay(folder)


@target(lambda: [_failed()[0]])
def failure_record(folder: Path, content: bytes) -> None:
    _replay(folder, content, *_failed()[1:])


@target(lambda: [_failed()[1]])
def failure_batch(folder: Path, content: bytes) -> None:
    _replay(folder, _failed()[0], content, _failed()[2])


@target(lambda: [_failed()[2]])
def failure_state(folder: Path, content: bytes) -> None:
    _replay(folder, *_failed()[:2], content)
