"""Files that are there twice where only one of them can be right."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.errors import InputError


@dataclass(frozen=True)
class LabeledData:
    """An image file with its class, and whether it is of the test set."""

    path: Path
    label: int
    test: bool = False


def contradictions(files: Sequence[LabeledData]) -> dict[Path, InputError]:
    """What is wrong with each file that is byte for byte one of another class, or a training image one of the test set.

    A file that is twice in one class of the training set is none of these: it merely counts twice.
    """
    found = {}
    for group in _alike(files):
        for file in group:
            error = _contradiction(file, group)
            if error is not None:
                found[file.path] = error
    return found


def _contradiction(file: LabeledData, group: Sequence[LabeledData]) -> InputError | None:
    other = next((one for one in group if one.label != file.label), None)
    if other is not None:
        return InputError(f"{file.path}: the same image as {other.path}, of another class; keep it in the right one")
    other = next((one for one in group if one.test and not file.test), None)
    if other is not None:
        return InputError(
            f"{file.path}: the same image as {other.path}: one that was trained on tests nothing; keep one of the two"
        )
    return None


def _alike(files: Iterable[LabeledData]) -> list[list[LabeledData]]:
    """Files of the same content; only those of one size are read."""
    by_size = defaultdict(list)
    for file in files:
        by_size[file.path.stat().st_size].append(file)
    by_content = defaultdict(list)
    for size, group in by_size.items():
        for file in group if len(group) > 1 else ():
            by_content[size, _digest(file.path)].append(file)
    return [group for group in by_content.values() if len(group) > 1]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
