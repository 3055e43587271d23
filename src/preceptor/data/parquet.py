"""Images inside Parquet files, as the Hugging Face hub lays them out."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from preceptor.data.listing import Listing, files_of, number_labels, splits_of_files, used_splits
from preceptor.data.tables import needed_column, not_parquet, only_column, pyarrow
from preceptor.errors import InputError

MOST_CACHED = 2**28
"""Most bytes of row groups that are held in memory; the newest is held whatever its size."""


@dataclass(eq=False)
class ParquetImages:
    """The encoded images in a column of Parquet files, read by row group.

    Args:
        folder: of the files.
        files: relative to the folder, in order.
        column: of the images: binary, or a struct with ``bytes``.
        metadata: of each file, as pyarrow has it.
    """

    folder: Path
    files: Sequence[str]
    column: str
    metadata: Sequence[Any]
    _groups: "OrderedDict[tuple[int, int], Any]" = field(default_factory=OrderedDict, init=False)
    _lock: Any = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        self._of_group = [
            (file, group) for file, metadata in enumerate(self.metadata) for group in range(metadata.num_row_groups)
        ]
        rows = [self.metadata[file].row_group(group).num_rows for file, group in self._of_group]
        self._ends = np.cumsum(rows, dtype=np.int64)
        self._first_group = np.cumsum([0, *(one.num_row_groups for one in self.metadata)])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def names(self) -> list[str]:
        """Of each image: the file, and its row in it."""
        return [
            f"{name}:{row}" for name, one in zip(self.files, self.metadata, strict=True) for row in range(one.num_rows)
        ]

    def open(self, position: int) -> tuple[Path, BinaryIO]:
        """The content of an image."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        file, group = self._of_group[number]
        row = position - (int(self._ends[number - 1]) if number else 0)
        first = int(self._first_group[file])
        in_file = position - (int(self._ends[first - 1]) if first else 0)
        path = self.folder / f"{self.files[file]}:{in_file}"
        content = self._row_group(file, group)[row].as_py()
        if content is None:
            raise InputError(f"{path}: no image in this row; remove it")
        return path, BytesIO(content)

    def _row_group(self, file: int, group: int) -> Any:
        """The images of a row group; the newest that were read stay in memory."""
        key = file, group
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        column = self._read(file, group)  # by several threads at a time
        with self._lock:
            self._groups[key] = column
            while len(self._groups) > 1 and sum(one.nbytes for one in self._groups.values()) > MOST_CACHED:
                self._groups.popitem(last=False)
        return column

    def _read(self, file: int, group: int) -> Any:
        path, library = self.folder / self.files[file], pyarrow("parquet")
        try:
            with library.ParquetFile(path, metadata=self.metadata[file], memory_map=True) as opened:
                column = opened.read_row_group(group, columns=[self.column], use_threads=False).column(0)
            column = column.combine_chunks()
            return column.field("bytes") if hasattr(column, "field") else column
        except MemoryError:
            raise
        except Exception as error:  # pyarrow raises errors of many classes, and so do the libraries below it
            raise not_parquet(path, error) from error


def list_parquet(place: Path) -> Listing:
    """The images of a Parquet file, of those in a folder at any depth, or of those that a pattern stands for.

    A file holds a column of encoded images, binary or as the hub has them a struct of ``bytes`` and ``path``, and one
    of labels, integers or class names; ``data.tables.COLUMNS`` has their usual names. Class names are taken from the
    hub's description in the file, where there is one. Which set a file belongs to follows from its name, as in
    ``train-00000-of-00004.parquet``, else from its folder's.

    Any image is read by itself, from its row group: small row groups, of 100 images as on the hub, are best.

    Raises:
        InputError: no such file, not Parquet, columns that are missing or differ between the files, or no training
            image.
        MachineError: pyarrow is not installed.
    """
    root, files = files_of(place, ".parquet")
    library = pyarrow("parquet")
    schema, metadata, cells = None, [], []
    for path in files:
        try:
            with library.ParquetFile(path, memory_map=True) as content:
                schema = schema or content.schema_arrow
                if not content.schema_arrow.equals(schema):
                    raise InputError(f"{path}: other columns than {files[0]}; give files of one data set")
                label = _label_column(schema, path)
                metadata.append(content.metadata)
                cells += content.read(columns=[label]).column(0).to_pylist()
        except (InputError, MemoryError):
            raise
        except Exception as error:  # pyarrow raises errors of many classes, and so do the libraries below it
            raise not_parquet(path, error) from error
    images = ParquetImages(
        root, [str(path.relative_to(root)) for path in files], _image_column(schema, place), metadata
    )
    counts = [one.num_rows for one in metadata]
    splits = np.repeat(np.array(splits_of_files(root, files), dtype=np.uint8), counts)
    labels, class_names = number_labels(cells, splits, place, _class_names(schema, _label_column(schema, place)))
    return Listing(root, images, images.names(), labels, used_splits(splits, labels), class_names)


def _image_column(schema: Any, where: Path) -> str:
    types = pyarrow("types")

    def is_binary(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    def holds_images(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(n).name == "bytes" and is_binary(kind.field(n).type) for n in range(kind.num_fields))
        return is_binary(kind)

    columns = [column.name for column in schema if holds_images(column.type)]
    return only_column(columns, "image", where, "columns that may hold encoded images")


def _label_column(schema: Any, where: Path) -> str:
    types = pyarrow("types")
    kinds = (types.is_integer, types.is_string, types.is_large_string, types.is_dictionary)
    usable = [column.name for column in schema if any(is_kind(column.type) for is_kind in kinds)]
    described = [name for name, feature in _features(schema).items() if feature.get("_type") == "ClassLabel"]
    if len(described) == 1 and described[0] in usable:
        return str(described[0])
    return needed_column(usable, "label", where)


def _class_names(schema: Any, column: str) -> list[str] | None:
    """The names of the classes in the hub's description of a column."""
    names = _features(schema).get(column, {}).get("names")
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return names
    return None


def _features(schema: Any) -> dict[str, Any]:
    """The hub's description of the columns, which ``datasets`` writes into the schema."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, KeyError, ValueError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
