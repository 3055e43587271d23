"""The same small teacher in every form that a teacher may come in."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from preceptor.models import load_student
from tests.training_helpers import digits


def rows_file(teacher: Path, path: Path, output: str = "logits") -> Path:
    """Its outputs for each training image, as it is."""
    network, card = load_student(teacher)
    with torch.no_grad():
        logits = network(card.normalization()(digits().train.images))
    np.save(path, (logits.softmax(dim=1) if output == "probabilities" else logits).numpy())
    return path


def onnx_file(teacher: Path, path: Path) -> Path:
    """Its network, which takes normalized images in any number."""
    pytest.importorskip("onnx", reason="needs onnx to write models with (extra test)")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")
    network, _ = load_student(teacher)
    batch = {0: "batch"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is an old one
        torch.onnx.export(
            network,
            (torch.zeros(2, 1, 8, 8),),
            path,
            dynamo=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": batch, "logits": batch},
        )
    return path
