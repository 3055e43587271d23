"""Score files: a selection's score of each training sample, and its origin. Nothing is unpickled."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from preceptor.config import FrozenModel, validated
from preceptor.errors import InputError
from preceptor.files import check_is_file, write_whole

FORMAT = "preceptor-scores"
_TYPES = {"index": torch.int64, "score": torch.float32, "selected": torch.bool}


class ScoreOrigin(FrozenModel):
    """Where scores come from.

    Attributes:
        component: the selection's registered name.
        options: its hyper-parameters.
        data: the data set, as the user named it.
        data_fingerprint: of the training images and labels.
        teacher_fingerprint: of the teacher's weights.
        size: images in the training set.
        held_out: labeled samples the scores were fitted against; 0 when they need none.
        checkpoints: of the teacher that were used.
        seed: of random draws.
        preceptor: version that wrote it.
    """

    component: str
    options: dict[str, Any]
    data: str
    data_fingerprint: str
    teacher_fingerprint: str
    size: int = Field(ge=1)
    held_out: int = Field(ge=0)
    checkpoints: int = Field(ge=1)
    seed: int
    preceptor: str


@dataclass(frozen=True)
class Scores:
    """One score a sample.

    Attributes:
        index: positions in the training set, ascending.
        score: larger is more useful to distill; NaN for a sample without a label.
        selected: whether the sample is distilled, by the options in the origin.
        origin: where the scores come from.
    """

    index: Int[Tensor, " n"]
    score: Float[Tensor, " n"]
    selected: Bool[Tensor, " n"]
    origin: ScoreOrigin


def save_scores(path: Path, scores: Scores) -> None:
    """Write a score file, atomically; `MachineError` where it cannot be."""
    tensors = {name: getattr(scores, name).cpu().contiguous() for name in _TYPES}
    # One entry of metadata: safetensors writes several in no fixed order, and equal scores should make equal files.
    write_whole({path: save(tensors, {FORMAT: scores.origin.model_dump_json()})})


def load_scores(path: Path) -> Scores:
    """Read a score file; `InputError` where it is missing, damaged, or another kind of file."""
    check_is_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata() or {}, file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except Exception as error:  # the library raises nearly anything at a damaged header
        raise InputError(f"{path}: not a whole score file: {error}: write one with preceptor select") from error
    if FORMAT not in metadata:
        raise InputError(f"{path}: a safetensors file, but no score file: write one with preceptor select")
    layout = {name: (tensor.dtype, tensor.dim(), len(tensor)) for name, tensor in tensors.items() if tensor.dim()}
    length = layout.get("index", (None, None, 0))[2]
    if layout != {name: (dtype, 1, length) for name, dtype in _TYPES.items()} or len(tensors) != len(_TYPES):
        raise InputError(f"{path}: damaged: expected {', '.join(_TYPES)}, one value a sample each")
    try:
        origin = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its record of the scores' origin is damaged: {error}") from error
    return Scores(**tensors, origin=validated(ScoreOrigin, origin if isinstance(origin, dict) else {}, str(path)))
