"""Labels from a file of their own, in place of a data set's."""

import csv
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data.arrays import as_labels, load_array
from preceptor.errors import InputError, few
from preceptor.files import check_is_file

_TEXTS = (".csv", ".txt")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_SHOWN = 40


def read_labels(path: Path, count: int, class_names: Sequence[str] = ()) -> Int[Tensor, " n"]:
    """Labels from a ``.npy``, ``.csv`` or ``.txt`` file, int64, shape [n]; -1 marks an unlabeled image.

    The file holds a one-dimensional array of integers, never unpickled; or a text with one label a line: the name of a
    class (without ``class_names`` there are none), else an integer. Of a CSV with several columns, the one headed
    ``label`` is read. There is a label for each of the ``count`` training images, in their order.

    Raises:
        InputError: the file is missing or of another kind, or has another length or a class that isn't known.
    """
    check_is_file(path)
    labels = _from_text(path, class_names) if path.suffix.lower() in _TEXTS else _from_array(path)
    if len(labels) != count:
        raise InputError(f"{path}: {len(labels)} labels for {count} training images; give one for each, in their order")
    return labels


def _from_array(path: Path) -> Int[Tensor, " n"]:
    try:
        array = load_array(path)
    except InputError as error:
        if _looks_like_text(path):
            raise InputError(f"{path}: is a text or CSV, not a .npy file; name it .csv or .txt") from error
        raise
    return as_labels(f"{path}: the array", array)


def _looks_like_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        text = (start.rpartition(b"\n")[0] or start).decode("utf-8")  # the last line may be cut within a letter
    except (OSError, UnicodeDecodeError):
        return False
    return bool(text) and all(letter.isprintable() or letter in "\r\n\t" for letter in text)


def _from_text(path: Path, class_names: Sequence[str]) -> Int[Tensor, " n"]:
    try:
        # Excel begins its CSV files with a byte order mark, which utf-8-sig takes off.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); give one label a line, in UTF-8") from error
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = header.index("label") if "label" in header else 0
    if "label" in header:
        rows = rows[1:]
    elif len(header) > 1:
        raise InputError(f"{path}: {len(header)} columns, none of them headed 'label'; name the column of labels so")
    numbers = {name: label for label, name in enumerate(class_names)}
    labels = []
    for number, row in enumerate(rows, start=1):
        cell = row[column].strip() if column < len(row) else ""
        if cell in numbers:  # before integers: a class may be called "7"
            labels.append(numbers[cell])
        elif _INTEGER.fullmatch(cell):
            labels.append(int(cell))
        else:
            near = get_close_matches(cell[:_SHOWN], class_names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            names = f", or one of {few(class_names)}" if class_names else ""
            raise InputError(f"{path}: label {number} is {cell[:_SHOWN]!r}; expected an integer{names}{hint}")
    return torch.tensor(labels, dtype=torch.int64)
