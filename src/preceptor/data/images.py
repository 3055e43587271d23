"""One image file as pixels: decoded by Pillow alone, upright, on white, of bounded size.

Every image file that is trained on, evaluated or predicted goes through here. ``examples/serve_onnx/serve.py`` has the
same rules in its own copy, since it runs without this package.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from preceptor.errors import InputError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2**26
"""Most pixels of an image that is decoded: 8,192 x 8,192, or as many in another shape. A small file with more is more
likely made to fill the memory than a photograph."""

BACKGROUND = "white"
"""What transparent pixels are composed on, as most viewers and web pages show them."""

# Formats that Pillow decodes itself. EPS, for one, would start another program on a stranger's file.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_GRAYSCALE = {"1", "L", "LA"}
_COLOR = {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"}
# The brands that an HEIC or AVIF file names behind "ftyp".
_HEIF = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
# Left beside images by desktops, by unpacked archives, or by whoever labeled them.
_LITTER = {"Thumbs.db", "desktop.ini", "Icon\r", "__MACOSX"}
_TEXTS = {".json", ".csv", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".md", ".html"}
_ORIENTATION = 0x0112
_SIDES_SWAPPED = {5, 6, 7, 8}


REDUCING_GAP = 2
"""A large JPEG is decoded at the smallest of its reduced sizes that is this many times what is needed: 8, 4 or 2 times
as fast, and no difference that one sees."""

Interpolation = Literal["bicubic", "bilinear"]

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge of a rectangle in an upright image, in pixels."""

Frame = Callable[[int, int], Box]
"""The rectangle of an image of this width and height that is scaled to the wanted size."""


@dataclass(frozen=True)
class Framing:
    """How encoded images of a data set are brought to one size.

    Attributes:
        size: side in pixels; None is the size that all of them have already.
        crop, interpolation, exif: as of :class:`ImageSpec`.
    """

    size: int | None = None
    crop: float = 1.0
    interpolation: Interpolation = "bicubic"
    exif: bool = True


AS_THEY_ARE = Framing()
"""Images have one size already."""


@dataclass(frozen=True)
class ImageSpec:
    """What all images are brought to, and how.

    Attributes:
        channels: 1 or 3.
        height, width: in pixels.
        crop: share of the largest central rectangle of this shape that is kept, as 0.875 of the shorter side is where
            an image is resized to 256 pixels and cropped to 224.
        interpolation: of the scaling, which is antialiased.
        exif: whether images are turned upright by their EXIF orientation.
    """

    channels: int
    height: int
    width: int
    crop: float = 1.0
    interpolation: Interpolation = "bicubic"
    exif: bool = True

    def center(self, width: int, height: int) -> Box:
        """The central rectangle of an image of this width and height."""
        scale = min(width / self.width, height / self.height)
        # Never beyond the image by rounding, which Pillow refuses.
        across = self.crop * min(self.width * scale, width)
        along = self.crop * min(self.height * scale, height)
        left, top = (width - across) / 2, (height - along) / 2
        return left, top, min(left + across, width), min(top + along, height)


@dataclass(frozen=True)
class ImageHeader:
    """What a file states about its image before the pixels are decoded; ``size`` is (width, height), upright."""

    grayscale: bool
    size: tuple[int, int]


def is_passed_by(path: Path) -> bool:
    """Whether a file or folder among images is not meant as one: hidden, a desktop's own, or a text by its suffix."""
    return is_litter(path.name, path.is_dir())


def is_litter(name: str, is_folder: bool) -> bool:
    """The same by the name alone."""
    if name.startswith(".") or name in _LITTER:
        return True
    return Path(name).suffix.lower() in _TEXTS and not is_folder  # a class may be called "v1.txt"


def read_header(path: Path, file: BinaryIO | None = None, *, exif: bool = True) -> ImageHeader:
    """Check an image without decoding it.

    Args:
        path: of its file; its name in messages, where ``file`` is it.
        file: the encoded image, of one that is not a file of its own.
        exif: state the size as the EXIF orientation turns it.

    Raises:
        InputError: not an image, more than ``MOST_PIXELS``, several pictures in one file, or more than 8 bits a
            channel without one meaning in 8 (16-bit gray, floating point).
    """
    with _opened(path, file) as image:
        _check_kind(path, image)
        width, height = image.size
        # Pillow states a TIFF's size upright already.
        if exif and image.format != "TIFF" and _orientation(image) in _SIDES_SWAPPED:
            width, height = height, width
        return ImageHeader(image.mode in _GRAYSCALE, (width, height))


