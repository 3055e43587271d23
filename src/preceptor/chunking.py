"""Row-wise functions applied in chunks, to bound peak memory on tables of a million rows."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

ELEMENTS = 2**19
"""Elements of a table per chunk: 4 MiB in float64, 524 rows of 1,000 classes."""

P = ParamSpec("P")


def chunked(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Apply a function in chunks of rows. It must compute each row from that row alone, so results do not change.

    All its tensors have the same rows. Other arguments are passed on as they are.
    """

    @wraps(function)
    def by_chunks(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        values: list[Any] = [*args, *kwargs.values()]
        slots = [slot for slot, value in enumerate(values) if isinstance(value, Tensor)]
        tables = [values[slot] for slot in slots]

        def results() -> Iterator[Tensor]:
            for chunk in row_chunks(*tables):
                for slot, rows in zip(slots, chunk, strict=True):
                    values[slot] = rows
                named: dict[str, Any] = dict(zip(kwargs, values[len(args) :], strict=True))
                yield function(*values[: len(args)], **named)

        return concat_rows(results(), len(tables[0]))

    return by_chunks


def row_chunks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Chunks of the same rows of several tables, as views. At least one chunk, which is empty for empty tables."""
    rows = max(1, ELEMENTS // max(1, *(table[:1].numel() for table in tables)))
    return zip(*(table.split(rows) for table in tables), strict=True)


def chosen_rows(table: Shaped[Tensor, "n columns"], chosen: Bool[Tensor, " n"]) -> Shaped[Tensor, "some columns"]:
    """Some rows of a table; the table itself when that is all of them, since a copy can take gigabytes."""
    return table if bool(chosen.all()) else table[chosen]


def concat_rows(parts: Iterable[Tensor], rows: int) -> Tensor:
    """Concatenate chunks as they are computed, so that no row is in memory twice.

    Args:
        parts: chunks of rows, at least one.
        rows: number of rows in total.

    Raises:
        ValueError: the chunks have fewer rows, or more.
    """
    table = Table(rows)
    for part in parts:
        if len(part) == rows:
            return part
        table.add(part)
    if table.done != rows:
        raise ValueError(f"{table.done} rows; expected {rows}")
    return table.rows


class Table:
    """A buffer that is filled chunk by chunk, so that no row is in memory twice.

    It is allocated at once: thousands of small chunks, kept until they are joined, would fragment the memory that is
    freed meanwhile, so that the allocator could not reuse it.

    Args:
        size: number of rows in total.

    Attributes:
        rows: the buffer; its first ``done`` rows are filled.
        done: number of rows so far.
    """

    def __init__(self, size: int) -> None:
        self.rows = torch.empty(0)
        self.done = 0
        self._size = size

    def add(self, part: Tensor) -> None:
        """Append a chunk; all chunks are of one type, shape and device.

        Raises:
            ValueError: more rows than ``size``.
        """
        if self.done == 0:
            self.rows = part.new_empty(self._size, *part.shape[1:])
        if self.done + len(part) > self._size:
            raise ValueError(f"{len(part)} rows after {self.done}: expected {self._size} in total")
        self.rows[self.done : self.done + len(part)] = part
        self.done += len(part)
