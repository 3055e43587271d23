"""``cache.json``: the shape of a cache, and its key, the parts in which a stale cache differs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from preceptor import __version__
from preceptor.config import validated
from preceptor.data import Augmentation, Normalization
from preceptor.errors import InputError
from preceptor.files import read_json
from preceptor.teachers.cache.layout import Layout

METADATA_FILE = "cache.json"

_REMEDY = "remove the cache and fill it again"
_PARTS = {
    "teacher": "teacher weights",
    "data": "training images",
    "normalization": "normalization",
    "views": "augmentation",
    "class_names": "classes",
    "precision": "precision of the teacher",
}


class DatasetKey(BaseModel):
    """The part of a cache's key that does not depend on its teacher.

    Args:
        data: digest of the training images in their order, held-out ones included; labels do not matter.
        views: the type of the augmentation, and its settings.
        class_names: in the order of the logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    views: dict[str, bool | int | float | str]
    class_names: tuple[str, ...]

    @staticmethod
    def without_teacher(data: str, augmentation: Augmentation, class_names: Sequence[str]) -> "DatasetKey":
        """The key from an augmentation; the digest of the images is the caller's."""
        views = {"rule": type(augmentation).__name__, **asdict(cast(Any, augmentation))}
        return DatasetKey(data=data, views=views, class_names=tuple(class_names))


class CacheKey(DatasetKey):
    """All that the logits follow from. Where two keys differ in any part, the caches may hold other numbers.

    Args:
        data, views, class_names: as of :class:`DatasetKey`.
        teacher: digest of the weights, for example a SHA-256; of a teacher without weights, any identity.
        normalization: mean and std of the teacher's images.
        precision: what the teacher computes in. Default "fp32".
    """

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
        dataset = DatasetKey.without_teacher(data, augmentation, class_names)
        return CacheKey(
            **dataset.model_dump(), teacher=teacher, normalization=asdict(normalization), precision=precision
        )


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


def read_metadata(folder: Path) -> CacheMetadata:
    """The metadata of the cache in a folder.

    Raises:
        InputError: there is none, it is damaged, or it is of another format.
    """
    path = folder / METADATA_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file: give the folder of a cache, or fill one first")
    content = read_json(path, remedy=_REMEDY)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, not {type(content).__name__}: {_REMEDY}")
    if content.get("format") != 2:
        raise InputError(f"{path}: format {content.get('format')!r}, this version reads format 2: {_REMEDY}")
    return validated(CacheMetadata, content, str(path))


def check_key(folder: Path, cached: CacheKey, wanted: DatasetKey) -> None:
    """Refuse a cache of something else than it is to be used for.

    Args:
        folder: of the cache.
        cached: its key.
        wanted: what it is to be used for: a :class:`CacheKey`, or a :class:`DatasetKey` alone where the teacher is not
            at hand, whose parts are then not checked.

    Raises:
        InputError: the keys differ; every part that does is named, with both sides.
    """
    differing = [
        f"{label} ({_difference(getattr(cached, part), getattr(wanted, part))})"
        for part, label in _PARTS.items()
        if part in type(wanted).model_fields and getattr(cached, part) != getattr(wanted, part)
    ]
    if differing:
        raise InputError(
            f"cache {folder}: made with other {', other '.join(differing)}: use it with what it was made from, "
            "give another folder, or remove it and fill it again"
        )


def check_layout(folder: Path, cached: Layout, wanted: Layout) -> None:
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
