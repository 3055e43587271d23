"""Files with the same content, where only one of them can be right."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preceptor.errors import InputError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class LabeledData:
    """An image file with its class and the set it belongs to, one of ``SPLITS``."""

    path: Path
    label: int
    split: str = "train"


def contradictions(files: Sequence[LabeledData]) -> dict[Path, InputError]:
    """The error of each file that is, byte for byte, also in another class, or also in a later one of ``SPLITS``.

    A file that cannot be read has an error too. A file that is twice in one class of one set has none: it counts twice.
    """
    errors: dict[Path, InputError] = {}
    for group in _same_content(files, errors):
        for file in group:
            other_class = next((one for one in group if one.label != file.label), None)
            later = next((one for one in group if SPLITS.index(one.split) > SPLITS.index(file.split)), None)
            if other_class is not None:
                errors[file.path] = InputError(
                    f"{file.path}: the same image as {other_class.path}, of another class; keep it in the right one"
                )
            elif later is not None:
                errors[file.path] = InputError(
                    f"{file.path}: the same image as {later.path}, of the {later.split} set; keep one of the two"
                )
    return errors


def _same_content(files: Sequence[LabeledData], errors: dict[Path, InputError]) -> list[list[LabeledData]]:
    by_size, by_content = defaultdict(list), defaultdict(list)
    for file in files:
        by_size[file.path.stat().st_size].append(file)
    for size, group in by_size.items():
        # Most files differ in size already and need not be read for this. Empty ones have no content to be the same.
        if len(group) == 1 or size == 0:
            continue
        for file in group:
            try:
                with file.path.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").digest()
            except OSError as error:
                errors[file.path] = InputError(
                    f"{file.path}: cannot be read ({error.strerror}); allow reading it or remove it"
                )
            else:
                by_content[size, digest].append(file)
    return [group for group in by_content.values() if len(group) > 1]
