"""WebDataset: samples in uncompressed tar archives, read at random through an index of our own."""

import json
import tarfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from preceptor.data.listing import Listing, files_of, number_labels, splits_of_files, used_splits
from preceptor.errors import InputError

IMAGE_KEYS = ("bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp")
LABEL_KEYS = ("cls", "json")
CLASS_NAMES = "classes.txt"
"""Beside the archives: the name of each class on a line of its own, in the order of the labels."""

MOST_LABEL_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class TarImages:
    """Members of tar archives, each a range of bytes.

    Attributes:
        folder: of the archives.
        names: of the images, relative to the folder: the archive, a colon, and the member.
        archives: relative to the folder.
        archive: of each image the number of its archive.
        offsets, sizes: of each image, in bytes.
    """

    folder: Path
    names: Sequence[str]
    archives: Sequence[str]
    archive: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, position: int) -> tuple[Path, BinaryIO]:
        """The content of an image."""
        path = self.folder / self.names[position]
        try:
            with (self.folder / self.archives[self.archive[position]]).open("rb", buffering=0) as file:
                file.seek(int(self.offsets[position]))
                content = file.read(int(self.sizes[position]))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it") from error
        if len(content) < self.sizes[position]:
            raise InputError(f"{path}: the archive ends within it; fetch or write the archive again")
        return path, BytesIO(content)


@dataclass
class _Index:
    """What the headers of archives state, in one pass.

    Attributes:
        archives: relative to their folder.
        names, archive, offsets, sizes: of the images, as of :class:`TarImages`.
        cells: the label of each image; None without one.
    """

    archives: list[str]
    names: list[str] = field(default_factory=list)
    archive: "array[int]" = field(default_factory=lambda: array("L"))
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    cells: list[str | int | None] = field(default_factory=list)


@dataclass
class _Sample:
    image: tuple[str, int, int] | None = None
    labels: dict[str, str | int | None] = field(default_factory=dict)


def list_webdataset(place: Path) -> Listing:
    """The images of a tar archive, of those in a folder at any depth, or of those that a pattern stands for.

    Members of an archive whose names are the same up to the first dot are a sample: one image (``.jpg``, ``.png`` and
    other known formats) and its label, from ``.cls`` (an integer or a class's name) or else from ``.json``
    (``{"label": ...}``). The names of the classes may stand in ``classes.txt`` beside the archives. Which set an
    archive belongs to follows from its name, as in ``train-0000.tar``, else from its folder's.

    The headers are read once, to an index in memory of some 150 bytes an image. Archives must not be compressed.

    Raises:
        InputError: no such archive, a compressed or damaged one, a sample of several images or without a label, or no
            training image.
    """
    root, files = files_of(place, ".tar")
    index, counts = _Index([str(path.relative_to(root)) for path in files]), []
    for number, path in enumerate(files):
        before = len(index.names)
        _add_archive(index, number, path)
        counts.append(len(index.names) - before)
    if not index.names:
        raise InputError(f"{place}: no image in {len(files)} archives; a sample is named like 0001.jpg and 0001.cls")
    source = TarImages(
        root,
        index.names,
        index.archives,
        np.array(index.archive, dtype=np.uint32),
        np.array(index.offsets, dtype=np.int64),
        np.array(index.sizes, dtype=np.int64),
    )
    splits = np.repeat(np.array(splits_of_files(root, files), dtype=np.uint8), counts)
    labels, class_names = number_labels(index.cells, splits, place, _class_names(root))
    return Listing(root, source, index.names, labels, used_splits(splits, labels), class_names)


def _add_archive(index: _Index, number: int, path: Path) -> None:
    samples: dict[str, _Sample] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # which would hold on to every header
                _add_member(samples, archive, member, path)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{path}: not an uncompressed tar archive ({error}); unpack its compression, or write it again"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it") from error
    for key, sample in samples.items():
        if sample.image is None:
            continue
        name, offset, size = sample.image
        if not sample.labels:
            raise InputError(f"{path}: sample {key!r} has no label; add {key}.cls, or {key}.json with a label")
        index.names.append(f"{index.archives[number]}:{name}")
        index.archive.append(number)
        index.offsets.append(offset)
        index.sizes.append(size)
        index.cells.append(next(sample.labels[kind] for kind in LABEL_KEYS if kind in sample.labels))


def _add_member(samples: dict[str, _Sample], archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    folder, slash, base = member.name.rpartition("/")
    stem, _, kind = base.partition(".")
    kind = kind.lower()
    if not member.isreg() or member.issparse() or not stem or kind not in (*IMAGE_KEYS, *LABEL_KEYS):
        return
    sample = samples.setdefault(folder + slash + stem, _Sample())
    if kind in LABEL_KEYS:
        cell = _label(archive, member, kind, path)
        if cell is not None or kind == "cls":
            sample.labels[kind] = cell
    elif sample.image is not None:
        raise InputError(f"{path}: {sample.image[0]} and {member.name} are of one sample; expected one image in each")
    else:
        sample.image = member.name, member.offset_data, member.size


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, kind: str, path: Path) -> str | int | None:
    """What a member states as label; None for a JSON text without one."""
    content = archive.extractfile(member)
    assert content is not None  # of a regular file there is
    try:
        if member.size > MOST_LABEL_BYTES:
            raise ValueError(f"longer than {MOST_LABEL_BYTES:,} bytes")
        text = content.read().decode("utf-8")
        if kind == "cls":
            return text.strip()
        stated = json.loads(text)
        label = stated.get("label") if isinstance(stated, dict) else None
        if label is None or (isinstance(label, (int, str)) and not isinstance(label, bool)):
            return label
        raise ValueError(f"its label is {str(label)[:40]!r}")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: {member.name} is no label ({error}); expected an integer or a class's name"
        ) from error


def _class_names(folder: Path) -> list[str] | None:
    path = folder / CLASS_NAMES
    if not path.is_file():
        return None
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); give a class's name a line, in UTF-8") from error
