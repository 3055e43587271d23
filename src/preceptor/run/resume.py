"""Goes on with a run that was stopped or killed; it ends in the same bits as one that was not."""

import dataclasses
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import torch

from preceptor.errors import InputError
from preceptor.files import write_whole
from preceptor.run.cache_plan import resolve_teacher
from preceptor.run.config import RunConfig, resolve
from preceptor.run.doctor import Finding
from preceptor.run.folder import METRICS_FILE, RUN_FILE, RunFolder, clear_remains, read_run, versions
from preceptor.run.lock import held
from preceptor.run.open_run import CHECKPOINT_FOLDER, SCORES_FILE, OpenRun
from preceptor.run.own_parts import FROM_PYTHON, NO_PARTS, OwnParts
from preceptor.run.selection import resolve_selection
from preceptor.run.set_up import RunContext, fingerprints, set_up, settings_digest
from preceptor.run.teachers import LoadedTeacher
from preceptor.run.train import RunResult, complete, look
from preceptor.training import Callback, IncompatibleCheckpoint
from preceptor.training.checkpoint import SECONDS_BETWEEN, STUDENT, LatestCheckpoint, load_newest
from preceptor.training.device import choose_device, deterministic
from preceptor.training.distributed import rank

RunState = Literal["absent", "stopped", "failed", "complete"]


def run_state(folder: Path) -> RunState:
    """How far the run of a folder has come; ``failed``: it would fail again."""
    if not (folder / RUN_FILE).is_file():
        return "absent"
    events = {entry.get("event") for entry in run_entries(folder)}
    return "complete" if "end" in events else "failed" if "failed" in events else "stopped"


def stopped_run(folder: Path, moved: Iterable[tuple[str, Any]] = ()) -> tuple[RunConfig, Mapping[str, Any]]:
    """The configuration and the record of a run that is not complete; ``moved`` settings say where something is now.

    Raises:
        InputError: no run in the folder, one that is complete or cannot go on, or one whose settings were changed.
    """
    if not (folder / RUN_FILE).is_file():
        raise InputError(f"{folder}: no {RUN_FILE}, so no run that could go on: give the folder of a stopped run")
    settings, record = read_run(folder)
    for entry in run_entries(folder):
        if entry.get("event") == "end":
            raise InputError(f"{folder}: the run is complete: there is nothing to go on with")
        if entry.get("event") == "failed":
            from_python = str(settings.get("student")).startswith(FROM_PYTHON)
            shown = "" if from_python else f", after a step that preceptor replay {folder} shows,"
            raise InputError(
                f"{folder}: the run ended where it would end again ({entry.get('message')}): start a new run, mended "
                f"or{shown} with on_nonfinite=skip"
            )
    config = resolve(settings, moved)
    if _part(record, "fingerprints").get("settings") != settings_digest(settings):
        raise InputError(
            f"{folder / RUN_FILE}: its settings are not those that the run was started with: undo the change, or start "
            f"a new run with --config {folder / RUN_FILE}"
        )
    return config, record


def resume(
    folder: Path,
    callbacks: Sequence[Callback] = (),
    *,
    checkpoint_seconds: float = SECONDS_BETWEEN,
    moved: Iterable[tuple[str, Any]] = (),
    on_finding: Callable[[Finding], None] = lambda finding: None,
    force: bool = False,
    own: OwnParts = NO_PARTS,
) -> RunResult:
    """Go on with a run from its newest checkpoint that is whole, or from the beginning if it has none.

    On the same hardware and versions student and metrics are, bit for bit, those of a run that was never stopped; of a
    teacher behind a cache, as long as nobody else fills it. A checkpoint that is damaged is named in a warning.

    Args:
        folder: of the run.
        callbacks: of the training.
        checkpoint_seconds: between two checkpoints. Default 60.
        moved: settings that say where something is (``data``, ``teacher``, ...) and where it is now.
        on_finding: called with each problem or warning of the doctor's quick check.
        force: go on in spite of a problem that it finds; a run that was started so needs it no more. Default False.
        own: the Python objects that the run was started with.

    Raises:
        ProblemsFound: an InputError too: the quick check found problems, and the run was never forced.
        InputError: no run that could go on, another process running it, a link in its folder, a checkpoint of another
            run, or settings, data, teacher or scores that are no longer those it was started with.
        MachineError: no such device, or the folder cannot be written.
        Interrupted: by Ctrl-C or SIGTERM, with a checkpoint.
    """
    config, _ = stopped_run(folder, moved)
    device = choose_device(config.device)
    _check_no_links(folder)
    with deterministic(), held(folder):
        config, record = stopped_run(folder, moved)  # another process may have ended it only just now
        with closing(set_up(config, device, own)) as context:
            check_same(folder, record, context)
            forced = record.get("forced") is True
            look(context, on_finding, force or forced)
            if force and not forced:
                RunFolder(folder, resumed=True).write_config(read_run(folder)[0], {**record, "forced": True})
            return _go_on(folder, config, record, context, callbacks, checkpoint_seconds)


