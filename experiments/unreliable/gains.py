"""What recipe safe gained with an audit, by what the audit said: for ``preceptor audit``, which shows it.

``python -m experiments.unreliable.gains`` writes the package's file from the benchmark's result.
"""

import json
from pathlib import Path
from typing import Any

import preceptor.audit
from experiments.bench.common import RESULTS, write_json
from experiments.unreliable.result import KD, LABELS, BenchmarkResult, SettingResult
from experiments.unreliable.running import AUDITED
from preceptor.audit.advice import GAINS_FILE

RESULT = RESULTS / "unreliable-supervision.json"
PACKAGED = Path(preceptor.audit.__file__).with_name(GAINS_FILE)


def gains(content: dict[str, Any]) -> dict[str, Any]:
    """By situation: number of settings, and mean gains of each in points, to labels alone and to plain distillation."""
    result = BenchmarkResult.model_validate(content)
    table: dict[str, Any] = {}
    for setting in result.settings:
        if AUDITED not in setting.diverged:
            row = table.setdefault(setting.situation, {"settings": 0, "to_labels": [], "to_kd": []})
            row["settings"] += 1
            row["to_labels"].append(_gain(setting, LABELS))
            row["to_kd"].append(_gain(setting, KD))
    return table


def _gain(setting: SettingResult, other: str) -> float:
    own, theirs = (setting.recipe(name).accuracy for name in (AUDITED, other))
    return round(100 * (sum(own) - sum(theirs)) / len(own), 1)


if __name__ == "__main__":
    write_json(gains(json.loads(RESULT.read_text(encoding="utf-8"))), PACKAGED)
