"""Goes on with a run that was stopped or killed; it ends in the same bits as one that was not."""

import json
import warnings
from collections.abc import Mapping
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

from preceptor.config import read_yaml
from preceptor.errors import InputError
from preceptor.files import write_whole
from preceptor.runs.config import RunConfig, resolve
from preceptor.runs.folder import METRICS_FILE, RUN_FILE, RunFolder, versions
from preceptor.runs.lock import held
from preceptor.runs.material import Material, prepare
from preceptor.runs.selection import data_fingerprint, settle_selection
from preceptor.runs.signals import Teacher
from preceptor.runs.single import CHECKPOINT_FOLDER, SCORES_FILE, RunResult, complete
from preceptor.runs.teaching import settle_teacher
from preceptor.training import Watcher
from preceptor.training.checkpoint import SECONDS_BETWEEN, CheckpointKeeper, load_newest
from preceptor.training.device import choose_device, deterministic


def stopped_run(folder: Path) -> tuple[RunConfig, Mapping[str, Any]]:
    """The configuration and the record of a run that is not complete.

    Raises:
        InputError: no run in the folder, or one that is complete.
    """
    if not (folder / RUN_FILE).is_file():
        raise InputError(f"{folder}: no {RUN_FILE}, so no run that could go on: give the folder of a stopped run")
    content = read_yaml(folder / RUN_FILE)
    if set(content) != {"config", "record"} or not all(isinstance(part, dict) for part in content.values()):
        raise InputError(f"{folder / RUN_FILE}: holds no run's configuration and record: give a run's folder")
    for entry in _entries(folder):
        if entry.get("event") == "end":
            raise InputError(f"{folder}: the run is complete: there is nothing to go on with")
        if entry.get("event") == "failed":
            raise InputError(
                f"{folder}: the run ended where it would end again ({entry.get('says')}): look at the step with "
                f"preceptor replay {folder}, and start a new run, mended or with on_nonfinite=skip or =lower"
            )
    return resolve(content["config"]), content["record"]


def resume(folder: Path, watcher: Watcher | None = None, *, checkpoint_seconds: float = SECONDS_BETWEEN) -> RunResult:
    """Go on with a run from its newest checkpoint that is whole, or from the beginning if it has none.

    On the same hardware and versions student and metrics are, bit for bit, those of a run that was never stopped; of a
    teacher behind a bank, as long as nobody else fills it. A checkpoint that is damaged is named in a warning.

    Args:
        folder: of the run.
        watcher: told about progress.
        checkpoint_seconds: between two checkpoints. Default 60.

    Raises:
        InputError: no run that could go on, another process running it, or data, teacher or scores that are no longer
            those it was started with.
        EnvironmentProblem: no such device, or the folder cannot be written.
        Stopped: by Ctrl-C or SIGTERM, with a checkpoint.
    """
    config, record = stopped_run(folder)
    device = choose_device(config.device)
    with deterministic(), held(folder), closing(prepare(config, device)) as material:
        _clear_remains(folder)
        scores_file = folder / SCORES_FILE
        found_scores = config.model_copy(update={"scores": scores_file}) if scores_file.exists() else config
        scores = settle_selection(found_scores, material)
        teacher = settle_teacher(config, material, _was_compiled(record))
        _check_same(folder, record, material, teacher)
        found = load_newest(folder / CHECKPOINT_FOLDER, device)
        if found.damaged:
            warnings.warn(f"damaged, the one before is used: {', '.join(found.damaged)}", stacklevel=2)
        _forget_after(folder, *((0, 0) if found.moment is None else (found.moment.epoch, found.moment.step)))
        keeper = CheckpointKeeper(folder / CHECKPOINT_FOLDER, checkpoint_seconds)
        run_folder = RunFolder.reopened(folder)
        return complete(config, material, teacher, scores, run_folder, watcher, keeper, found.moment)


_OTHER = {"data": "other data", "teacher": "another teacher"}


def _was_compiled(record: Mapping[str, Any]) -> bool:
    return bool(_part(record, "teacher").get("compiled", False))


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of the record; nothing where it is none, or has been tampered with."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _check_same(folder: Path, record: Mapping[str, Any], material: Material, teacher: Teacher | None) -> None:
    """Refuse to go on with something else; warn where the bits may come out otherwise."""
    before = _part(record, "fingerprints")
    now = {
        "data": data_fingerprint(material.dataset),
        "teacher": None if teacher is None else teacher.fingerprint,
    }
    for what, fingerprint in now.items():
        if before.get(what) != fingerprint:
            raise InputError(
                f"{folder}: was started with {_OTHER[what]} than there is now: bring it back, or start a new run"
            )
    changed = [name for name, version in versions().items() if _part(record, "versions").get(name) != version]
    if changed:
        warnings.warn(
            f"{folder}: was started with another {', '.join(changed)}: the bits may differ from a run that was never "
            "stopped",
            stacklevel=3,
        )


def _clear_remains(folder: Path) -> None:
    """Take away what a process left half-written when it was killed."""
    for part in (*folder.glob(".*.part"), *(folder / CHECKPOINT_FOLDER).glob(".*.part")):
        part.unlink(missing_ok=True)


def _forget_after(folder: Path, epochs: int, steps: int) -> None:
    """Keep the metrics of so many epochs and so many steps of the next; those after them are made again."""
    kept = takewhile(lambda entry: _is_before(entry, epochs, steps), _entries(folder))
    text = "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in kept)
    write_whole({folder / METRICS_FILE: text.encode()})


def _is_before(entry: Mapping[str, Any], epochs: int, steps: int) -> bool:
    if entry.get("event") == "nonfinite":
        return bool((entry["epoch"], entry["step"]) <= (epochs + 1, steps))
    return entry.get("event") == "epoch" and entry["epoch"] <= epochs


_NUMBERED: dict[object, tuple[str, ...]] = {"epoch": ("epoch",), "nonfinite": ("epoch", "step")}
"""What must be numbers in a line of the metrics, by event."""


def _entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics; the last may have been torn."""
    path = folder / METRICS_FILE
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
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
