"""A file of logits or probabilities as teacher."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.data.arrays import not_readable
from preceptor.errors import InputError
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.parquet import Table, read_parquet
from preceptor.teachers.rows import OutputKind, as_logits, check_output_kind, check_rows

_CHUNK = 8192


class FileTeacher:
    """One row an image from a file, whichever view of the image the student is shown.

    That is not consistent with augmentation: the teacher never saw the crop or the flip that the student learns from,
    which costs accuracy where views differ much (Beyer et al. 2022, arXiv:2106.05237, section 3.1). A network or a
    cache has no such flaw; with a file, training without augmentation is the consistent choice.

    Args:
        path: ``.npy``, real numbers of shape [images, classes], or ``.parquet`` (extra ``parquet``), a column a class
            by the name or the number of the class, and optionally a column ``index``, the position of the row's image.
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


def _read(path: Path, images: int, class_names: Sequence[str]) -> Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file: give a .npy or .parquet file of logits or probabilities")
    if path.suffix == ".npy":
        return _read_npy(path, images, len(class_names)), np.arange(images)
    if path.suffix in (".parquet", ".pq"):
        return read_parquet(path, images, class_names)
    raise InputError(f"{path}: the name ends in {path.suffix!r}, known are .npy and .parquet")


def _read_npy(path: Path, images: int, classes: int) -> Shaped[ndarray, "images classes"]:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header makes NumPy raise nearly anything, a TokenError for one
        raise not_readable(path, error) from error
    if not isinstance(rows, ndarray):
        raise InputError(f"{path}: an archive of several arrays: expected one array saved by numpy.save")
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise InputError(f"{path}: {rows.dtype} of shape {rows.shape}: expected real numbers, [images, classes]")
    if rows.shape != (images, classes):
        raise InputError(
            f"{path}: {rows.shape[0]} rows of {rows.shape[1]} classes, the training set has {images} images of "
            f"{classes} classes: give one row for each image, in their order"
        )
    return rows
