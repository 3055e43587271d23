"""What a run follows from, as digests: to go on with it, all of it must be as it was."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from preceptor.run.folder import fingerprint
from preceptor.run.selection import data_fingerprint
from preceptor.run.set_up import RunContext
from preceptor.run.teachers import LoadedTeacher

PLACES = {"data", "data_root", "download", "train_labels", "teacher", "cache", "scores", "device"}
"""Settings that say where something is. It may be elsewhere when the run goes on; what it is, is looked at itself."""


def settings_digest(config: Mapping[str, Any]) -> str:
    """A SHA-256 of the settings that stand in ``run.yaml``, but for places."""
    decisive = {name: value for name, value in config.items() if name not in PLACES}
    return _digest([decisive, "cache" in config])


def fingerprints(material: RunContext, teacher: LoadedTeacher | None) -> dict[str, str | None]:
    """A SHA-256 of the training data, the test set, the teacher, and how this one wants its images; None without."""
    test = material.dataset.test
    return {
        "data": data_fingerprint(material.dataset),
        "test": None if test is None else fingerprint({"images": test.images, "labels": test.labels}),
        "teacher": None if teacher is None else teacher.fingerprint,
        "teacher_normalization": None if teacher is None else _digest(teacher.normalization),
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
