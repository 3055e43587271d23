"""What files of tables have in common: pyarrow where it is needed, and columns by their usual names."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from preceptor.errors import InputError, few
from preceptor.extras import import_extra

COLUMNS = {
    "path": ("path", "image", "file", "filename", "file_name", "filepath", "file_path", "image_path"),
    "label": ("label", "labels", "class", "target", "fine_label", "cls"),
    "split": ("split", "set", "subset"),
    "group": ("group", "patient", "patient_id", "group_id"),
    "image": ("image", "img", "jpg", "jpeg", "png", "webp"),
}
"""The usual names of columns, in any case; of several that are there, the first counts."""


def column_named(columns: Iterable[str], kind: str) -> str | None:
    """The column of a kind of ``COLUMNS``; None where there is none."""
    by_name = {name.strip().lower(): name for name in reversed(list(columns))}
    return next((by_name[name] for name in COLUMNS[kind] if name in by_name), None)


def needed_column(columns: Sequence[str], kind: str, where: Path) -> str:
    """The same, refused where there is none."""
    column = column_named(columns, kind)
    if column is None:
        other = next((mark for mark in (";", "\t", "|") if len(columns) == 1 and mark in columns[0]), None)
        hint = f"; its columns are separated by {other!r}: write commas" if other else ""
        held = few([repr(name) for name in columns], 8) or "none"
        raise InputError(
            f"{where}: no column {kind!r} among {held}{hint}; name one so, or {', '.join(COLUMNS[kind][1:])}"
        )
    return column


def only_column(columns: Sequence[str], kind: str, where: Path, what: str) -> str:
    """The only one of these columns; of several, the one that has a usual name. ``what`` says in errors what they are.

    Raises:
        InputError: there is none, or none of several has a usual name.
    """
    column = columns[0] if len(columns) == 1 else column_named(columns, kind)
    if column is None:
        held = few([repr(name) for name in columns], 5) or "none"
        raise InputError(f"{where}: {what}: {held}; expected one, or one called {', '.join(COLUMNS[kind])}")
    return column


def pyarrow(module: str) -> Any:
    """A module of pyarrow; errors as of ``import_extra``."""
    return import_extra(f"pyarrow.{module}", "parquet", "a Parquet file")


def not_parquet(path: Path, error: Exception) -> InputError:
    """The error for whatever pyarrow raises, of which there are many classes."""
    return InputError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}")
