"""What every reader of encoded images lists: where each is, its class and the set it belongs to."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preceptor.context import UNLABELED
from preceptor.data.dataset import check_class_names
from preceptor.data.encoded import EncodedSource
from preceptor.errors import InputError, few

SPLITS = ("train", "validation", "test")
TRAIN = 0
NO_SET = 255
"""In place of a set's number: the image is not used."""

SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What the sets are called by those who publish data, in any case."""

_LETTERS = re.compile(r"[^a-z]+")
_INTEGER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of a data set, none of them decoded, by position.

    Attributes:
        where: the folder or file, or the data set's name.
        source: of the encoded images.
        names: of the images, relative to ``where``.
        labels: integers, -1 means unlabeled.
        splits: of each image the number of its set in ``SPLITS``, or ``NO_SET``.
        class_names: in the order of the labels; None where the labels are mere numbers.
        groups: numbers; images with the same one are held out together. None: every image is by itself.
        errors: by position, why an image cannot be used, as far as the listing shows it.
        as_published: whether copies of an image in several classes or sets belong to it, as in public data sets.
    """

    where: Path
    source: EncodedSource
    names: Sequence[str]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    class_names: tuple[str, ...] | None = None
    groups: NDArray[np.int64] | None = None
    errors: dict[int, InputError] = field(default_factory=dict)
    as_published: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def path(self, position: int) -> Path:
        """An image's name in messages; the file itself where there is one."""
        return self.where / self.names[position]

    def class_name(self, label: int) -> str:
        """A class's name, or its number."""
        names = self.class_names or ()
        return names[label] if 0 <= label < len(names) else str(label)


def split_of(name: str) -> int | None:
    """The number of the set that a name stands for by itself, as in ``Val``."""
    spelled = SPELLINGS.get(name.lower())
    return None if spelled is None else SPLITS.index(spelled)


def split_of_file(path: Path) -> int:
    """The number of the set that a file's name states, as in ``train-00000-of-00004.parquet``, else its folder's name.

    A file that states none is of the training set.

    Raises:
        InputError: two sets are stated.
    """
    for name in (path.name.partition(".")[0], *reversed(path.parent.parts)):
        stated = {split for word in _LETTERS.split(name.lower()) if (split := split_of(word)) is not None}
        if len(stated) > 1:
            sets = " and ".join(SPLITS[split] for split in sorted(stated))
            raise InputError(f"{path}: the name {name!r} stands for the {sets} set; rename it after one of them")
        if stated:
            return stated.pop()
    return TRAIN


def splits_of_files(root: Path, files: Sequence[Path]) -> list[int]:
    """The set of each file, by :func:`split_of_file` of its path below ``root``; a single file is a training set."""
    if len(files) == 1:
        return [TRAIN]
    splits = [split_of_file(file.relative_to(root)) for file in files]
    if TRAIN not in splits:
        raise InputError(
            f"{root}: no file of training images among {few([file.name for file in files], 5)}; name one "
            "train-…, or name a single file"
        )
    return splits


def files_of(place: Path, suffix: str) -> tuple[Path, list[Path]]:
    """The files that a file, a folder (at any depth) or a pattern such as ``DIR/train-*.tar`` stands for, in order.

    Returns:
        the folder that all are in, and the files.

    Raises:
        InputError: there is none.
    """
    if place.is_file():
        return place.parent, [place]
    if place.is_dir():
        root, files = place, place.rglob(f"*{suffix}")
    else:
        parts = place.parts
        fixed = next((n for n, part in enumerate(parts) if any(letter in part for letter in "*?[")), len(parts))
        if fixed == len(parts):
            raise InputError(f"{place}: no such file or folder; give a file, a folder or a pattern of {suffix} files")
        root = Path(*parts[:fixed])
        files = root.glob(str(Path(*parts[fixed:])))
    listed = sorted(file for file in files if file.is_file() and not file.name.startswith("."))
    if not listed:
        raise InputError(f"{place}: no {suffix} file; give a file, a folder or a pattern of such files")
    return root, listed


def number_labels(
    cells: Sequence[str | int | None],
    splits: NDArray[np.uint8],
    where: Path,
    class_names: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Labels, and the class names, from what a table states of each image.

    Args:
        cells: integers or texts; None and an empty text mean unlabeled.
        splits: the set of each.
        where: they come from, for messages.
        class_names: in the order of the labels, where they are known. Without them texts that all are integers are
            labels, and others are names, whose order is that of the training set's names.

    Raises:
        InputError: a name that is not of a training image.
    """
    if all(isinstance(cell, int) for cell in cells):
        return np.array(cells, dtype=np.int64), None if class_names is None else tuple(class_names)
    known_numbers = class_names is not None
    texts = [unicodedata.normalize("NFC", str("" if cell is None else cell).strip()) for cell in cells]
    if class_names is None:
        if all(_INTEGER.fullmatch(text) for text in texts if text):
            return np.array([int(text) if text else UNLABELED for text in texts], dtype=np.int64), None
        class_names = sorted({text for text, split in zip(texts, splits, strict=True) if text and split == TRAIN})
        check_class_names(class_names, f"labels of {where}")
    number_of = {name: label for label, name in enumerate(class_names)}
    labels = np.full(len(texts), UNLABELED, dtype=np.int64)
    for row, text in enumerate(texts):
        if text in number_of:  # before integers: a class may be called "7"
            labels[row] = number_of[text]
        elif known_numbers and _INTEGER.fullmatch(text):
            labels[row] = int(text)
        elif text:
            raise InputError(
                f"{where}: image {row + 1} is of class {text[:40]!r}, which no training image has; there are "
                f"{few(class_names)}"
            )
    return labels, tuple(class_names)


def used_splits(splits: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The sets, without a validation or test set in which no image has a label: who publishes it keeps them secret."""
    used = splits.copy()
    for split in range(TRAIN + 1, len(SPLITS)):
        of_split = splits == split
        if (labels[of_split] == UNLABELED).all():
            used[of_split] = NO_SET
    return used


def number_groups(cells: Iterable[str | int | None]) -> NDArray[np.int64]:
    """Numbers of groups from their names; an image without a group is one by itself."""
    number_of: dict[object, int] = {}
    return np.array(
        [
            number_of.setdefault(("alone", row) if cell is None or cell == "" else cell, len(number_of))
            for row, cell in enumerate(cells)
        ],
        dtype=np.int64,
    )