def read_pixels(
    path: Path, spec: ImageSpec, file: BinaryIO | None = None, frame: Frame | None = None
) -> UInt8[Tensor, "channels height width"]:
    """An image turned upright, composed on ``BACKGROUND``, and a rectangle of it scaled to a spec.

    Args:
        path: of its file; its name in messages, where ``file`` is it.
        spec: size, and how the image is brought to it.
        file: the encoded image, of one that is not a file of its own.
        frame: the rectangle to scale; None is the central one of the spec.

    Raises:
        InputError: as :func:`read_header`, or it cannot be decoded.
    """
    from PIL import Image, ImageOps

    frame = frame or spec.center
    with _opened(path, file) as opened:
        _check_kind(path, opened)
        orientation = _orientation(opened) if spec.exif else 1
        _decode_reduced(opened, spec, frame, orientation)
        image = ImageOps.exif_transpose(opened) if orientation != 1 else opened
        if image.has_transparency_data:
            image = image.convert("RGBA")
            # Before scaling: otherwise the color under transparent pixels bleeds into their neighbors.
            image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
        return _scaled(image, spec, frame)


def pixels_from_array(array: NDArray[np.uint8], spec: ImageSpec) -> UInt8[Tensor, "channels height width"]:
    """An image in memory, height x width or with 1 or 3 channels behind, brought to a spec as one read from a file."""
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return _scaled(Image.fromarray(np.ascontiguousarray(array)), spec, spec.center)


def _check_kind(path: Path, image: "Image") -> None:
    if image.mode not in _GRAYSCALE | _COLOR:
        raise InputError(f"{path}: pixels of type {image.mode!r}; expected 8 bits a channel; convert it")
    # A camera's JPEG with a preview behind its photograph (MPO) counts as one picture.
    frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise InputError(f"{path}: {frames} pictures in one file; expected one; save the one you mean")


def _decode_reduced(image: "Image", spec: ImageSpec, frame: Frame, orientation: int) -> None:
    """Let a JPEG whose pixels are not decoded yet be decoded smaller, where the spec needs less; others stay."""
    width, height = reversed(image.size) if orientation in _SIDES_SWAPPED else image.size
    left, top, right, bottom = frame(width, height)
    pixels_for_one = min((right - left) / spec.width, (bottom - top) / spec.height) / REDUCING_GAP
    for factor in (8, 4, 2):
        if pixels_for_one >= factor:
            image.draft(None, (image.width // factor, image.height // factor))
            return


def _scaled(image: "Image", spec: ImageSpec, frame: Frame) -> UInt8[Tensor, "channels height width"]:
    from PIL.Image import Resampling

    image = image.convert("L" if spec.channels == 1 else "RGB")
    method = Resampling.BICUBIC if spec.interpolation == "bicubic" else Resampling.BILINEAR
    image = image.resize((spec.width, spec.height), method, box=frame(*image.size))
    pixels = np.array(image).reshape(spec.height, spec.width, spec.channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _orientation(image: "Image") -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 without one, or where it cannot be read."""
    # A PNG may carry the tag behind its pixels. Pillow would decode the pixels to look there; browsers don't look.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata makes Pillow raise nearly anything, and the pixels can be whole
        return 1


@contextmanager
def _opened(path: Path, file: BinaryIO | None) -> Iterator["Image"]:
    """An open image; whatever goes wrong with it becomes an error that names the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file or path, formats=_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise _too_large(path, f" ({image.width} x {image.height})")
            yield image
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that can be read ({_why_unidentified(path, file)}") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it or remove it") from error
    except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
        raise InputError(f"{path}: image cannot be decoded ({first_line(error)}); replace or remove it") from error


def _why_unidentified(path: Path, file: BinaryIO | None) -> str:
    with path.open("rb") if file is None else nullcontext(file) as content:
        content.seek(0)
        start = content.read(12)
    if not start:
        return "the file is empty); replace or remove it"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF:
        return "HEIC or AVIF); convert it to JPEG or PNG"
    return f"not one of {', '.join(_FORMATS)}); convert, replace or remove it"


def _too_large(path: Path, size: str) -> InputError:
    return InputError(f"{path}: more than {MOST_PIXELS:,} pixels{size}: not decoded; scale it down or remove it")
