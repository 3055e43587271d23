"""Shape and size of a cache. An entry holds the teacher's output for one sample in one view."""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

CHECKSUM_BYTES = 4

MAX_ENTRIES = 2**48
"""Far beyond any disk: a damaged ``cache.json`` must not make us count for ever."""

MAX_RECORD_BYTES = 2**30
"""About what NumPy can describe as one item."""

Count = Annotated[int, Field(ge=1)]


class Layout(BaseModel):
    """The shape of a cache.

    Args:
        samples: size of the training set.
        views: of each sample.
        classes: of the teacher.
        top_k: how many of the largest logits to keep, below ``classes``; None, the default, keeps them all.
        features: dimensions of the pooled features kept beside the logits. Default 0, none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: Count
    views: Count
    classes: Count
    top_k: Count | None = None
    features: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> "Layout":
        if self.top_k is not None and self.top_k >= self.classes:
            raise ValueError(f"top_k = {self.top_k} of {self.classes} classes: give fewer, or leave it out to keep all")
        if self.entries > MAX_ENTRIES:
            raise ValueError(f"{self.samples} samples of {self.views} views: at most {MAX_ENTRIES} entries are allowed")
        if 2 * self.features + 4 * self.classes + 8 > MAX_RECORD_BYTES:
            raise ValueError(f"{self.classes} classes and {self.features} features: a record larger than 1 GiB")
        return self

    @property
    def entries(self) -> int:
        """Samples times views. Entry ``sample * views + view`` belongs to a sample and a view."""
        return self.samples * self.views

    @property
    def record(self) -> np.dtype[Any]:
        """What an entry holds on the disk, little-endian; a whole number of 32-bit words, for the checksum.

        Fields: ``top`` and ``values`` (see ``Codec``), with ``top_k`` also ``ids`` and ``rest``, and ``features``.
        """
        kept = self.classes if self.top_k is None else self.top_k
        fields = {"top": np.dtype("<f4"), "values": np.dtype(("<f2", (kept,)))}
        if self.top_k is not None:
            id_type = np.min_scalar_type(self.classes - 1).newbyteorder("<")
            fields |= {"rest": np.dtype("<f4"), "ids": np.dtype((id_type, (kept,)))}
        if self.features:
            fields["features"] = np.dtype(("<f2", (self.features,)))
        # The widest types first, so that every field is aligned within a record.
        ordered = sorted(fields.items(), key=lambda field: -field[1].base.itemsize)
        odd_bytes = sum(dtype.itemsize for dtype in fields.values()) % 4
        return np.dtype([*ordered, ("padding", np.dtype(("u1", (4 - odd_bytes,))))] if odd_bytes else ordered)

    @property
    def entry_bytes(self) -> int:
        """Bytes of an entry, its checksum included."""
        return self.record.itemsize + CHECKSUM_BYTES

    @property
    def bytes(self) -> int:
        """Bytes of the files when every entry is filled; ``cache.json``, some kilobytes, comes on top."""
        return self.entries * self.entry_bytes

    def queries(self, epochs: int | None = None) -> int:
        """Images the teacher has to look at: to fill the cache ahead, or as it fills while a student trains.

        Over E epochs, each of which shows every sample in one of V views at random, a sample is expected to be seen
        in ``V (1 - (1 - 1/V)^E)`` of them; without a cache the teacher looks E times. Students that follow with the
        same seed need none, since they are shown the same views.

        Args:
            epochs: of one student; None is a cache filled ahead.
        """
        if epochs is None:
            return self.entries
        return round(self.entries * (1 - (1 - 1 / self.views) ** epochs))

    def __str__(self) -> str:
        kept = "fp16" if self.top_k is None else f"top {self.top_k}"
        features = f" and {self.features} features" if self.features else ""
        return f"{self.samples} samples of {self.views} views, {kept} of {self.classes} classes{features}"
