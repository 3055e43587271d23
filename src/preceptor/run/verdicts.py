"""Verdicts of an audit, read for training."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from preceptor.context import AGREE, VERDICTS
from preceptor.errors import InputError
from preceptor.files import read_json

JSON_FILE = "audit.json"

FORMAT = 2


@dataclass(frozen=True)
class AuditVerdicts:
    """What an audit makes of every training image.

    Attributes:
        verdict: its number in ``VERDICTS``; ``AGREE`` where teacher and label do.
        label_wrong: the probability that the label is the wrong one; 0 where the two agree.
    """

    verdict: Int[Tensor, " n"]
    label_wrong: Float[Tensor, " n"]


def read_verdicts(
    path: Path, data_fingerprint: str, samples: int, teacher_fingerprint: str | None = None
) -> AuditVerdicts:
    """The verdict on each training image, and the probability that its label is the wrong one.

    Args:
        path: of an ``audit.json``, or its folder.
        data_fingerprint: of the data that are trained on.
        samples: number of training images.
        teacher_fingerprint: of the teacher; None where there is none to compare with.

    Raises:
        InputError: no audit, or one of other data or another teacher.
    """
    path = path / JSON_FILE if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file: give the folder or the audit.json of preceptor audit")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not an audit of this version: make it again with preceptor audit")
    if content["data_fingerprint"] != data_fingerprint:
        raise InputError(
            f"{path}: an audit of other images or labels ({content['data']}): audit the data that you train on"
        )
    if teacher_fingerprint not in (None, content["teacher_fingerprint"]):
        raise InputError(f"{path}: an audit of another teacher ({content['teacher']}): audit the one that is to teach")
    verdicts = torch.full((samples,), AGREE)
    numbers = {name: number for number, name in enumerate(VERDICTS)}
    rows = content["disagreements"]
    index = torch.tensor(rows["index"], dtype=torch.long)
    verdicts[index] = torch.tensor([numbers[name] for name in rows["verdict"]], dtype=torch.long)
    label_wrong = torch.zeros(samples)
    label_wrong[index] = (torch.tensor(rows["label_wrong_low"]) + torch.tensor(rows["label_wrong_high"])) / 2
    return AuditVerdicts(verdicts, label_wrong)
