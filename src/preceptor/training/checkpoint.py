"""Checkpoints of a training on disk, written at intervals and on signals."""

import hashlib
import io
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch

from preceptor.errors import InputError, Interrupted, first_line, out_of_memory
from preceptor.files import write_whole
from preceptor.training.callbacks import Callback, TrainState
from preceptor.training.distributed import STEPS_BETWEEN_AGREEMENTS, agreed, rank, world_size

if TYPE_CHECKING:
    from preceptor.training.metrics import EpochRecord
    from preceptor.training.step import Step
    from preceptor.training.trainer import Trainer

KEPT = 2
"""How many checkpoints lie in a folder: the newest, and the one before in case the newest is damaged."""

SECONDS_BETWEEN = 60.0
"""The usual time between checkpoints: what a kill costs at most."""

STUDENT = "student"
"""The name under which a checkpoint holds its student, and which the student of a run has."""

_PLACE = len("epoch-000000-step-00000000")
"""Letters of a checkpoint's name that say where the training stood."""

_NAME = re.compile(r"epoch-(?P<epoch>\d{6})-step-(?P<step>\d{8})-(?P<digest>[0-9a-f]{16})\.pt")


@dataclass(frozen=True)
class LatestCheckpoint:
    """The newest intact checkpoint of a folder.

    Attributes:
        state: None when there is none.
        path: of its file.
        damaged: names of newer files that are damaged.
    """

    state: TrainState | None
    path: Path | None
    damaged: tuple[str, ...]


class CheckpointCallback(Callback):
    """Writes a checkpoint every so often, and when it is told to stop.

    Each is written beside its place, synced and renamed, and only then an older one removed: whatever happens in the
    midst of it, an intact one remains.

    Args:
        folders: of the checkpoints by student, made if need be: each holds the state of one student, under the name
            ``student``, so that it can go on alone.
        seconds: between two of them. Default 60.

    Attributes:
        stopping: set it (:func:`stopping_on_signals` does) to end the training after the current step.

    Raises:
        Interrupted: from training, when it was told to stop; a checkpoint is written.
        MachineError: from training, when the disk is full or refuses; the checkpoint before is intact.
    """

    def __init__(self, folders: Mapping[str, Path], seconds: float = SECONDS_BETWEEN) -> None:
        self.folders, self.seconds = folders, seconds
        self.stopping = threading.Event()
        self._last = time.monotonic()

    def on_step_end(self, trainer: "Trainer", step: "Step") -> None:
        """Write a checkpoint if one is due; after an epoch's last step that waits for the epoch's records."""
        between = STEPS_BETWEEN_AGREEMENTS if world_size() > 1 else 1
        if step.number + 1 < step.steps and (step.number + 1) % between == 0:
            self._write_if_due(trainer)

    def on_epoch_end(self, trainer: "Trainer", records: "list[EpochRecord]") -> None:
        self._write_if_due(trainer)

    def _write_if_due(self, trainer: "Trainer") -> None:
        # All processes must stop after the same step, whichever of them a signal has reached.
        stopping, due = agreed([self.stopping.is_set(), time.monotonic() - self._last >= self.seconds])
        if stopping or due:
            state = trainer.state()
            for name, folder in self.folders.items() if rank() == 0 else ():
                save(folder, replace(state, students={STUDENT: state.students[name]}))
            self._last = time.monotonic()
        if stopping:
            folder = next(iter(self.folders.values()))
            raise Interrupted(f"stopped, with a checkpoint in {folder}: preceptor resume {folder.parent}")


def save(folder: Path, state: TrainState) -> Path:
    """Write a checkpoint, and remove all but the newest two.

    Raises:
        MachineError: it cannot be written; what was there is.
    """
    file = io.BytesIO()
    torch.save({"epoch": state.epoch, "step": state.step, "students": state.students}, file)
    content = file.getvalue()
    path = folder / f"epoch-{state.epoch:06}-step-{state.step:08}-{_digest(content)}.pt"
    write_whole({path: content})
    for old in _listed(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folders: Mapping[str, Path], device: torch.device) -> LatestCheckpoint:
    """The newest state that is intact in the folders of all students, its tensors on a device."""
    damaged: list[str] = []
    listed = {name: {path.name[:_PLACE]: path for path in _listed(folder)} for name, folder in folders.items()}
    common = set.intersection(*(set(places) for places in listed.values()))
    for place in sorted(common, reverse=True):
        paths = {name: places[place] for name, places in listed.items()}
        states: dict[str, TrainState] = {}
        for name, path in paths.items():
            try:
                states[name] = load(path, device)
            except InputError:
                damaged.append(path.name)
        if len(states) == len(folders):
            first = next(iter(states.values()))
            students = {name: state.students.get(STUDENT) for name, state in states.items()}
            return LatestCheckpoint(replace(first, students=students), next(iter(paths.values())), tuple(damaged))
    return LatestCheckpoint(None, None, tuple(damaged))


def load(path: Path, device: torch.device) -> TrainState:
    """The training state in a checkpoint.

    Raises:
        InputError: its content is not what its name says.
    """
    match = _NAME.fullmatch(path.name)
    content = path.read_bytes()
    if match is None or _digest(content) != match["digest"]:
        raise InputError(f"{path}: damaged: its content does not match the checksum in its name")
    try:
        kept = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        state = TrainState(kept["epoch"], kept["step"], kept["students"])
        if (state.epoch, state.step) != (int(match["epoch"]), int(match["step"])) or type(state.students) is not dict:
            raise ValueError("it holds another state than its name says")
        return state
    except Exception as error:  # what is no checkpoint, whatever its name says, makes torch raise nearly anything
        if out_of_memory(error):  # then it is not the checkpoint that is at fault
            raise
        raise InputError(f"{path}: no checkpoint of a run, and not opened any further: {first_line(error)}") from error


@contextmanager
def stopping_on_signals(checkpoints: CheckpointCallback) -> Iterator[None]:
    """Within it a signal to stop has the keeper stop the training at the next step, with a checkpoint.

    These are SIGINT (Ctrl-C), SIGTERM, SIGHUP (a dropped connection; not under nohup, which ignores it) and SIGUSR1
    (Slurm, before the time limit). A second SIGINT or SIGTERM ends the training at once.
    """
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return

    insistent, received = {signal.SIGINT, signal.SIGTERM}, set()

    def stop(number: int, _: FrameType | None) -> None:
        # Several different ones may come at once: a system that shuts down sends SIGTERM and SIGHUP.
        if number in received and number in insistent:
            raise KeyboardInterrupt
        received.add(number)
        checkpoints.stopping.set()

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # Windows has only the first two
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ignored = {number for number in numbers if signal.getsignal(number) == signal.SIG_IGN} - insistent
    before = {number: signal.signal(number, stop) for number in numbers if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listed(folder: Path) -> list[Path]:
    """The newest first: names sort like epochs and steps."""
    paths = [path for path in folder.glob("*.pt") if _NAME.fullmatch(path.name) and path.is_file()]
    return sorted(paths, reverse=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
