"""Labels from a file of their own, in place of a data set's."""

import csv
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.data.arrays import as_labels, load_array
from preceptor.data.label_arrays import ENDINGS, read_label_array
from preceptor.data.tables import column_named
from preceptor.errors import InputError, few, unknown_name
from preceptor.files import check_is_file

_TEXTS = (".csv", ".txt")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_SHOWN = 40


def read_labels(
    path: Path,
    count: int,
    class_names: Sequence[str] = (),
    *,
    names: Sequence[str] | None = None,
    own: Int[Tensor, " n"] | None = None,
) -> Int[Tensor, " n"]:
    """Labels from a ``.npy``, ``.npz``, ``.pt``, ``.csv`` or ``.txt`` file, int64, shape [n]; -1 marks an unlabeled
    image.

    The file holds a one-dimensional array of integers, never unpickled; or a text with one label a line: the name of a
    class (without ``class_names`` there are none), else an integer. Of several arrays or columns, ``FILE:KEY`` names
    one; of a CSV it is else the one headed ``label``. There is a label for each of the ``count`` training images, in
    their order; or, where a CSV has a column of files (headed as one of ``data.tables.COLUMNS``) and the images have
    ``names``, by file name.

    Args:
        path: of the file, perhaps with a colon and a key.
        count: number of training images.
        class_names: in the order of the labels.
        names: of the images' files. Default None: they come from arrays.
        own: the data set's own labels, against which a file's clean labels are held, see
            :func:`~preceptor.data.label_arrays.read_label_array`. Default None: not compared.

    Raises:
        InputError: the file is missing or of another kind, has another length or order, a class that isn't known, or
            not the label of every image.
    """
    file, key = _with_key(path)
    check_is_file(file)
    ending = file.suffix.lower()
    if ending in _TEXTS:
        labels = _from_text(file, class_names, key, names)
    elif ending in ENDINGS:
        labels = read_label_array(file, key, own)
    else:
        labels = _from_array(file)
    if len(labels) != count:
        raise InputError(f"{file}: {len(labels)} labels for {count} training images; give one for each, in their order")
    return labels


def _with_key(path: Path) -> tuple[Path, str | None]:
    """The file, and the key behind the last colon of its name."""
    before, colon, key = path.name.rpartition(":")
    if path.exists() or not colon or not before:
        return path, None
    return path.with_name(before), key


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


def _from_text(
    path: Path, class_names: Sequence[str], key: str | None, names: Sequence[str] | None
) -> Int[Tensor, " n"]:
    rows = _rows(path)
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    wanted = "label" if key is None else key.strip().lower()
    column = header.index(wanted) if wanted in header else 0
    if wanted in header:
        rows = rows[1:]
    elif key is not None:
        raise unknown_name(f"column of {path}", key, header)
    elif len(header) > 1:
        raise InputError(f"{path}: {len(header)} columns, none of them headed 'label'; name the column of labels so")
    file_column = column_named(header, "path")
    if wanted in header and file_column is not None and names is not None:
        rows = _in_order(path, rows, header.index(file_column), names)
    numbers = {name: label for label, name in enumerate(class_names)}
    cells = [row[column].strip() if column < len(row) else "" for row in rows]
    labels = [_label(path, place, cell, numbers) for place, cell in enumerate(cells, start=1)]
    return torch.tensor(labels, dtype=torch.int64)


def _rows(path: Path) -> list[list[str]]:
    try:
        # Excel begins its CSV files with a byte order mark, which utf-8-sig takes off.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); give one label a line, in UTF-8") from error


def _in_order(path: Path, rows: list[list[str]], column: int, names: Sequence[str]) -> list[list[str]]:
    """The rows in the order of the images, found by a file's path in the data set, else by its name alone.

    Rows of other files, such as those of a test set, are left out.
    """
    by_file: dict[str, list[str]] = {}
    for row in rows:
        file = row[column].strip() if column < len(row) else ""
        if file in by_file:
            raise InputError(f"{path}: {file!r} is listed twice; keep one label an image")
        by_file[file] = row
    plain = [name.rpartition("/")[2] for name in names]
    keys = names if any(name in by_file for name in names) or len(set(plain)) < len(plain) else plain
    missing = [key for key in keys if key not in by_file]
    if missing:
        raise InputError(
            f"{path}: no label of {len(missing):,} of {len(names):,} training images, such as {missing[0]!r}; list "
            "every image by its path in the data set, or by its name where no two have the same"
        )
    return [by_file[key] for key in keys]


def _label(path: Path, place: int, cell: str, numbers: Mapping[str, int]) -> int:
    if cell in numbers:  # before integers: a class may be called "7"
        return numbers[cell]
    if _INTEGER.fullmatch(cell):
        return int(cell)
    near = get_close_matches(cell[:_SHOWN], numbers, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    names = f", or one of {few(list(numbers))}" if numbers else ""
    raise InputError(f"{path}: label {place} is {cell[:_SHOWN]!r}; expected an integer{names}{hint}")
