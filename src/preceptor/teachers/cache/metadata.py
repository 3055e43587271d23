"""What a cache is of: the file ``cache.json``, and the parts in which a stale cache differs."""

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
from preceptor.files import read_json, write_whole
from preceptor.teachers.cache.layout import Layout

CARD_FILE = "cache.json"

_SHOWN = 60


class DatasetKey(BaseModel):
    """What can be told of a cache's use without its teacher.

    Args:
        data: of the training images in their order, held-out ones included; labels do not matter.
        views: the kind of the view rule, and its settings.
        class_names: in the order of the logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    views: dict[str, bool | int | float | str]
    class_names: tuple[str, ...]

    @staticmethod
    def without_teacher(data: str, rule: Augmentation, class_names: Sequence[str]) -> "DatasetKey":
        """From the things themselves; the digest of the images is the caller's."""
        return DatasetKey(data=data, views=_settings_of(rule), class_names=tuple(class_names))


class CacheKey(DatasetKey):
    """What the logits follow from. In whatever part two caches differ, they may hold other numbers.

    Args:
        data, views, class_names: as of :class:`DatasetKey`.
        teacher: of the weights, for example a SHA-256; for a signal of another kind, whatever tells it from others.
        normalization: what the teacher does to its images: mean and std.
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
        rule: Augmentation,
        class_names: Sequence[str],
        precision: str = "fp32",
    ) -> "CacheKey":
        """From the things themselves; the digests of weights and images are the caller's."""
        return CacheKey(
            teacher=teacher,
            data=data,
            normalization=asdict(normalization),
            views=_settings_of(rule),
            class_names=tuple(class_names),
            precision=precision,
        )


def _settings_of(rule: Augmentation) -> dict[str, bool | int | float | str]:
    return {"rule": type(rule).__name__, **asdict(cast(Any, rule))}


class CacheMetadata(BaseModel):
    """The content of ``cache.json``.

    Args:
        format: version of the files' format; 1.
        preceptor: version that made the cache.
        layout: its shape.
        fingerprint: what it is of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    preceptor: str = __version__
    layout: Layout
    fingerprint: CacheKey

    @property
    def seed(self) -> bytes:
        """Of the checksums: a digest of layout and fingerprint."""
        content = {"layout": self.layout.model_dump(mode="json"), "of": self.fingerprint.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def write_card(folder: Path, card: CacheMetadata) -> None:
    """Write ``cache.json`` into a folder.

    Raises:
        MachineError: it cannot be written.
    """
    write_whole({folder / CARD_FILE: (card.model_dump_json(indent=2) + "\n").encode()})


def read_card(folder: Path) -> CacheMetadata:
    """The card of the cache in a folder.

    Raises:
        InputError: there is none, it is damaged, or it is of another format.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file: give the folder of a cache, or fill one first")
    content = read_json(path, remedy=_REMEDY)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}: {_REMEDY}")
    if content.get("format") != 1:
        raise InputError(f"{path}: format {content.get('format')!r}, this version reads format 1: {_REMEDY}")
    return validated(CacheMetadata, content, str(path))


_REMEDY = "remove the cache and fill it again"
_PARTS = {
    "teacher": "teacher weights",
    "data": "training images",
    "normalization": "normalization",
    "views": "view rule",
    "class_names": "classes",
    "precision": "precision of the teacher",
}


def check_fingerprint(folder: Path, cache: CacheKey, given: DatasetKey) -> None:
    """Make sure that a cache is of what it is to be used for.

    Args:
        folder: of the cache.
        cache: what it is of.
        given: what it is to be used for: a :class:`CacheKey`, or a :class:`DatasetKey` alone where the teacher is not
            at hand, of which nothing is then checked.

    Raises:
        InputError: it is not; every part that differs is named, with both sides.
    """
    differing = [
        f"{label} ({_difference(getattr(cache, part), getattr(given, part))})"
        for part, label in _PARTS.items()
        if part in type(given).model_fields and getattr(cache, part) != getattr(given, part)
    ]
    if differing:
        raise InputError(
            f"cache {folder}: made with other {', other '.join(differing)}: use it with what it was made from, "
            "give another folder, or remove it and fill it again"
        )


def check_layout(folder: Path, cache: Layout, given: Layout) -> None:
    """Make sure that a cache has the shape that is asked for.

    Raises:
        InputError: it has another.
    """
    if not cache.agrees(given):
        raise InputError(f"cache {folder}: holds {cache}, asked for are {given}: give another folder, or {_REMEDY}")


def _difference(cache: Any, given: Any) -> str:
    if isinstance(cache, tuple):
        if len(cache) != len(given):
            return f"in the cache {len(cache)}, given {len(given)}"
        first = next(number for number, pair in enumerate(zip(cache, given, strict=True)) if pair[0] != pair[1])
        return f"class {first} in the cache {cache[first]!r}, given {given[first]!r}"
    return f"in the cache {_shown(cache)}, given {_shown(given)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:12]}...{text[-12:]}"
