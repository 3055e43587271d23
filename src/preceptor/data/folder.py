"""Images in folders, one folder a class."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from preceptor.data.dataset import ImageSet, LoadedData, check_class_names
from preceptor.data.encoded import EncodedImages
from preceptor.data.images import ImageSpec, is_passed_by, read_header, read_pixels
from preceptor.errors import InputError
from preceptor.files import name_as_text

VALIDATION_FOLDERS = ("val", "validation", "valid")
SPLITS = ("train", "validation", "test")

Read = TypeVar("Read")


@dataclass(frozen=True)
class LabeledFile:
    """An image file with its class and the set it belongs to, one of ``SPLITS``."""

    path: Path
    label: int
    split: str


MOST_IN_MEMORY = 4.0
"""Default of the most GiB of decoded images that are held in memory."""


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder, by position."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def open(self, position: int) -> tuple[Path, None]:
        """The file itself: Pillow opens it."""
        return self.folder / self.names[position], None


def read_folder(
    folder: Path,
    image_size: int | None = None,
    *,
    skip_bad_images: bool = False,
    exif: bool = True,
    most_in_memory: float = MOST_IN_MEMORY,
) -> LoadedData:
    """The images of ``folder/{train,val,test}/CLASS/*``, or of ``folder/CLASS/*``.

    ``val`` (also ``validation``, ``valid``) is the validation set and ``test`` the test set; either may be absent.
    Classes and files are taken in the order of their names, which are compared in Unicode normal form C. Images are
    grayscale if all of them are, else RGB: black and white, palettes, CMYK, YCbCr and LAB are converted, and of 16-bit
    color the upper 8 bits are taken. Images are turned upright by their EXIF orientation; transparent pixels are
    composed on white. Photographs, images of several sizes, are decoded when they are needed, since random crops are
    cut out of the whole; and so are all images where they would fill more memory than is allowed. What
    :func:`~preceptor.data.images.is_passed_by` names is passed by; any other file must be an
    image (BMP, GIF, JPEG, PNG, PPM, TIFF, WebP) of one picture with 8 bits a channel and at most
    ``images.MOST_PIXELS``.

    Args:
        folder: with the class folders, or with ``train``.
        image_size: side in pixels to which each image is scaled (bicubic, antialiased) and centrally cropped; without
            it all images must have one size already.
        skip_bad_images: leave out images that cannot be used, and list them in ``LoadedData.skipped``, rather than
            raise. Which ones follows from the files alone. Of an image in two classes every copy is left out; of one in
            the training set and another, the training copy.
        exif: turn images upright by their EXIF orientation. Default True.
        most_in_memory: GiB of decoded images that may be held in memory. Of more, images that cannot be decoded are
            only looked for beforehand with ``skip_bad_images``; else the first that is met raises.

    Raises:
        InputError: no such folder, no class folder, an empty one, a test or validation class that isn't among the
            training classes; images that cannot be decoded, have too many pixels, are animations, or are also in
            another class or set (their number, and the first); an image of another size than the first; or no image
            of a class is left.
    """
    try:
        return _read_folder(folder, image_size, _BadImages(skip_bad_images), exif, most_in_memory)
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read ({error.strerror}); allow reading it") from error


def _read_folder(
    folder: Path, image_size: int | None, bad: "_BadImages", exif: bool, most_in_memory: float
) -> LoadedData:
    splits = _find_splits(folder)
    names = list(_class_folders(splits["train"]))
    files = [file for split, place in splits.items() for file in _files(place, split, names, bad)]
    _note_contradictions(files, bad)
    usable = [file for file in files if file.path not in bad.errors]
    files, spec, photographs = _common_spec(folder, usable, image_size, exif, bad)
    fit = len(files) * spec.channels * spec.height * spec.width <= most_in_memory * 2**30
    if photographs or not fit:
        if fit or bad.skipped:
            _note_unreadable(folder, files, spec, bad)
        sets = _listed(folder, splits, [file for file in files if file.path not in bad.errors], spec)
    else:
        by_split = {split: [file for file in files if file.split == split] for split in splits}
        sets = {split: _read_set(own, spec, bad, folder) for split, own in by_split.items()}
    bad.raise_unless_skipped()
    for split in splits:
        _check_left(splits[split], sets[split], names if split == "train" else (), bad)
    skipped = tuple(sorted(map(str, bad.errors.values())))
    return LoadedData(
        sets["train"], sets.get("test"), tuple(names), skipped, sets.get("validation"), photographs=photographs
    )


class _BadImages:
    """The files that cannot be used, each with its error; ``skipped`` tells whether they are left out."""

    def __init__(self, skipped: bool) -> None:
        self.errors: dict[Path, InputError] = {}
        self.skipped = skipped

    def read(self, path: Path, read: Callable[[Path], Read]) -> Read | None:
        """What ``read`` returns; None, with the error noted, where the file cannot be used."""
        try:
            return read(path)
        except InputError as error:
            self.errors[path] = error
            return None

    def raise_unless_skipped(self) -> None:
        # Once all files were read, so that all of them can be mended before the next attempt.
        if self.errors and not self.skipped:
            first = min(map(str, self.errors.values()))
            others = f"; {len(self.errors)} files cannot be used" if len(self.errors) > 1 else ""
            raise InputError(f"{first}{others}; --skip-bad-images goes on without")

    def none_left(self, folder: Path) -> InputError:
        reasons = sorted(str(error) for path, error in self.errors.items() if path.is_relative_to(folder))
        return InputError(f"{folder}: none of its {len(reasons)} images can be used; the first: {reasons[0]}")


def _find_splits(folder: Path) -> dict[str, Path]:
    """The folder of each set; "train" is always among them."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with a subfolder of images for each class")
    by_name = {name: folder / name for name in ("train", *VALIDATION_FOLDERS, "test") if _is_split(folder / name)}
    validation = [name for name in VALIDATION_FOLDERS if name in by_name]
    if by_name and "train" not in by_name:
        raise InputError(
            f"{folder}: has a folder {next(iter(by_name))!r} but none called 'train'; put the training images there"
        )
    if len(validation) > 1:
        raise InputError(f"{folder}: has {' and '.join(map(repr, validation))}; keep one folder of validation images")
    splits = {"train": by_name.get("train", folder)}
    if validation:
        splits["validation"] = by_name[validation[0]]
    if "test" in by_name:
        splits["test"] = by_name["test"]
    return splits


def _is_split(folder: Path) -> bool:
    """Whether a folder holds class folders, rather than being a class that happens to be called 'train' or 'val'."""
    return folder.is_dir() and any(child.is_dir() and not is_passed_by(child) for child in folder.iterdir())


def _class_folders(folder: Path) -> dict[str, Path]:
    """The folder of each class by the class's name, in order.

    A file system may store an accented letter as one character or as two. In normal form C both are one.
    """
    by_name: dict[str, Path] = {}
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or is_passed_by(child):
            continue
        name = unicodedata.normalize("NFC", child.name)
        if name in by_name:
            raise InputError(f"{folder}: two class folders are called {name!r}, in different Unicode forms; merge them")
        by_name[name] = child
    if not by_name:
        raise InputError(f"{folder}: no class folders; put the images of each class in a subfolder of their own")
    check_class_names(by_name, f"class folders of {folder}")
    return dict(sorted(by_name.items()))


def _files(folder: Path, split: str, names: Sequence[str], bad: _BadImages) -> list[LabeledFile]:
    files = []
    for name, place in _class_folders(folder).items():
        if name not in names:
            raise InputError(f"{place}: no training class of that name; there are {', '.join(names)}")
        paths = sorted(child for child in place.iterdir() if not is_passed_by(child))
        if not paths:
            raise InputError(f"{place}: empty class folder; add images or remove it")
        for path in paths:
            if path.is_dir():
                raise InputError(f"{path}: a folder inside a class folder, where only images may be")
            if path.is_file():
                files.append(LabeledFile(path, names.index(name), split))
            else:  # reading a pipe would wait without end
                bad.errors[path] = InputError(f"{path}: not a file, or a link to none; replace or remove it")
    return files


def _note_contradictions(files: Sequence[LabeledFile], bad: _BadImages) -> None:
    """Note each file that is, byte for byte, also in another class, or also in a later one of ``SPLITS``.

    A file that is twice in one class of one set is none: it counts twice.
    """
    by_size, by_content = defaultdict(list), defaultdict(list)
    for file in files:
        by_size[file.path.stat().st_size].append(file)
    for size, group in by_size.items():
        # Most files differ in size already and need not be read for this. Empty ones have no content to be the same.
        for file in group if size and len(group) > 1 else ():
            if (digest := bad.read(file.path, _digest)) is not None:
                by_content[digest].append(file)
    for file, group in ((file, copies) for copies in by_content.values() for file in copies):
        other_class = next((one for one in group if one.label != file.label), None)
        later = next((one for one in group if SPLITS.index(one.split) > SPLITS.index(file.split)), None)
        if other_class is not None:
            bad.errors[file.path] = InputError(
                f"{file.path}: the same image as {other_class.path}, of another class; keep it in the right one"
            )
        elif later is not None:
            bad.errors[file.path] = InputError(
                f"{file.path}: the same image as {later.path}, of the {later.split} set; keep one of the two"
            )


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it or remove it") from error


def _common_spec(
    folder: Path, files: Sequence[LabeledFile], image_size: int | None, exif: bool, bad: _BadImages
) -> tuple[list[LabeledFile], ImageSpec, bool]:
    """The files whose headers can be read, the spec that all images are brought to, and whether their sizes differ.

    No pixels are decoded.
    """
    read = partial(read_header, exif=exif)
    headers = {file: header for file in files if (header := bad.read(file.path, read)) is not None}
    if not headers:
        bad.raise_unless_skipped()
        raise bad.none_left(folder)
    first, size = next((file, header.size) for file, header in headers.items())
    for file, header in headers.items():
        if image_size is None and header.size != size:
            raise InputError(
                f"{file.path}: {header.size[0]} x {header.size[1]} pixels, but {first.path} has {size[0]} x {size[1]}; "
                "bring all to one size with --image-size"
            )
    width, height = size if image_size is None else (image_size, image_size)
    channels = 1 if all(header.grayscale for header in headers.values()) else 3
    differ = any(header.size != size for header in headers.values())
    return list(headers), ImageSpec(channels, height, width, exif=exif), differ


def _listed(folder: Path, splits: Iterable[str], files: Sequence[LabeledFile], spec: ImageSpec) -> dict[str, ImageSet]:
    """The sets, their images not decoded."""
    source = FolderFiles(folder, tuple(str(file.path.relative_to(folder)) for file in files))
    sets = {}
    for split in splits:
        own = [number for number, file in enumerate(files) if file.split == split]
        labels = torch.tensor([files[number].label for number in own], dtype=torch.int64)
        names = tuple(name_as_text(Path(source.names[number])) for number in own)
        sets[split] = ImageSet(EncodedImages(source, spec, torch.tensor(own, dtype=torch.int64)), labels, names)
    return sets


def _note_unreadable(folder: Path, files: Sequence[LabeledFile], spec: ImageSpec, bad: _BadImages) -> None:
    source = FolderFiles(folder, tuple(str(file.path.relative_to(folder)) for file in files))
    for position, error in EncodedImages(source, spec).unreadable().items():
        bad.errors[files[position].path] = error


def _read_set(files: Sequence[LabeledFile], spec: ImageSpec, bad: _BadImages, folder: Path) -> ImageSet:
    images = torch.empty(len(files), spec.channels, spec.height, spec.width, dtype=torch.uint8)
    labels: list[int] = []
    names: list[str] = []
    for file in files:
        pixels = bad.read(file.path, lambda path: read_pixels(path, spec))
        if pixels is not None:
            images[len(labels)] = pixels
            labels.append(file.label)
            names.append(name_as_text(file.path.relative_to(folder)))
    return ImageSet(images[: len(labels)], torch.tensor(labels, dtype=torch.int64), tuple(names))


def _check_left(folder: Path, images: ImageSet, names: Sequence[str], bad: _BadImages) -> None:
    """Skipping bad images must not remove a whole class, validation set or test set."""
    labels = set(images.labels.tolist())
    for label, (_, place) in enumerate(_class_folders(folder).items() if names else ()):
        if label not in labels:
            raise bad.none_left(place)
    if len(images) == 0:
        raise bad.none_left(folder)
