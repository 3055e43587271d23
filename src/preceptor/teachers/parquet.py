"""Logits or probabilities from a Parquet file (extra ``parquet``); pyarrow is imported when it is needed."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from preceptor.errors import InputError, MachineError

INDEX = "index"
"""Optional column: the position of the row's image."""

Table = tuple[Shaped[ndarray, "images classes"], Int[ndarray, " images"]]
"""Rows in the order of the file, and for each image the number of its row."""


def read_parquet(path: Path, images: int, class_names: Sequence[str]) -> Table:
    """One row an image, in the order of the file, and one column a class, in the order of the classes.

    Args:
        path: of the file. Its columns have the names of the classes, or their numbers, in any order. A column ``index``
            holds the position of each row's image; without one, rows are in the order of the images.
        images: how many rows there must be.
        class_names: in order.

    Raises:
        InputError: it cannot be read, or has other rows or columns.
        MachineError: pyarrow is not installed, or cannot be imported.
    """
    library = _pyarrow_parquet()
    try:
        with library.ParquetFile(path) as file:
            columns, has_index = _columns(path, file.schema_arrow.names, class_names)
            _check_count(path, file.metadata.num_rows, images)
            _check_types(path, file.schema_arrow)
            table = file.read()
            _check_count(path, table.num_rows, images)  # its own metadata may be wrong
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises errors of many classes, and so do the libraries below it
        raise InputError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from error
    rows = np.empty((images, len(columns)), dtype=np.float32)
    for number, name in enumerate(columns):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which check_rows refuses
            rows[:, number] = _numbers(path, name, table.column(name), "fiu")
    if not has_index:
        return rows, np.arange(images)
    return rows, _row_of_each(path, _numbers(path, INDEX, table.column(INDEX), "iu"))


def _pyarrow_parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        raise MachineError(
            f"a Parquet file needs pyarrow, which cannot be imported ({error}): pip install 'preceptor[parquet]'"
        ) from error


def _columns(path: Path, columns: list[str], class_names: Sequence[str]) -> tuple[list[str], bool]:
    """The columns of the classes in their order, and whether there is an index column."""
    has_index = columns.count(INDEX) == 1 and INDEX not in class_names
    of_classes = [name for name in columns if not (has_index and name == INDEX)]
    numbers = [str(number) for number in range(len(class_names))]
    for names in (list(class_names), numbers):
        if sorted(of_classes) == sorted(names):
            return names, has_index
    missing = _few([name for name in class_names if name not in of_classes])
    unknown = _few([name for name in of_classes if name not in class_names])
    raise InputError(
        f"{path}: {len(of_classes)} columns for {len(class_names)} classes (missing: {missing}; unknown: {unknown}): "
        f"give one column a class, named as the class or by its number, and optionally {INDEX!r}"
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(map(repr, names[:5])) or "none") + more


def _check_count(path: Path, rows: int, images: int) -> None:
    if rows != images:
        raise InputError(f"{path}: {rows} rows for {images} training images: give one row for each")


def _check_types(path: Path, schema: Any) -> None:
    """Before anything is decoded, since a column of another type may decode to anything."""
    types = import_module("pyarrow.types")
    for field in schema:
        if not (types.is_integer(field.type) or types.is_floating(field.type)):
            raise InputError(f"{path}: column {field.name!r} is of type {field.type}: expected real numbers")


def _numbers(path: Path, name: str, column: Any, kinds: str) -> Any:
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise InputError(f"{path}: row {row}: column {name!r} is empty: expected a number")
    values = column.to_numpy()
    if values.dtype.kind not in kinds:
        wanted = "whole numbers" if "f" not in kinds else "real numbers"
        raise InputError(f"{path}: column {name!r} is of type {column.type}: expected {wanted}")
    return values


def _row_of_each(path: Path, index: Int[ndarray, " images"]) -> Int[ndarray, " images"]:
    """For each image the number of its row."""
    order = np.argsort(index, kind="stable")
    wrong = (index[order] != np.arange(len(index))).nonzero()[0]
    if len(wrong):
        _refuse_index(path, index, order)
    return order


def _refuse_index(path: Path, index: Int[ndarray, " images"], order: Int[ndarray, " images"]) -> None:
    outside = ((index < 0) | (index >= len(index))).nonzero()[0]
    if len(outside):
        row = int(outside[0])
        raise InputError(f"{path}: row {row}: index is {index[row]}; expected 0 to {len(index) - 1}")
    twice = int((np.diff(index[order]) == 0).argmax())
    first, second = int(order[twice]), int(order[twice + 1])
    raise InputError(f"{path}: row {second}: index {index[second]}, which row {first} has too: give each image once")
