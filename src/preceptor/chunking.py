"""A table of a million rows taken some rows at a time, so that what a formula needs on its way stays small."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

ELEMENTS = 2**19
"""Numbers of a table that are worked on at a time: 4 MiB in float64, 524 rows of 1,000 classes."""

P = ParamSpec("P")


def chunked(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """A function that makes one number of each row by itself, applied to some rows at a time: the result is the same.

    All its tensors have as many rows: [rows], [rows, columns] or [members, rows, columns]. Other arguments are handed
    on as they are.
    """

    @wraps(function)
    def by_chunks(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given: list[Any] = [*args, *kwargs.values()]
        places = [place for place, value in enumerate(given) if isinstance(value, Tensor)]
        tables = [given[place] for place in places]

        def parts() -> Iterator[Tensor]:
            for block in row_chunks(*tables):
                for place, rows in zip(places, block, strict=True):
                    given[place] = rows
                named: dict[str, Any] = dict(zip(kwargs, given[len(args) :], strict=True))
                yield function(*given[: len(args)], **named)

        return concat_rows(parts(), tables[0].shape[_row_dim(tables[0])])

    return by_chunks


def row_chunks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of several tables, some at a time; nothing is copied. At least one block, perhaps of no row."""
    rows = max(1, ELEMENTS // max(1, *(_columns(table) for table in tables)))
    return zip(*(table.split(rows, dim=_row_dim(table)) for table in tables), strict=True)


def chosen_rows(table: Shaped[Tensor, "n columns"], chosen: Bool[Tensor, " n"]) -> Shaped[Tensor, "some columns"]:
    """Some rows of a table; the table itself where that is all of them, which may take gigabytes."""
    return table if bool(chosen.all()) else table[chosen]


def concat_rows(parts: Iterable[Tensor], rows: int) -> Tensor:
    """Parts that are made one after the other, put together without ever being there twice.

    Args:
        parts: with rows of one kind; at least one part.
        rows: how many they have in all.

    Raises:
        ValueError: they have fewer rows, or more.
    """
    table = Table(rows)
    for part in parts:
        if len(part) == rows:
            return part
        table.add(part)
    if table.done != rows:
        raise ValueError(f"{table.done} rows of {rows}: the others were never made")
    return table.rows


class Table:
    """Rows that come part by part, put together without ever being there twice.

    Room for all of them is taken at once: thousands of small parts, kept until they are joined, would lie between what
    is freed meanwhile, so that the allocator could use none of it again.

    Args:
        size: how many there will be.

    Attributes:
        rows: those of all parts so far, and room for the others.
        done: how many there are so far.
    """

    def __init__(self, size: int) -> None:
        self.rows = torch.empty(0)
        self.done = 0
        self._size = size

    def add(self, part: Tensor) -> None:
        """The next rows; all parts are of one type, shape and device.

        Raises:
            ValueError: more rows than there is room for.
        """
        if self.done == 0:
            self.rows = part.new_empty(self._size, *part.shape[1:])
        if self.done + len(part) > self._size:
            raise ValueError(f"{len(part)} rows after {self.done}: there is room for {self._size}")
        self.rows[self.done : self.done + len(part)] = part
        self.done += len(part)


def _columns(table: Tensor) -> int:
    """Numbers in a row, of all members together."""
    rows = table.shape[_row_dim(table)]
    return table.numel() // rows if rows else 1


def _row_dim(table: Tensor) -> int:
    return max(0, table.dim() - 2)
