"""A student's folder: its card, what the card guarantees, its weights, and moments of its training."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.registry import target

_CARD = {
    "architecture": "convnet4",
    "channels": 1,
    "classes": 3,
    "class_names": ["a", "b", "c"],
    "image_size": [8, 8],
    "mean": [0.5],
    "std": [0.25],
    "data": "digits",
    "preceptor": "0.1.0",
}


def _card(**changes: object) -> bytes:
    return json.dumps(_CARD | changes).encode()


@cache
def _sound_weights() -> bytes:
    from safetensors.torch import save

    from preceptor.models import seeded_model

    return save(dict(seeded_model("convnet4", channels=1, classes=3, seed=0).state_dict()))


@target(lambda: [_card(), _card(architecture="resnet8x4"), _card(abstains=True, notes={"epoch": "1"})])
def card(folder: Path, content: bytes) -> None:
    from preceptor.models import load_student

    (folder / "student.json").write_bytes(content)
    (folder / "student.safetensors").write_bytes(_sound_weights())
    load_student(folder)


@target(lambda: [_sound_weights(), _sound_weights()[:900]])
def weights(folder: Path, content: bytes) -> None:
    from preceptor.models import load_student

    (folder / "student.json").write_bytes(_card())
    (folder / "student.safetensors").write_bytes(content)
    load_student(folder)


_CALIBRATED_ON = {"data": "digits", "part": "held_out", "samples": 50, "fingerprint": "f"}
_DECISION: dict[str, Any] = {
    "score": "softmax_response",
    "threshold": 0.4,
    "max_risk": 0.1,
    "confidence": 0.95,
    "coverage": 0.9,
    "risk": 0.05,
    "calibrated_on": _CALIBRATED_ON,
}
_SETS = {"method": "raps", "alpha": 0.1, "threshold": 0.9, "penalty": 0.01, "free_ranks": 2}


def _deciding() -> list[bytes]:
    sets = {**_SETS, "calibrated_on": _CALIBRATED_ON}
    by_class = {**_DECISION, "threshold": None, "class_thresholds": [0.4, None, 0.2], "joint": True}
    return [
        _card(decision=_DECISION, sets=sets),
        _card(decision={**_DECISION, "score": "max_logit_p_norm", "options": {"p": 3.0}}),
        _card(decision=by_class, sets={**sets, "method": "aps", "threshold": None}),
    ]


@target(_deciding)
def decision(folder: Path, content: bytes) -> None:
    """What a card guarantees, at work."""
    from preceptor.data.sources import ImageItem
    from preceptor.run.prediction import Predictor

    (folder / "student.json").write_bytes(content)
    (folder / "student.safetensors").write_bytes(_sound_weights())
    predictor = Predictor(folder, device="cpu")
    pixels = torch.zeros(predictor.form.channels, predictor.form.height, predictor.form.width, dtype=torch.uint8)
    list(predictor.predictions([ImageItem("a", None, pixels, None)]))


@target(lambda: [_card(notes={"learning_rate": "0.1"}), _card(), _card(notes={"learning_rate": "1e999"})])
def kept_checkpoint(folder: Path, content: bytes) -> None:
    from preceptor.models import load_checkpoints

    (folder / "checkpoints" / "epoch-00001").mkdir(parents=True)
    (folder / "checkpoints" / "epoch-00001" / "student.json").write_bytes(content)
    load_checkpoints(folder)
