"""The files of an audit: ``audit.json`` for programs and for training, ``audit.parquet`` with a row a sample."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.audit.advice import advise
from preceptor.audit.examine import TeacherAudit
from preceptor.audit.verdicts import DEPTHS
from preceptor.context import VERDICTS, predicted_class
from preceptor.files import write_whole
from preceptor.run.folder import versions
from preceptor.run.verdicts import FORMAT, JSON_FILE

TABLE_FILE = "audit.parquet"


def plain(audit: TeacherAudit) -> dict[str, Any]:
    """Everything but the logits and the images, ready for JSON."""
    names, verdicts = audit.dataset.class_names, audit.verdicts
    labels, answer = audit.dataset.train.labels, predicted_class(audit.logits)
    counts = {
        depth: {name: int((verdicts.at(depth) == number).sum()) for number, name in enumerate(VERDICTS)}
        for depth in DEPTHS
    }
    pairs = (labels * len(names) + answer)[verdicts.index]
    return {
        "format": FORMAT,
        "data": audit.dataset.name,
        "data_fingerprint": audit.data_fingerprint,
        "teacher_fingerprint": audit.teacher_fingerprint,
        "images": len(labels),
        "teacher": audit.teacher,
        "report": asdict(audit.report),
        "second_opinion": {"name": audit.opinion.name, "accuracy": audit.opinion.accuracy},
        "gold": None
        if audit.gold is None
        else {"checked": int((audit.gold >= 0).sum()), "accuracy": audit.gold_accuracy},
        "base_rate": asdict(verdicts.base_rate),
        "label_error": audit.label_error,
        "verdicts": counts,
        "pairs": [
            {"label": names[pair // len(names)], "teacher": names[pair % len(names)], "samples": int(count)}
            for pair, count in zip(*(each.tolist() for each in pairs.unique(return_counts=True)), strict=True)
        ],
        "issues": {name: int(flags.sum()) for name, flags in audit.issues.items()},
        "effects": [asdict(effect) for effect in audit.effects],
        "members": [asdict(member) for member in audit.members],
        "advice": asdict(advise(audit)),
        "warnings": audit.warnings,
        "versions": versions(),
        "disagreements": {
            "index": verdicts.index.tolist(),
            "verdict": [VERDICTS[number] for number in verdicts.at("likely").tolist()],
            "label_wrong_low": [round(value, 4) for value in verdicts.label_wrong_low.tolist()],
            "label_wrong_high": [round(value, 4) for value in verdicts.label_wrong_high.tolist()],
        },
    }


def write_audit(audit: TeacherAudit, folder: Path) -> list[Path]:
    """Write the JSON file and, where pyarrow is installed, the table; the files written.

    Raises:
        MachineError: they cannot be written.
    """
    contents = {folder / JSON_FILE: json.dumps(plain(audit), indent=1, allow_nan=False).encode()}
    table = _parquet(audit)
    if table is not None:
        contents[folder / TABLE_FILE] = table
    write_whole(contents)
    return list(contents)


def _parquet(audit: TeacherAudit) -> bytes | None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None
    names, labels, verdicts = np.array([*audit.dataset.class_names, ""]), audit.dataset.train.labels, audit.verdicts
    teacher, opinion = audit.logits.double().softmax(dim=1), audit.opinion.tables[0]
    answer = predicted_class(audit.logits)
    own = labels.clamp_min(0)[:, None]
    verdict, low, high = np.full(len(labels), "agree", dtype=object), np.zeros(len(labels)), np.zeros(len(labels))
    verdict[labels < 0] = "unlabeled"
    verdict[verdicts.index] = np.array(VERDICTS, dtype=object)[verdicts.at("likely")]
    low[verdicts.index], high[verdicts.index] = verdicts.label_wrong_low, verdicts.label_wrong_high
    columns = {
        "index": np.arange(len(labels)),
        "label": names[labels],
        "teacher": names[answer],
        "teacher_confidence": teacher.amax(dim=1).numpy(),
        "teacher_probability_of_label": teacher.gather(1, own)[:, 0].numpy(),
        "second_opinion": names[predicted_class(opinion)],
        "second_opinion_probability_of_label": opinion.gather(1, own)[:, 0].numpy(),
        "second_opinion_probability_of_teacher": opinion.gather(1, answer[:, None])[:, 0].numpy(),
        "verdict": verdict,
        "label_wrong_low": low,
        "label_wrong_high": high,
        **{f"label_issue_by_{name.replace(' ', '_')}": flags.numpy() for name, flags in audit.issues.items()},
    }
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())
