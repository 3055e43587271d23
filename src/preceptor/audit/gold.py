"""Gold samples: training images whose label somebody has checked."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.context import UNLABELED
from preceptor.data.labels import read_labels
from preceptor.errors import InputError


def read_gold(path: Path, count: int, class_names: Sequence[str]) -> Int[Tensor, " n"]:
    """The checked labels of some training images, int64, shape [n]; -1 for all others.

    Args:
        path: a CSV with the columns ``index`` (position in the training set) and ``label`` (name or number of a
            class), or a file of labels for all images, -1 where nothing was checked, as ``train_labels`` reads it.
        count: number of training images.
        class_names: in the order of the labels.

    Raises:
        InputError: the file cannot be read, a row does not fit, or nothing was checked.
    """
    gold = _indexed(path, count, class_names)
    if gold is None:
        gold = read_labels(path, count, class_names)
    if not bool((gold != UNLABELED).any()):
        raise InputError(f"{path}: no checked label in it")
    if not bool(((gold >= UNLABELED) & (gold < len(class_names))).all()):
        raise InputError(f"{path}: a label outside 0 to {len(class_names) - 1}")
    return gold


def _indexed(path: Path, count: int, class_names: Sequence[str]) -> Int[Tensor, " n"] | None:
    """What a CSV with a column ``index`` says; None of any other file."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        if "index" not in (rows.fieldnames or []) or "label" not in (rows.fieldnames or []):
            return None
        numbers = {name: label for label, name in enumerate(class_names)}
        gold = torch.full((count,), UNLABELED)
        for row in rows:
            index, label = str(row["index"]).strip(), str(row["label"]).strip()
            if not index.isdecimal() or int(index) >= count:
                raise InputError(f"{path}: line {rows.line_num}: index {index!r}; expected 0 to {count - 1}")
            if label not in numbers and not label.isdecimal():
                raise InputError(f"{path}: line {rows.line_num}: label {label!r} is neither a class nor a number")
            gold[int(index)] = numbers.get(label, int(label) if label.isdecimal() else UNLABELED)
    return gold
