"""From a listing to a data set: headers, the common size, and pixels in memory or decoded when needed."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.bad_images import BadImages, note_contradictions
from preceptor.data.dataset import ImageSet, LoadedData
from preceptor.data.encoded import EncodedImages, side_by_side
from preceptor.data.images import AS_THEY_ARE, Framing, ImageHeader, ImageSpec, read_header, read_pixels
from preceptor.data.lazy import Inputs
from preceptor.data.listing import SPLITS, TRAIN, Listing
from preceptor.errors import InputError
from preceptor.files import name_as_text
from preceptor.launched import processes_here

MOST_IN_MEMORY = 4.0
"""Default of the most GiB of decoded images that are held in memory."""


def read_images(
    listing: Listing,
    framing: Framing = AS_THEY_ARE,
    *,
    skip_bad_images: bool = False,
    most_in_memory: float = MOST_IN_MEMORY,
) -> LoadedData:
    """The images of a listing, wherever they come from: the same files give the same pixels and labels.

    Images are grayscale if all of them are, else RGB: black and white, palettes, CMYK, YCbCr and LAB are converted, and
    of 16-bit color the upper 8 bits are taken. Images are turned upright by their EXIF orientation; transparent pixels
    are composed on white. Photographs, images of several sizes, are decoded when they are needed, since random crops
    are cut out of the whole; and so are all images where they would fill more memory than is allowed.

    Args:
        listing: of the images.
        framing: how each image is scaled (antialiased) and centrally cropped; without a size all images must have one
            already.
        skip_bad_images: leave out images that cannot be used, and list them in ``LoadedData.skipped``, rather than
            raise. Which ones follows from the files alone. Of an image in two classes every copy is left out; of one in
            the training set and another, the training copy.
        most_in_memory: GiB of decoded images that may be held in memory, by all processes of a host together. Of more,
            images that cannot be decoded are only looked for beforehand with ``skip_bad_images``; else the first that
            is met raises.

    Raises:
        InputError: images that cannot be decoded, have too many pixels, are animations, or are also in another class or
            set (their number, and the first); an image of another size than the first; or no image of a class is left.
    """
    if not (listing.splits == TRAIN).any():
        raise InputError(f"{listing.where}: no training image; add some")
    bad = BadImages(listing, skip_bad_images)
    if not listing.as_published:
        note_contradictions(listing, bad)
    common = _look(listing, bad, framing, most_in_memory)
    spec = common.spec
    if common.encoded and (common.fit or skip_bad_images):
        rows = torch.from_numpy(bad.usable())
        bad.errors |= EncodedImages(listing.source, spec, rows).unreadable()
    sets = {
        name: _image_set(listing, split, spec, bad, common.encoded)
        for split, name in enumerate(SPLITS)
        if (listing.splits == split).any()
    }
    bad.raise_unless_skipped()
    bad.check_left()
    skipped = tuple(sorted(map(str, bad.errors.values())))
    return LoadedData(
        sets["train"], sets.get("test"), listing.class_names, skipped, sets.get("validation"), common.photographs
    )


@dataclass(frozen=True)
class _Common:
    """What all images are brought to, whether they come in several sizes, and whether they fit into memory."""

    spec: ImageSpec
    photographs: bool
    fit: bool

    @property
    def encoded(self) -> bool:
        return self.photographs or not self.fit


def _look(listing: Listing, bad: BadImages, framing: Framing, most_in_memory: float) -> _Common:
    """Read the headers, and note those that cannot be read. No pixels are decoded."""

    def header(position: int) -> ImageHeader | InputError:
        try:
            path, file = listing.source.open(position)
            return read_header(path, file, exif=framing.exif)
        except InputError as error:
            return error

    rows = bad.usable().tolist()
    first: tuple[int, ImageHeader] | None = None
    channels, differ = 1, False

    def common() -> _Common:
        assert first is not None
        width, height = first[1].size if framing.size is None else (framing.size, framing.size)
        bytes_held = len(rows) * channels * height * width
        spec = ImageSpec(channels, height, width, framing.crop, framing.interpolation, framing.exif)
        return _Common(spec, differ, bytes_held <= most_in_memory * 2**30 / processes_here())

    for position, one in zip(rows, side_by_side(header, rows), strict=True):
        if isinstance(one, InputError):
            bad.errors[position] = one
            continue
        first = first or (position, one)
        if one.size != first[1].size:
            if framing.size is None:
                raise _other_size(listing, position, one, *first)
            differ = True
        channels = channels if one.grayscale else 3
        # Nothing that follows could change this; of a million photographs the headers alone take minutes.
        if differ and channels == 3 and not bad.skipped and not common().fit:
            return common()
    if first is None:
        bad.raise_unless_skipped()
        bad.check_left()
    return common()


def _other_size(listing: Listing, position: int, header: ImageHeader, first: int, of_first: ImageHeader) -> InputError:
    (width, height), (first_width, first_height) = header.size, of_first.size
    return InputError(
        f"{listing.path(position)}: {width} x {height} pixels, but {listing.path(first)} has {first_width} x "
        f"{first_height}; bring all to one size with --image-size"
    )


def _image_set(listing: Listing, split: int, spec: ImageSpec, bad: BadImages, encoded: bool) -> ImageSet:
    rows = bad.usable()
    rows = rows[listing.splits[rows] == split]
    images: Inputs
    if encoded:
        images = EncodedImages(listing.source, spec, torch.from_numpy(rows))
    else:
        images, rows = _decoded(listing, rows, spec, bad)
    names = (listing.names[position] for position in rows.tolist())
    return ImageSet(
        images,
        torch.from_numpy(listing.labels[rows]),
        # One copy of a million names is enough.
        tuple(name if name.isascii() else name_as_text(name) for name in names),
        None if listing.groups is None else torch.from_numpy(listing.groups[rows]),
    )


def _decoded(
    listing: Listing, rows: NDArray[np.int64], spec: ImageSpec, bad: BadImages
) -> tuple[UInt8[Tensor, "n channels height width"], NDArray[np.int64]]:
    """The pixels of all images that can be decoded, and their rows; the others are noted."""

    def pixels(position: int) -> Tensor | InputError:
        try:
            path, file = listing.source.open(position)
            return read_pixels(path, spec, file)
        except InputError as error:
            return error

    images = torch.empty(len(rows), spec.channels, spec.height, spec.width, dtype=torch.uint8)
    kept: list[int] = []
    for position, result in zip(rows.tolist(), side_by_side(pixels, rows.tolist()), strict=True):
        if isinstance(result, InputError):
            bad.errors[position] = result
        else:
            images[len(kept)] = result
            kept.append(position)
    return images[: len(kept)], np.array(kept, dtype=np.int64)
