"""A run that has begun: its folder, locked and filled with what is known before the first step."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from preceptor.run.config import RunConfig
from preceptor.run.doctor import Diagnosis
from preceptor.run.folder import (
    METRICS_FILE,
    RUN_FILE,
    SKIPPED_FILE,
    TENSORBOARD_FOLDER,
    TRACKING_FOLDER,
    RunFolder,
    versions,
)
from preceptor.run.lock import held
from preceptor.run.scores import Scores, save_scores
from preceptor.run.set_up import RunContext, fingerprints, settings_digest
from preceptor.run.teachers import LoadedTeacher
from preceptor.training import (
    resolve_precision,
)
from preceptor.training.checkpoint import STUDENT
from preceptor.training.distributed import rank

SCORES_FILE = "scores.safetensors"
"""The scores of a recipe that selects beforehand, in the run's folder."""

CHECKPOINT_FOLDER = "checkpoint"
"""In the run's folder until the run is complete: what ``preceptor resume`` goes on from."""

FAILURE_FOLDER = "failure"
"""In the run's folder, if a step was not finite: the last such step, for ``preceptor replay``."""


@dataclass(frozen=True)
class OpenRun:
    """A run whose folder is made and whose student is not trained to the end.

    Attributes:
        scores: of its fitted selection; None where its recipe has none.
        name: of its student among those that are trained with it.
        with_test: whether it is measured on the test set.
    """

    config: RunConfig
    context: RunContext
    folder: RunFolder
    scores: Scores | None
    name: str = STUDENT
    with_test: bool = True


def begin(
    config: RunConfig,
    context: RunContext,
    teacher: LoadedTeacher | None,
    scores: Scores | None,
    out: Path,
    diagnosis: Diagnosis,
    *,
    forced: bool,
    name: str = STUDENT,
) -> OpenRun:
    """Write the folder of a run that is about to begin."""
    folder = RunFolder(out)
    settings = config.model_dump(mode="json", exclude_none=True)
    digests = {"settings": settings_digest(settings), **fingerprints(context, teacher)}
    record = _record(config, context, teacher, scores, diagnosis, digests)
    folder.write_config(settings, {**record, "forced": forced})
    folder.write_skipped(context.dataset.skipped)
    if scores is not None and rank() == 0:
        save_scores(out / SCORES_FILE, scores)
    return OpenRun(config, context, folder, scores, name)


@contextmanager
def held_for_a_run(out: Path) -> Iterator[None]:
    """Lock a run's folder; if the run fails before its first epoch or checkpoint, remove what was written."""
    if rank() > 0:
        yield
        return
    made = not out.exists()
    try:
        with held(out):
            try:
                yield
            except Exception:
                _take_back(out)
                raise
    except Exception:
        if made:
            with suppress(OSError):  # of a folder that holds something
                out.rmdir()
        raise


def _take_back(out: Path) -> None:
    if not (out / METRICS_FILE).exists() and not any((out / CHECKPOINT_FOLDER).glob("*.pt")):
        for name in (RUN_FILE, SKIPPED_FILE, SCORES_FILE):
            (out / name).unlink(missing_ok=True)
        for name in (TENSORBOARD_FOLDER, TRACKING_FOLDER):
            shutil.rmtree(out / name, ignore_errors=True)
        with suppress(OSError):
            (out / CHECKPOINT_FOLDER).rmdir()


def _record(
    config: RunConfig,
    context: RunContext,
    teacher: LoadedTeacher | None,
    scores: Scores | None,
    diagnosis: Diagnosis,
    digests: Mapping[str, str | None],
) -> dict[str, Any]:
    device = context.train.images.device
    return {
        "versions": versions(),
        "device": str(device),
        "precision": resolve_precision(config.precision, device, context.network),
        "training_images": len(context.index),
        "held_out_images": len(context.held_out),
        "skipped_images": len(context.dataset.skipped),
        "fingerprints": dict(digests),
        "teacher": None if teacher is None else teacher.record(),
        "student": context.student.origin,
        "scores": None if scores is None else scores.origin.model_dump(),
        "doctor": [asdict(finding) for finding in diagnosis.worth_a_look],
    }
