"""Images in folders, one folder a class."""

import os
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from preceptor.data.dataset import check_class_names
from preceptor.data.images import is_litter
from preceptor.data.listing import SPLITS, TRAIN, Listing, split_of
from preceptor.errors import InputError
from preceptor.files import is_inside

_LEADS_OUT = "a link out of the data set's folder, to {}; put the images into the folder"


@dataclass(frozen=True, eq=False)
class FolderFiles:
    """The files of a folder, by position."""

    folder: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, position: int) -> tuple[Path, None]:
        """The file itself: Pillow opens it."""
        return self.folder / self.names[position], None


def list_folder(folder: Path) -> Listing:
    """The images of ``folder/{train,val,test}/CLASS/**``, or of ``folder/CLASS/**``.

    The sets may be spelled as in :data:`~preceptor.data.listing.SPELLINGS`; the validation and the test set may be
    absent, and need not have every class. Images may lie at any depth inside a class folder. Classes and files are
    taken in the order of their names, folder by folder; those of classes are compared in Unicode normal form C. What
    :func:`~preceptor.data.images.is_passed_by` names is passed by; any other file must be an image (BMP, GIF, JPEG,
    PNG, PPM, TIFF, WebP) of one picture with 8 bits a channel and at most ``images.MOST_PIXELS``. A symbolic link is
    followed inside the folder; one that leads out of it, or back to a folder above, cannot be used.

    Raises:
        InputError: no such folder, no class folder, an empty one in the training set, two folders of one set, a test or
            validation class that isn't among the training classes, a folder that cannot be read, or that a link leads
            out.
    """
    try:
        return _list_folder(folder)
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read ({error.strerror}); allow reading it") from error


def _list_folder(folder: Path) -> Listing:
    files = _Files(folder, os.path.realpath(folder))
    split_folders = _find_splits(folder, files.root)
    classes = {split: _class_folders(folder / place, files.root) for split, place in split_folders.items()}
    label_of = {name: label for label, name in enumerate(classes[TRAIN])}
    for split, folders in classes.items():
        for name, child in folders.items():
            place = f"{split_folders[split]}{child}"
            if name not in label_of:
                raise InputError(f"{folder / place}: no training class of that name; there are {', '.join(label_of)}")
            before = len(files.names)
            files.add(place, label_of[name], split)
            if split == TRAIN and len(files.names) == before:
                raise InputError(f"{folder / place}: empty class folder; add images or remove it")
    return Listing(
        folder,
        FolderFiles(folder, files.names),
        files.names,
        np.array(files.labels, dtype=np.int64),
        np.array(files.splits, dtype=np.uint8),
        tuple(label_of),
        errors=files.errors,
    )


@dataclass
class _Files:
    """The files of a folder as they are listed: some 100 bytes each, so that a million are no burden.

    Attributes:
        folder: the whole.
        root: its real path, which links must not leave.
        names: relative to the folder.
        labels, splits, errors: as of a :class:`Listing`.
    """

    folder: Path
    root: str
    names: list[str] = field(default_factory=list)
    labels: "array[int]" = field(default_factory=lambda: array("q"))
    splits: "array[int]" = field(default_factory=lambda: array("B"))
    errors: dict[int, InputError] = field(default_factory=dict)

    def add(self, place: str, label: int, split: int, above: tuple[str, ...] = ()) -> None:
        """All files at any depth below a place, in order; ``above`` are the real paths of the folders it is in."""
        real = os.path.realpath(self.folder / place)
        for entry in _entries(self.folder / place):
            name = f"{place}/{entry.name}"
            error = self._refusal(entry, (*above, real))
            if error is None and _is_folder(entry):
                self.add(name, label, split, (*above, real))
                continue
            if error is not None:
                self.errors[len(self.names)] = InputError(f"{self.folder / name}: {error}")
            self.names.append(name)
            self.labels.append(label)
            self.splits.append(split)

    def _refusal(self, entry: "os.DirEntry[str]", above: Sequence[str]) -> str | None:
        """Why an entry cannot be used; None if it can."""
        if entry.is_symlink() and Path(entry.path).exists():
            target = os.path.realpath(entry.path)
            if not is_inside(target, self.root):
                return _LEADS_OUT.format(target)
            if any(is_inside(place, target) for place in above):
                return "a link back to a folder that it is in; remove it"
        is_file = Path(entry.path).is_file() if entry.is_symlink() else entry.is_file(follow_symlinks=False)
        if is_file or _is_folder(entry):
            return None
        return "not a file, or a link to none; replace or remove it"  # reading a pipe would wait without end


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # Without asking the file system, but for links; of one that leads to itself a path makes no error.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir(follow_symlinks=False)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """What is in a folder and not passed by, in the order of the names."""
    with os.scandir(folder) as entries:
        children = [entry for entry in entries if not is_litter(entry.name, _is_folder(entry))]
    return iter(sorted(children, key=lambda entry: entry.name))


def _find_splits(folder: Path, root: str) -> dict[int, str]:
    """The folder of each set, as the beginning of a path in the whole; the training set is always among them."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with a subfolder of images for each class")
    by_split: dict[int, list[str]] = {}
    for entry in _entries(folder):
        split = split_of(entry.name)
        if split is not None and _is_split(entry):
            _check_link(entry, root)
            by_split.setdefault(split, []).append(entry.name)
    for split, names in by_split.items():
        if len(names) > 1:
            kind = "training" if split == TRAIN else SPLITS[split]
            raise InputError(f"{folder}: has {' and '.join(map(repr, names))}; keep one folder of {kind} images")
    if by_split and TRAIN not in by_split:
        raise InputError(
            f"{folder}: has a folder {next(iter(by_split.values()))[0]!r} but none called 'train'; put the training "
            "images there"
        )
    return {split: f"{by_split[split][0]}/" for split in sorted(by_split)} or {TRAIN: ""}


def _is_split(entry: "os.DirEntry[str]") -> bool:
    """Whether a folder holds class folders, rather than being a class that happens to be called 'train' or 'val'."""
    return _is_folder(entry) and any(_is_folder(child) for child in _entries(Path(entry.path)))


def _check_link(entry: "os.DirEntry[str]", root: str) -> None:
    if entry.is_symlink() and not is_inside(target := os.path.realpath(entry.path), root):
        raise InputError(f"{entry.path}: {_LEADS_OUT.format(target)}")


def _class_folders(folder: Path, root: str) -> dict[str, str]:
    """The folder of each class by the class's name, in order.

    A file system may store an accented letter as one character or as two. In normal form C both are one.
    """
    by_name: dict[str, str] = {}
    for entry in _entries(folder):
        if not _is_folder(entry):
            continue
        _check_link(entry, root)
        name = unicodedata.normalize("NFC", entry.name)
        if name in by_name:
            raise InputError(f"{folder}: two class folders are called {name!r}, in different Unicode forms; merge them")
        by_name[name] = entry.name
    if not by_name:
        raise InputError(f"{folder}: no class folders; put the images of each class in a subfolder of their own")
    check_class_names(by_name, f"class folders of {folder}")
    return dict(sorted(by_name.items()))
