"""What is logged of a run: settings, numbers, tables and images, in the form that every tracker takes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from preceptor.integrations.tracker import Cell, Pixels
from preceptor.run.folder import read_run

Table = tuple[Sequence[str], Sequence[Sequence[Cell]]]

RECORDED = ("versions", "device", "precision", "training_images", "held_out_images", "fingerprints")
"""What of a run's record is logged beside its settings."""

_SIDE = 8
"""Images in a row of a mosaic, and rows."""


def settings_to_track(folder: Path) -> dict[str, Cell]:
    """The settings of a run by dotted key, and under ``record.`` what it ran on; a list is written as JSON."""
    config, record = read_run(folder)
    kept = {name: record[name] for name in RECORDED if name in record}
    leaves = _leaves({**config, "record": kept}, ".")
    return {key: json.dumps(value) if isinstance(value, list) else value for key, value in leaves.items()}


def numbers(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers in a line of the metrics, however deep, under names such as ``test/accuracy``."""
    return {
        f"{prefix}{name}": value
        for name, value in _leaves(entry, "/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def result_tables(entry: Mapping[str, Any], class_names: Sequence[str] | None) -> dict[str, Table]:
    """The tables in the line of a result: accuracy by class and selective metrics, of each split that was measured."""
    measured = {split: entry[split] for split in ("validation", "test") if entry[split] is not None}
    if not measured:
        return {}
    shares = zip(*(metrics["per_class_accuracy"] for metrics in measured.values()), strict=True)
    rows = list(shares)
    names = class_names or [str(number) for number in range(len(rows))]
    by_class = [(name, *row) for name, row in zip(names, rows, strict=True)]
    selective = [
        {"split": split, **_leaves(ranked, "/")}
        for split, metrics in measured.items()
        for ranked in metrics["selective"]
    ]
    return {
        "per_class_accuracy": (("class", *measured), by_class),
        "selective": (list(selective[0]), [list(row.values()) for row in selective]),
    }


def mosaic(images: UInt8[Tensor, "n channels height width"]) -> Pixels:
    """Up to 64 gray or RGB images side by side, a black pixel between them."""
    shown = images[: _SIDE**2].cpu().numpy()
    framed = np.pad(shown, ((0, -len(shown) % _SIDE), (0, 0), (0, 1), (0, 1)))
    rows, columns = len(framed) // _SIDE, _SIDE
    height, width = framed.shape[2:]
    grid = framed.reshape(rows, columns, -1, height, width).transpose(0, 3, 1, 4, 2)
    whole: Pixels = grid.reshape(rows * height, columns * width, -1)
    return whole[:, :, 0] if whole.shape[2] == 1 else whole


def _leaves(content: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """The values of nested mappings, their keys joined."""
    leaves: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            leaves |= {f"{key}{separator}{name}": leaf for name, leaf in _leaves(value, separator).items()}
        else:
            leaves[key] = value
    return leaves
