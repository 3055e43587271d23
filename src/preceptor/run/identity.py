"""Digests of everything that a run follows from: to resume it, all must be as they were."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from preceptor.run.folder import fingerprint
from preceptor.run.selection import data_fingerprint
from preceptor.run.set_up import RunContext
from preceptor.run.teachers import LoadedTeacher

PLACES = {"data", "data_root", "download", "train_labels", "teacher", "cache", "scores", "device"}
"""Settings that say where something is. It may have moved when the run is resumed: its content has a digest."""


def settings_digest(config: Mapping[str, Any]) -> str:
    """A SHA-256 of the settings in ``run.yaml``, but for places."""
    decisive = {name: value for name, value in config.items() if name not in PLACES}
    return _digest([decisive, "cache" in config])


def fingerprints(context: RunContext, teacher: LoadedTeacher | None) -> dict[str, str | None]:
    """SHA-256 digests of training data, test set, teacher and its normalization; None where there is no such thing."""
    test = context.dataset.test
    return {
        "data": data_fingerprint(context.dataset),
        "test": None if test is None else fingerprint({"images": test.images, "labels": test.labels}),
        "teacher": None if teacher is None else teacher.fingerprint,
        "teacher_normalization": None if teacher is None else _digest(teacher.normalization),
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
