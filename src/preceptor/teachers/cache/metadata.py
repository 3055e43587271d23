"""``cache.json``: the shape of a cache, and its key, the parts in which a stale cache differs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from preceptor import __version__
from preceptor.config import validated
from preceptor.data import Augmentation, Normalization
from preceptor.data.composition import augmentation_settings
from preceptor.errors import InputError
from preceptor.files import read_json
from preceptor.teachers.cache.remote import RemoteFolder

METADATA_FILE = "cache.json"

CHECKSUM_BYTES = 4

MAX_ENTRIES = 2**48
"""Far beyond any disk: a damaged ``cache.json`` must not make us count for ever."""

MAX_RECORD_BYTES = 2**30
"""About what NumPy can describe as one item."""

_REMEDY = "remove the cache and fill it again"
_PARTS = {
    "teacher": "teacher weights",
    "data": "training images",
    "normalization": "normalization",
    "views": "augmentation",
    "class_names": "classes",
    "precision": "precision of the teacher",
}

Count = Annotated[int, Field(ge=1)]


class Layout(BaseModel):
    """The shape of a cache. An entry holds the teacher's output for one sample in one view.

    Args:
        samples: size of the training set.
        views: of each sample.
        classes: of the teacher.
        top_k: how many of the largest outputs to keep, below ``classes``; None, the default, keeps them all.
        features: 0; the format has room for features, and this version keeps none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: Count
    views: Count
    classes: Count
    top_k: Count | None = None
    features: Literal[0] = 0

    @model_validator(mode="after")
    def _check(self) -> "Layout":
        if self.top_k is not None and self.top_k >= self.classes:
            raise ValueError(f"top_k = {self.top_k} of {self.classes} classes: give fewer, or leave it out to keep all")
        if self.entries > MAX_ENTRIES:
            raise ValueError(f"{self.samples} samples of {self.views} views: at most {MAX_ENTRIES} entries are allowed")
        if 4 * self.classes + 8 > MAX_RECORD_BYTES:
            raise ValueError(f"{self.classes} classes: a record larger than 1 GiB")
        return self

    @property
    def entries(self) -> int:
        """Samples times views. Entry ``sample * views + view`` belongs to a sample and a view."""
        return self.samples * self.views

    @property
    def record(self) -> np.dtype[Any]:
        """What an entry holds on the disk, little-endian; a whole number of 32-bit words, for the checksum.

        Fields: ``top`` and ``values`` (see ``Codec``), with ``top_k`` also ``ids`` and ``rest``. An id takes one byte
        up to 256 classes, two up to 65,536 and four beyond.
        """
        kept = self.classes if self.top_k is None else self.top_k
        fields = {"top": np.dtype("<f4"), "values": np.dtype(("<f2", (kept,)))}
        if self.top_k is not None:
            id_type = np.min_scalar_type(self.classes - 1).newbyteorder("<")
            fields |= {"rest": np.dtype("<f4"), "ids": np.dtype((id_type, (kept,)))}
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
        kept = f"all {self.classes:,}" if self.top_k is None else f"the {self.top_k} largest of {self.classes:,}"
        return f"{self.samples:,} images in {self.views:,} view{'s' if self.views > 1 else ''}, {kept} logits"


class CacheKey(BaseModel):
    """All that a teacher's outputs follow from. Where two keys differ in any part, the numbers may differ.

    Args:
        data: digest of the training images in their order, held-out ones included; labels do not matter.
        views: the type of the augmentation, and its settings.
        class_names: in the order of the outputs.
        teacher: digest of the weights, for example a SHA-256; of a teacher without weights, any identity.
        normalization: mean and std of the teacher's images.
        precision: what the teacher computes in. Default "fp32".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    views: dict[str, bool | int | float | str]
    class_names: tuple[str, ...]
    teacher: str
    normalization: dict[str, tuple[float, ...]]
    precision: str = "fp32"

    @staticmethod
    def of(
        teacher: str,
        data: str,
        normalization: Normalization,
        augmentation: Augmentation,
        class_names: Sequence[str],
        precision: str = "fp32",
    ) -> "CacheKey":
        """The key from the things themselves; the digests of weights and images are the caller's."""
        return CacheKey(
            **data_parts(data, augmentation, class_names),
            teacher=teacher,
            normalization=asdict(normalization),
            precision=precision,
        )


def data_parts(data: str, augmentation: Augmentation, class_names: Sequence[str]) -> dict[str, Any]:
    """The parts of a :class:`CacheKey` that do not depend on the teacher."""
    return {"data": data, "views": augmentation_settings(augmentation), "class_names": tuple(class_names)}


class CacheMetadata(BaseModel):
    """The content of ``cache.json``.

    Args:
        format: version of the files' format; 2.
        preceptor: version that made the cache.
        layout: its shape.
        key: what its numbers follow from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    preceptor: str = __version__
    layout: Layout
    key: CacheKey

    @property
    def checksum_seed(self) -> bytes:
        """A digest of layout and key: a file brought from another cache fails every checksum."""
        content = self.model_dump(mode="json", include={"layout", "key"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def read_metadata(folder: Path | str) -> CacheMetadata:
    """The metadata of the cache in a folder, or at a URL.

    Raises:
        InputError: there is none, it is damaged, or it is of another format.
        MachineError: the URL cannot be reached.
    """
    path = f"{folder}/{METADATA_FILE}"
    if isinstance(folder, str):
        content = RemoteFolder(folder).read_json(METADATA_FILE, _REMEDY)
    elif not (folder / METADATA_FILE).is_file():
        raise InputError(f"{path}: no such file: give the folder of a cache, or fill one first")
    else:
        content = read_json(folder / METADATA_FILE, remedy=_REMEDY)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, not {type(content).__name__}: {_REMEDY}")
    if content.get("format") != 2:
        raise InputError(f"{path}: format {content.get('format')!r}, this version reads format 2: {_REMEDY}")
    return validated(CacheMetadata, content, path)


def check_key(folder: Path | str, cached: CacheKey, wanted: Mapping[str, Any]) -> None:
    """Refuse a cache of something else than it is to be used for.

    Args:
        folder: of the cache.
        cached: its key.
        wanted: parts of the key of what it is to be used for; all of them, or those that are known.

    Raises:
        InputError: the keys differ; every part that does is named, with both sides.
    """
    expected = CacheKey(**{**dict(cached), **wanted})
    differing = [
        f"{label} ({_difference(getattr(cached, part), getattr(expected, part))})"
        for part, label in _PARTS.items()
        if getattr(cached, part) != getattr(expected, part)
    ]
    if differing:
        raise InputError(
            f"cache {folder}: made with other {', other '.join(differing)}: use it with what it was made from, "
            "give another folder, or remove it and fill it again"
        )


def check_layout(folder: Path | str, cached: Layout, wanted: Layout) -> None:
    """Refuse a cache of another shape.

    Raises:
        InputError: the layouts differ.
    """
    if cached != wanted:
        raise InputError(f"cache {folder}: holds {cached}; expected {wanted}: give another folder, or {_REMEDY}")


def _difference(cached: Any, wanted: Any) -> str:
    if isinstance(cached, tuple):  # class names, perhaps thousands: how many, or the first that differs
        pairs = zip(cached, wanted, strict=False)
        cached, wanted = next((pair for pair in pairs if pair[0] != pair[1]), (len(cached), len(wanted)))
    return f"{cached!r} in the cache, {wanted!r} now"
