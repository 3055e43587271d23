"""One entry for every data set: by name, from arrays, from folders and other places of encoded images."""

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from jaxtyping import Int
from torch import Tensor

from preceptor.data.arrays import read_arrays
from preceptor.data.augmentation import ResizedCrops, default_augmentation
from preceptor.data.dataset import Dataset, LoadedData, Normalization, check_dataset
from preceptor.data.folder import list_folder
from preceptor.data.hugging_face import list_hugging_face
from preceptor.data.images import AS_THEY_ARE, Framing
from preceptor.data.list_file import list_file
from preceptor.data.listing import Listing
from preceptor.data.named import NAMES, read_named
from preceptor.data.named_images import NAMED_IMAGES, list_named_images
from preceptor.data.parquet import list_parquet
from preceptor.data.reading import MOST_IN_MEMORY, read_images
from preceptor.data.webdataset import list_webdataset
from preceptor.errors import InputError, SkippedImages, ValidationSetUsed, unknown_name

_NAMED_AT_MOST = 3
_LISTS: dict[str, Callable[[Path], Listing]] = {
    "folder": list_folder,
    "list": list_file,
    "parquet": list_parquet,
    "wds": list_webdataset,
}
_IMAGE_FORMS = ("folder:DIR", "list:FILE.csv", "parquet:PATH", "wds:PATH", "hf:NAME")
_FORMS = ("arrays:FILE.npz", *_IMAGE_FORMS)
_ENDINGS = {".npz": "arrays", ".csv": "list", ".parquet": "parquet", ".tar": "wds"}


def holds_encoded_images(spec: str) -> bool:
    """Whether a data set is of encoded images, such as photographs, which are brought to a size that is asked for."""
    kind, colon, _ = spec.partition(":")
    return spec in NAMED_IMAGES or (bool(colon) and kind in (*_LISTS, "hf"))


def load_dataset(
    spec: str,
    *,
    root: Path | None = None,
    download: bool = False,
    framing: Framing = AS_THEY_ARE,
    skip_bad_images: bool = False,
    most_in_memory: float = MOST_IN_MEMORY,
) -> Dataset:
    """A data set, checked; encoded images that would fill too much memory are decoded when they are needed.

    Args:
        spec: ``digits``, ``mnist``, ``fashion-mnist``, ``kmnist``, ``svhn``, ``cifar10``, ``cifar100``,
            ``arrays:FILE.npz`` (:func:`~preceptor.data.arrays.read_arrays`), or encoded images:
            ``cinic10``, ``tiny-imagenet``, ``imagenet``
            (:func:`~preceptor.data.named_images.list_named_images`),
            ``folder:DIR`` (:func:`~preceptor.data.folder.list_folder`),
            ``list:FILE.csv`` or ``list:FILE.parquet`` (:func:`~preceptor.data.list_file.list_file`),
            ``parquet:PATH`` (:func:`~preceptor.data.parquet.list_parquet`),
            ``wds:PATH`` (:func:`~preceptor.data.webdataset.list_webdataset`) or
            ``hf:NAME`` (:func:`~preceptor.data.hugging_face.list_hugging_face`).
        root: folder that holds the named data sets; by default that in the environment variable ``PRECEPTOR_DATA``,
            else ``~/.cache/preceptor/data``.
        download: fetch a named data set that isn't there, through torchvision (extra ``vision``), or one of ``hf:``
            through ``datasets`` (extra ``huggingface``). Without it the network is never used.
        framing: for encoded images, how each is brought to one size.
        skip_bad_images: for encoded images, leave out what cannot be used, with one warning
            (:class:`~preceptor.errors.SkippedImages`) that counts it and names the first; ``Dataset.skipped`` names
            all.
        most_in_memory: for encoded images, see :func:`~preceptor.data.reading.read_images`.

    Returns:
        the data set. Mean and deviation are the field's constants for the downloadable sets, CINIC-10 and ImageNet, and
        are measured on the training images for the others. Where a set has validation images of its own, one warning
        (:class:`~preceptor.errors.ValidationSetUsed`) says that they are the held-out images.

    Raises:
        InputError: an unknown name, a missing or damaged file, contents that cannot be trained on.
        MachineError: torchvision is needed and missing or cannot load, or a download failed.
    """
    root = root or Path(os.environ.get("PRECEPTOR_DATA") or "~/.cache/preceptor/data")
    read = partial(read_images, framing=framing, skip_bad_images=skip_bad_images, most_in_memory=most_in_memory)
    _check_framing(spec, framing, skip_bad_images)
    dataset = replace(_read(spec, root, download, read), framing=framing)
    check_dataset(dataset)
    if dataset.skipped:
        warnings.warn(_skipped_message(dataset), SkippedImages, stacklevel=2)
    if dataset.validation is not None:
        warnings.warn(
            f"{spec}: its own {len(dataset.validation):,} validation images are held out, in place of a share of the "
            "training images",
            ValidationSetUsed,
            stacklevel=2,
        )
    return dataset


