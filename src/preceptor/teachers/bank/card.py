"""What a bank is of: the file ``bank.json``, and the parts in which a stale bank differs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from preceptor import __version__
from preceptor.config import validated
from preceptor.data import Normalisation, Views
from preceptor.errors import InputError
from preceptor.files import read_json, write_whole
from preceptor.teachers.bank.layout import Layout

CARD_FILE = "bank.json"

_SHOWN = 60


class Setting(BaseModel):
    """What can be told of a bank's use without its teacher.

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
    def without_teacher(data: str, rule: Views, class_names: Sequence[str]) -> "Setting":
        """From the things themselves; the digest of the images is the caller's."""
        return Setting(data=data, views=_settings_of(rule), class_names=tuple(class_names))


class Fingerprint(Setting):
    """What the logits follow from. In whatever part two banks differ, they may hold other numbers.

    Args:
        data, views, class_names: as of :class:`Setting`.
        teacher: of the weights, for example a SHA-256; for a signal of another kind, whatever tells it from others.
        normalisation: what the teacher does to its images: mean and std.
        precision: what the teacher computes in. Default "fp32".
    """

    teacher: str
    normalisation: dict[str, tuple[float, ...]]
    precision: str = "fp32"

    @staticmethod
    def of(
        teacher: str,
        data: str,
        normalisation: Normalisation,
        rule: Views,
        class_names: Sequence[str],
        precision: str = "fp32",
    ) -> "Fingerprint":
        """From the things themselves; the digests of weights and images are the caller's."""
        return Fingerprint(
            teacher=teacher,
            data=data,
            normalisation=asdict(normalisation),
            views=_settings_of(rule),
            class_names=tuple(class_names),
            precision=precision,
        )


def _settings_of(rule: Views) -> dict[str, bool | int | float | str]:
    return {"rule": type(rule).__name__, **asdict(cast(Any, rule))}


class Card(BaseModel):
    """The content of ``bank.json``.

    Args:
        format: version of the files' format; 1.
        preceptor: version that made the bank.
        layout: its shape.
        fingerprint: what it is of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    preceptor: str = __version__
    layout: Layout
    fingerprint: Fingerprint

    @property
    def seed(self) -> bytes:
        """Of the checksums: a digest of layout and fingerprint."""
        content = {"layout": self.layout.model_dump(mode="json"), "of": self.fingerprint.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def write_card(folder: Path, card: Card) -> None:
    """Write ``bank.json`` into a folder.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_whole({folder / CARD_FILE: (card.model_dump_json(indent=2) + "\n").encode()})


def read_card(folder: Path) -> Card:
    """The card of the bank in a folder.

    Raises:
        InputError: there is none, it is damaged, or it is of another format.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file: give the folder of a bank, or fill one first")
    content = read_json(path, remedy=_REMEDY)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}: {_REMEDY}")
    if content.get("format") != 1:
        raise InputError(f"{path}: format {content.get('format')!r}, this version reads format 1: {_REMEDY}")
    return validated(Card, content, str(path))


_REMEDY = "remove the bank and fill it again"
_PARTS = {
    "teacher": "teacher weights",
    "data": "training images",
    "normalisation": "normalisation",
    "views": "view rule",
    "class_names": "classes",
    "precision": "precision of the teacher",
}


def check_fingerprint(folder: Path, bank: Fingerprint, given: Setting) -> None:
    """Make sure that a bank is of what it is to be used for.

    Args:
        folder: of the bank.
        bank: what it is of.
        given: what it is to be used for: a :class:`Fingerprint`, or a :class:`Setting` alone where the teacher is not
            at hand, of which nothing is then checked.

    Raises:
        InputError: it is not; every part that differs is named, with both sides.
    """
    differing = [
        f"{label} ({_difference(getattr(bank, part), getattr(given, part))})"
        for part, label in _PARTS.items()
        if part in type(given).model_fields and getattr(bank, part) != getattr(given, part)
    ]
    if differing:
        raise InputError(
            f"bank {folder}: made with other {', other '.join(differing)}: use it with what it was made from, "
            "give another folder, or remove it and fill it again"
        )


def check_layout(folder: Path, bank: Layout, given: Layout) -> None:
    """Make sure that a bank has the shape that is asked for.

    Raises:
        InputError: it has another.
    """
    if not bank.agrees(given):
        raise InputError(f"bank {folder}: holds {bank}, asked for are {given}: give another folder, or {_REMEDY}")


def _difference(bank: Any, given: Any) -> str:
    if isinstance(bank, tuple):
        if len(bank) != len(given):
            return f"in the bank {len(bank)}, given {len(given)}"
        first = next(number for number, pair in enumerate(zip(bank, given, strict=True)) if pair[0] != pair[1])
        return f"class {first} in the bank {bank[first]!r}, given {given[first]!r}"
    return f"in the bank {_shown(bank)}, given {_shown(given)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:12]}...{text[-12:]}"
