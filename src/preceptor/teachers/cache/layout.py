"""How large a cache is and where in it a cell lies. A cell is what the teacher says of one sample in one view."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

MARK_BYTES = 4
"""Each cell has a mark of so many bytes: its checksum, or zero while it is empty."""

Count = Annotated[int, Field(ge=1)]

MOST_CELLS = 2**48
"""Far beyond any disk; a damaged card must not make us count for ever."""

MOST_SHARDS = 100_000
"""Of 1 GiB each, 100 TB."""

MOST_RECORD_BYTES = 2**30
"""What NumPy can still describe."""


class Layout(BaseModel):
    """The shape of a cache.

    Args:
        samples: images of the training set.
        views: of each image.
        classes: of the teacher.
        top_k: how many of the largest logits to keep, below ``classes``; None, the default, keeps them all.
        features: dimensions of the pooled features to keep beside the logits. Default 0, none.
        shard_bytes: how large a file may grow, unless a single sample needs more. Default 1 GiB: few files even for a
            million samples, small enough to copy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: Count
    views: Count
    classes: Count
    top_k: Count | None = None
    features: Annotated[int, Field(ge=0)] = 0
    shard_bytes: Count = 2**30

    @model_validator(mode="after")
    def _leaves_some_classes_out(self) -> "Layout":
        if self.top_k is not None and self.top_k >= self.classes:
            raise ValueError(f"top_k = {self.top_k} of {self.classes} classes: give fewer, or leave it out to keep all")
        return self

    @model_validator(mode="after")
    def _can_be(self) -> "Layout":
        if self.cells > MOST_CELLS:
            raise ValueError(f"{self.samples} samples of {self.views} views: allowed are {MOST_CELLS} cells")
        if 2 * self.features + 4 * self.classes + 8 > MOST_RECORD_BYTES:
            raise ValueError(f"{self.classes} classes and {self.features} features: a record larger than 1 GiB")
        if self.shards > MOST_SHARDS:
            raise ValueError(f"{self.shards} files: allowed are {MOST_SHARDS}: give a larger shard_bytes")
        return self

    @property
    def cells(self) -> int:
        """Samples times views; cell ``sample * views + view`` is that of a sample and a view."""
        return self.samples * self.views

    @property
    def record(self) -> np.dtype[Any]:
        """What a cell holds on the disk, little-endian; a whole number of 32-bit words."""
        fields = _kept_whole(self.classes) if self.top_k is None else _kept_in_part(self.classes, self.top_k)
        if self.features:
            fields["features"] = np.dtype(("<f2", (self.features,)))
        ordered = sorted(fields.items(), key=lambda field: -field[1].base.itemsize)  # so that every field is aligned
        over = sum(kind.itemsize for kind in fields.values()) % 4
        return np.dtype([*ordered, ("pad", np.dtype(("u1", (4 - over,))))] if over else ordered)

    @property
    def cell_bytes(self) -> int:
        """What a cell takes, its mark included."""
        return self.record.itemsize + MARK_BYTES

    @property
    def samples_per_shard(self) -> int:
        """Samples in each file but the last, which holds what is left."""
        return min(self.samples, max(1, self.shard_bytes // (self.views * self.cell_bytes)))

    @property
    def cells_per_shard(self) -> int:
        """Cells in each file but the last."""
        return self.samples_per_shard * self.views

    @property
    def shards(self) -> int:
        """Number of files."""
        return -(-self.samples // self.samples_per_shard)

    def cells_in(self, shard: int) -> int:
        """How many cells a file has."""
        return min(self.cells_per_shard, self.cells - shard * self.cells_per_shard)

    def agrees(self, other: "Layout") -> bool:
        """Whether both hold the same, in files of whatever size."""
        return self.model_copy(update={"shard_bytes": other.shard_bytes}) == other

    def __str__(self) -> str:
        kept = "fp16" if self.top_k is None else f"top {self.top_k}"
        features = f" and {self.features} features" if self.features else ""
        return f"{self.samples} samples of {self.views} views, {kept} of {self.classes} classes{features}"


def _kept_whole(classes: int) -> dict[str, np.dtype[Any]]:
    return {"top": np.dtype("<f4"), "values": np.dtype(("<f2", (classes,)))}


def _kept_in_part(classes: int, k: int) -> dict[str, np.dtype[Any]]:
    number = np.min_scalar_type(classes - 1).newbyteorder("<")
    return _kept_whole(k) | {"rest": np.dtype("<f4"), "ids": np.dtype((number, (k,)))}


@dataclass(frozen=True)
class Plan:
    """What a cache will take.

    Attributes:
        bytes: of its files when every cell is filled; ``cache.json``, some kilobytes, comes on top.
        cell_bytes: of one cell, its checksum included.
        cells: how many there are.
        shards: number of files.
        views: of each sample.
        samples: of the training set.
    """

    bytes: int
    cell_bytes: int
    cells: int
    shards: int
    samples: int
    views: int

    def forwards(self, epochs: int | None = None) -> int:
        """Images the teacher has to look at: to fill the cache, or as it fills while students train.

        Over E epochs, each of which shows every sample in one of V views at random, a sample is expected to be seen
        in ``V (1 - (1 - 1/V)^E)`` of them; without a cache the teacher looks E times. Students that follow with the
        same seed need none, since they are shown the same views.

        Args:
            epochs: of one student; None is a cache filled ahead.
        """
        if epochs is None:
            return self.cells
        return round(self.cells * (1 - (1 - 1 / self.views) ** epochs))


def plan(layout: Layout) -> Plan:
    """What a cache will take on the disk and of the teacher's time. Nothing is written."""
    return Plan(
        bytes=layout.cells * layout.cell_bytes,
        cell_bytes=layout.cell_bytes,
        cells=layout.cells,
        shards=layout.shards,
        samples=layout.samples,
        views=layout.views,
    )
