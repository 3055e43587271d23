"""A file of logits or probabilities as teacher: ``.npy``, or Parquet by pyarrow (extra ``parquet``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data.arrays import load_array
from preceptor.data.tables import not_parquet, pyarrow
from preceptor.errors import InputError, few
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.rows import OutputKind, as_logits, check_output_kind, check_rows

INDEX = "index"
"""Optional column of a Parquet file: the position of the row's image."""

_CHUNK = 8192

Rows = Shaped[ndarray, "images classes"]
Order = Int[ndarray, " images"]
"""For each image the number of its row."""


class FileTeacher:
    """One row an image from a file, whichever view of the image the student is shown.

    That is not consistent with augmentation: the teacher never saw the crop or the flip that the student learns from,
    which costs accuracy where views differ much (Beyer et al. 2022, arXiv:2106.05237, section 3.1). A network or a
    cache has no such flaw; with a file, training without augmentation is the consistent choice.

    Args:
        path: ``.npy``, real numbers of shape [images, classes], or ``.parquet``, a column a class by the name or the
            number of the class, in any order, and optionally a column ``index``, the position of the row's image.
            A ``.npy`` file is mapped into memory, not read: do not change it while it is in use.
        output_kind: whether the numbers are "logits" or "probabilities".
        images: size of the training set, held-out images included.
        class_names: of the data set, in order.

    Attributes:
        classes: number of classes.

    Raises:
        InputError: the file cannot be read, or its rows, classes or numbers do not fit: file and row are named.
        MachineError: a Parquet file, and pyarrow is not installed.
    """

    looks_outputs_up: ClassVar[bool] = True

    def __init__(self, path: Path, *, output_kind: OutputKind, images: int, class_names: Sequence[str]) -> None:
        check_output_kind(output_kind)
        self.path, self.output_kind, self.classes = path, output_kind, len(class_names)
        self._rows, self._row_of = _read(path, images, class_names)
        for start in range(0, images, _CHUNK):
            rows = self._rows[start : start + _CHUNK]
            check_rows(rows, output_kind, lambda row: f"{path}: row {start + row}")  # noqa: B023 - called at once

    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits in float32 on the images' device, the same for every view; see ``Teacher``."""
        return TeacherOutput(as_logits(self._rows[self._row_of[index.numpy()]], self.output_kind).to(images.device))


def _read(path: Path, images: int, class_names: Sequence[str]) -> tuple[Rows, Order]:
    if not path.is_file():
        raise InputError(f"{path}: no such file: give a .npy or .parquet file of logits or probabilities")
    if path.suffix == ".npy":
        return _read_npy(path, images, len(class_names)), np.arange(images)
    if path.suffix in (".parquet", ".pq"):
        return _read_parquet(path, images, class_names)
    raise InputError(f"{path}: the name ends in {path.suffix!r}, known are .npy and .parquet")


def _read_npy(path: Path, images: int, classes: int) -> Rows:
    rows = load_array(path, mapped=True)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise InputError(f"{path}: {rows.dtype} of shape {rows.shape}: expected real numbers, [images, classes]")
    if rows.shape != (images, classes):
        raise InputError(
            f"{path}: {rows.shape[0]} rows of {rows.shape[1]} classes, the training set has {images} images of "
            f"{classes} classes: give one row for each image, in their order"
        )
    return rows


def _read_parquet(path: Path, images: int, class_names: Sequence[str]) -> tuple[Rows, Order]:
    library, types = pyarrow("parquet"), pyarrow("types")
    try:
        with library.ParquetFile(path) as file:
            columns, has_index = _columns(path, file.schema_arrow.names, class_names)
            _check_count(path, file.metadata.num_rows, images)
            for field in file.schema_arrow:  # first, since a column of another type may decode to anything
                if not (types.is_integer(field.type) or types.is_floating(field.type)):
                    raise _of_type(path, field.name, field.type, "real numbers")
            table = file.read()
            _check_count(path, table.num_rows, images)  # its own metadata may be wrong
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises errors of many classes, and so do the libraries below it
        raise not_parquet(path, error) from error
    rows = np.empty((images, len(columns)), dtype=np.float32)
    for number, name in enumerate(columns):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which check_rows refuses
            rows[:, number] = _numbers(path, name, table.column(name))
    if not has_index:
        return rows, np.arange(images)
    index = _numbers(path, INDEX, table.column(INDEX))
    if index.dtype.kind == "f":
        raise _of_type(path, INDEX, table.column(INDEX).type, "whole numbers")
    return rows, _row_of_each(path, index)


def _columns(path: Path, columns: list[str], class_names: Sequence[str]) -> tuple[list[str], bool]:
    """The columns of the classes in their order, and whether there is an index column."""
    has_index = columns.count(INDEX) == 1 and INDEX not in class_names
    of_classes = [name for name in columns if not (has_index and name == INDEX)]
    numbers = [str(number) for number in range(len(class_names))]
    for names in (list(class_names), numbers):
        if sorted(of_classes) == sorted(names):
            return names, has_index
    missing = few([repr(name) for name in class_names if name not in of_classes], 5) or "none"
    unknown = few([repr(name) for name in of_classes if name not in class_names], 5) or "none"
    raise InputError(
        f"{path}: {len(of_classes)} columns for {len(class_names)} classes (missing: {missing}; unknown: {unknown}): "
        f"give one column a class, named as the class or by its number, and optionally {INDEX!r}"
    )


def _check_count(path: Path, rows: int, images: int) -> None:
    if rows != images:
        raise InputError(f"{path}: {rows} rows for {images} training images: give one row for each")


def _of_type(path: Path, name: str, type_: Any, expected: str) -> InputError:
    return InputError(f"{path}: column {name!r} is of type {type_}: expected {expected}")


def _numbers(path: Path, name: str, column: Any) -> Any:
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise InputError(f"{path}: row {row}: column {name!r} is empty: expected a number")
    return column.to_numpy()


def _row_of_each(path: Path, index: Order) -> Order:
    order = np.argsort(index, kind="stable")
    if np.array_equal(index[order], np.arange(len(index))):
        return order
    outside = ((index < 0) | (index >= len(index))).nonzero()[0]
    if len(outside):
        row = int(outside[0])
        raise InputError(f"{path}: row {row}: index is {index[row]}; expected 0 to {len(index) - 1}")
    twice = int((np.diff(index[order]) == 0).argmax())
    first, second = int(order[twice]), int(order[twice + 1])
    raise InputError(f"{path}: row {second}: index {index[second]}, which row {first} has too: give each image once")
