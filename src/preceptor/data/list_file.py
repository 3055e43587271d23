"""A CSV or Parquet file that lists images by their paths, with labels."""

import csv
import os
from collections.abc import Sequence
from functools import cache
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preceptor.context import UNLABELED
from preceptor.data.folder import FolderFiles
from preceptor.data.listing import SPELLINGS, TRAIN, Listing, number_groups, number_labels, split_of
from preceptor.data.tables import column_named, needed_column, not_parquet, pyarrow
from preceptor.errors import InputError
from preceptor.files import check_is_file, is_inside

Cells = list[str]


def list_file(file: Path) -> Listing:
    """The images of a ``.csv`` or ``.parquet`` file, in its order.

    Its columns, of which ``data.tables.COLUMNS`` has other usual names: ``path``, relative to the file's folder and
    inside it; ``label``, a class's name or number, empty for an unlabeled training image; optionally ``split``,
    ``train`` where it is missing or empty; optionally ``group``: images of one group, such as a patient, are held out
    together.

    Labels are numbers if all are; else they are names, in the order of the training set's names.

    Raises:
        InputError: no such file, not a table, a column that is missing, a set of another name, a validation or test
            image without a label or of a class without a training image, or no training image.
        MachineError: a Parquet file, and pyarrow is not installed.
    """
    check_is_file(file)
    columns = _from_parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _from_csv(file)
    paths = columns["path"]
    splits = _splits(file, columns.get("split"), len(paths))
    labels, class_names = number_labels(columns["label"], splits, file)
    unlabeled = np.flatnonzero((labels == UNLABELED) & (splits != TRAIN))
    if len(unlabeled):
        row = int(unlabeled[0])
        raise InputError(f"{file}: image {row + 1} ({paths[row]}) has no label; only training images may have none")
    groups = columns.get("group")
    return Listing(
        file.parent,
        FolderFiles(file.parent, paths),
        paths,
        labels,
        splits,
        class_names,
        None if groups is None else number_groups(groups),
        missing_files(file.parent, paths),
    )


def _from_csv(file: Path) -> dict[str, Cells]:
    try:
        # Excel begins its CSV files with a byte order mark, which utf-8-sig takes off.
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text)
            header = next(rows, [])
            chosen = _chosen(header, file)
            places = {kind: header.index(column) for kind, column in chosen.items()}
            cells: dict[str, Cells] = {kind: [] for kind in chosen}
            for row in rows:
                for kind, place in places.items() if any(row) else ():
                    cells[kind].append(row[place].strip() if place < len(row) else "")
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{file}: cannot be read as CSV ({error}); give a header and a line an image, in UTF-8"
        ) from error
    return cells


def _from_parquet(file: Path) -> dict[str, Cells]:
    parquet = pyarrow("parquet")
    if not file.exists():
        raise InputError(f"{file}: no such file; give a .csv or .parquet file")
    try:
        with parquet.ParquetFile(file) as content:
            chosen = _chosen(content.schema_arrow.names, file)
            table = content.read(columns=list(chosen.values()))
        read = {kind: table.column(column).to_pylist() for kind, column in chosen.items()}
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises errors of many classes, and so do the libraries below it
        raise not_parquet(file, error) from error
    return {kind: [_as_text(cell) for cell in cells] for kind, cells in read.items()}


def _as_text(cell: object) -> str:
    if isinstance(cell, float):  # pandas makes floats of integers where some are missing
        return "" if isnan(cell) else str(int(cell) if cell.is_integer() else cell)
    return "" if cell is None else str(cell)


def _chosen(columns: Sequence[str], file: Path) -> dict[str, str]:
    """The column of each kind that is there."""
    required = {kind: needed_column(columns, kind, file) for kind in ("path", "label")}
    optional = {kind: column for kind in ("split", "group") if (column := column_named(columns, kind)) is not None}
    return required | optional


def _splits(file: Path, cells: Cells | None, count: int) -> NDArray[np.uint8]:
    splits = np.full(count, TRAIN, dtype=np.uint8)
    for row, cell in enumerate(cells or ()):
        split = split_of(cell) if cell else TRAIN
        if split is None:
            raise InputError(f"{file}: image {row + 1} is of the set {cell[:40]!r}; expected {', '.join(SPELLINGS)}")
        splits[row] = split
    if TRAIN not in splits:
        raise InputError(f"{file}: no training image; list some")
    return splits


def missing_files(folder: Path, paths: Cells) -> dict[int, InputError]:
    """By position, why a file of a folder cannot be used."""
    root, real = os.path.realpath(folder), cache(os.path.realpath)  # of few folders
    errors: dict[int, InputError] = {}
    for row, path in enumerate(folder / path for path in paths):
        # Not Path.is_file: it raises for a name that is too long.
        if not os.path.isfile(path):  # noqa: PTH113
            errors[row] = InputError(f"{path}: listed, but no file is there; correct the path or remove the line")
        elif not is_inside(os.path.realpath(path) if path.is_symlink() else real(path.parent), root):
            errors[row] = InputError(f"{path}: outside the list's folder; put the list above its images")
    return errors