def _go_on(
    folder: Path,
    config: RunConfig,
    record: Mapping[str, Any],
    context: RunContext,
    callbacks: Sequence[Callback],
    checkpoint_seconds: float,
) -> RunResult:
    run = reopen(folder, config, context)
    compiled = bool(_part(record, "teacher").get("compiled", False))
    teacher = _as_it_began(resolve_teacher(config, context, compiled), record)
    latest = go_back([run], context.train.images.device)
    try:
        (result,) = complete([run], teacher, callbacks, checkpoint_seconds, latest.state)
    except IncompatibleCheckpoint as error:
        raise InputError(f"{latest.path}: of another run ({error}): remove it, or start a new run") from error
    return result


def reopen(folder: Path, config: RunConfig, context: RunContext, name: str = STUDENT) -> OpenRun:
    """The run of a folder, its selection as it was fitted."""
    scores_file = folder / SCORES_FILE
    found_scores = config.model_copy(update={"scores": scores_file}) if scores_file.exists() else config
    scores = resolve_selection(found_scores, context)
    run_folder = RunFolder(folder, resumed=True)
    run_folder.write_skipped(context.dataset.skipped)
    return OpenRun(config, context, run_folder, scores, name)


def go_back(runs: Sequence[OpenRun], device: torch.device) -> LatestCheckpoint:
    """The newest state that all runs have; what their folders hold of later steps is removed."""
    folders = {run.name: run.folder.path / CHECKPOINT_FOLDER for run in runs}
    if rank() == 0:
        for folder in folders.values():
            clear_remains(folder)
    latest = load_newest(folders, device)
    if latest.damaged:
        instead = "the run begins again" if latest.state is None else "the one before is used"
        warnings.warn(f"damaged, {instead}: {', '.join(latest.damaged)}", stacklevel=4)
    for run in runs if rank() == 0 else ():
        _forget_after(run.folder.path, *((0, 0) if latest.state is None else (latest.state.epoch, latest.state.step)))
    return latest


_OTHER = {
    "data": "other data",
    "test": "another test set",
    "teacher": "another teacher",
    "teacher_normalization": "another normalization of the teacher's images",
    "audit": "another audit",
    "start": "other weights to start from",
}


def _check_no_links(folder: Path) -> None:
    """In a folder from somebody else a link may lead what is written anywhere."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise InputError(f"{path}: a link, and a run makes none: put what it leads to there, or remove it")


def _as_it_began(teacher: LoadedTeacher | None, record: Mapping[str, Any]) -> LoadedTeacher | None:
    """The teacher, its cache counted from where it stood when the run was started."""
    held = _part(_part(record, "teacher"), "cache").get("held")
    return dataclasses.replace(teacher, held=held) if teacher is not None and isinstance(held, int) else teacher


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of the record; nothing where it is none, or has been tampered with."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def check_same(folder: Path, record: Mapping[str, Any], context: RunContext) -> None:
    """Refuse to go on with something else; warn where the bits may come out otherwise."""
    before = _part(record, "fingerprints")
    for what, fingerprint in fingerprints(context, context.teacher).items():
        if before.get(what) != fingerprint:
            raise InputError(
                f"{folder}: was started with {_OTHER[what]} than there is now: bring it back, or start a new run"
            )
    changed = [name for name, version in versions().items() if _part(record, "versions").get(name) != version]
    if changed:
        warnings.warn(
            f"{folder}: was started with another {', '.join(changed)}: the bits may differ from a run that was never "
            "stopped",
            stacklevel=2,
        )


def _forget_after(folder: Path, epochs: int, steps: int) -> None:
    """Keep the metrics of so many epochs and so many steps of the next; those after them are made again."""
    kept = takewhile(lambda entry: _is_before(entry, epochs, steps), run_entries(folder))
    text = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in kept)
    write_whole({folder / METRICS_FILE: text.encode()})


def _is_before(entry: Mapping[str, Any], epochs: int, steps: int) -> bool:
    if entry.get("event") == "nonfinite":
        return bool((entry["epoch"], entry["step"]) <= (epochs + 1, steps))
    return entry.get("event") == "epoch" and entry["epoch"] <= epochs


MOST_LETTERS = 2**24
"""In a line of the metrics; the longest we write names every sample of a batch."""

_NUMBERED: dict[object, tuple[str, ...]] = {"epoch": ("epoch",), "nonfinite": ("epoch", "step")}
"""What must be numbers in a line of the metrics, by event."""


def run_entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics; the last may have been torn."""
    entries = []
    for line in _lines(folder / METRICS_FILE):
        try:
            entry = json.loads(line)
            json.dumps(entry, allow_nan=False)  # what we could not have written is not ours
        except (ValueError, RecursionError):
            break
        if isinstance(entry, dict) and all(
            isinstance(entry.get(key), int) for key in _NUMBERED.get(str(entry.get("event")), ())
        ):
            entries.append(entry)
    return entries


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, none if there is no such file; one that is too long is cut, and so no JSON any more."""
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(MOST_LETTERS):
                yield line