def _check_framing(spec: str, framing: Framing, skip_bad_images: bool) -> None:
    """Refuse for other data what is for encoded images."""
    encoded = holds_encoded_images(spec)
    if framing.size is not None and (not encoded or framing.size < 1):
        raise InputError(f"image size {framing.size} for {spec!r}: goes with {_with_images()} only, at least 1 pixel")
    if (skip_bad_images or replace(framing, size=None) != AS_THEY_ARE) and not encoded:
        setting = "skip_bad_images" if skip_bad_images else "exif, crop or interpolation"
        raise InputError(f"{setting} for {spec!r}: goes with {_with_images()} only; leave it out")


def _skipped_message(dataset: Dataset) -> str:
    used = sum(len(one) for one in (dataset.train, dataset.validation, dataset.test) if one is not None)
    more = len(dataset.skipped) - _NAMED_AT_MOST
    rest = f"; and {more} more" if more > 0 else ""
    named = "; ".join(dataset.skipped[:_NAMED_AT_MOST])
    return f"{dataset.name}: left out {len(dataset.skipped)} of {used + len(dataset.skipped):,} images: {named}{rest}"


def _with_images() -> str:
    return f"{', '.join(_IMAGE_FORMS[:-1])} and {_IMAGE_FORMS[-1]}"


def _read(spec: str, root: Path, download: bool, read_listed: Callable[[Listing], LoadedData]) -> Dataset:
    kind, colon, rest = spec.partition(":")
    if not colon and spec in NAMES:
        return read_named(spec, root.expanduser(), download)
    if not colon and spec in NAMED_IMAGES:
        return _named_images(spec, root.expanduser(), read_listed)
    if not rest or (kind not in _LISTS and kind not in ("arrays", "hf")):
        # os.path, not pathlib, which raises for a name that is too long and for the home of an unknown user.
        is_folder = os.path.isdir(os.path.expanduser(spec))  # noqa: PTH111, PTH112
        meant = "folder" if is_folder else _ENDINGS.get(os.path.splitext(spec)[1])  # noqa: PTH122
        raise unknown_name(
            "data set", spec, (*NAMES, *NAMED_IMAGES, *_FORMS), hint=f"did you mean {meant}:{spec}?" if meant else ""
        )
    path = Path(os.path.expanduser(rest))  # noqa: PTH111
    try:
        if kind == "arrays":
            data = read_arrays(path)
        else:
            data = read_listed(list_hugging_face(str(path), download) if kind == "hf" else _LISTS[kind](path))
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror}); allow reading it") from error
    return as_dataset(data, spec)


def _named_images(name: str, root: Path, read_listed: Callable[[Listing], LoadedData]) -> Dataset:
    named = NAMED_IMAGES[name]
    try:
        data = read_listed(list_named_images(name, root))
    except OSError as error:
        raise InputError(f"{error.filename or root}: cannot be read ({error.strerror}); allow reading it") from error
    dataset = as_dataset(data, name, named.normalization)
    return dataset if named.augmentation is None else replace(dataset, augmentation=named.augmentation)


def as_dataset(data: LoadedData, name: str, normalization: Normalization | None = None) -> Dataset:
    """What a reader returned as a data set, with the usual augmentation.

    Args:
        data: of the reader.
        name: of the data set.
        normalization: of its pixels. Default None: measured on its training images; so it is where they are gray.
    """
    if normalization is None or data.train.images.shape[1] != len(normalization.mean):
        normalization = Normalization.from_images(data.train.images)
    return Dataset(
        name=name,
        class_names=data.class_names or class_numbers(data.train.labels),
        train=data.train,
        test=data.test,
        normalization=normalization,
        augmentation=ResizedCrops() if data.photographs else default_augmentation(*data.train.images.shape[2:]),
        skipped=data.skipped,
        validation=data.validation,
    )


def class_numbers(labels: Int[Tensor, " n"]) -> tuple[str, ...]:
    """The numbers of the classes, as names for classes that have none."""
    # At most as many as images: a label of a billion must not make a billion names.
    return tuple(str(number) for number in range(min(max(labels.tolist(), default=-1) + 1, len(labels))))
