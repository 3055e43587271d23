"""Worked numbers (tests/vectors.json) and what checks each of them; ``tests/test_vectors.py`` runs the checks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Vector = dict[str, Any]
VectorCheck = Callable[[Vector], None]

VECTORS: dict[str, Vector] = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]
CHECKS: dict[str, VectorCheck] = {}


def checks(*keys: str) -> Callable[[VectorCheck], VectorCheck]:
    """Name a function as the check of these vectors."""

    def add(function: VectorCheck) -> VectorCheck:
        CHECKS.update(dict.fromkeys(keys, function))
        return function

    return add


def doubles(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def same(actual: Tensor | float, expected: Any) -> None:
    torch.testing.assert_close(torch.as_tensor(actual, dtype=torch.float64), doubles(expected), atol=1e-6, rtol=0)


def batch(vector: Vector) -> tuple[Tensor, Tensor, Tensor]:
    student = doubles(vector["student_logits"]).requires_grad_()
    label = torch.tensor(vector.get("target", [0] * len(student)))
    return student, doubles(vector["teacher_logits"]), label
