"""One image file as pixels: decoded by Pillow alone, upright, on white, of bounded size.

Every image file that is trained on, evaluated or predicted goes through here. ``examples/serve_onnx/serve.py`` has the
same rules in its own copy, since it runs without this package.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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


@dataclass(frozen=True)
class ImageSpec:
    """Channels (1 or 3), height and width that all images are brought to."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class ImageHeader:
    """What a file states about its image before the pixels are decoded; ``size`` is (width, height), upright."""

    grayscale: bool
    size: tuple[int, int]


def is_passed_by(path: Path) -> bool:
    """Whether a file or folder among images is not meant as one: hidden, a desktop's own, or a text by its suffix."""
    if path.name.startswith(".") or path.name in _LITTER:
        return True
    return path.suffix.lower() in _TEXTS and not path.is_dir()  # a class may be called "v1.txt"


def read_header(path: Path) -> ImageHeader:
    """Check an image without decoding it.

    Raises:
        InputError: not an image, more than ``MOST_PIXELS``, several pictures in one file, or more than 8 bits a
            channel without one meaning in 8 (16-bit gray, floating point).
    """
    with _opened(path) as image:
        if image.mode not in _GRAYSCALE | _COLOR:
            raise InputError(f"{path}: pixels of type {image.mode!r}; expected 8 bits a channel; convert it")
        # A camera's JPEG with a preview behind its photograph (MPO) counts as one picture.
        frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
        if frames > 1:
            raise InputError(f"{path}: {frames} pictures in one file; expected one; save the one you mean")
        width, height = image.size
        # Pillow states a TIFF's size upright already.
        if image.format != "TIFF" and _orientation(image) in _SIDES_SWAPPED:
            width, height = height, width
        return ImageHeader(image.mode in _GRAYSCALE, (width, height))


def read_pixels(path: Path, spec: ImageSpec) -> UInt8[Tensor, "channels height width"]:
    """An image turned upright, composed on ``BACKGROUND``, scaled (bicubic, antialiased) and centrally cropped.

    Raises:
        InputError: it cannot be decoded.
    """
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        image = ImageOps.exif_transpose(opened) if _orientation(opened) != 1 else opened
        if image.has_transparency_data:
            image = image.convert("RGBA")
            # Before scaling: otherwise the color under transparent pixels bleeds into their neighbors.
            image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
        return _fitted(image, spec)


def pixels_from_array(array: NDArray[np.uint8], spec: ImageSpec) -> UInt8[Tensor, "channels height width"]:
    """An image in memory, height x width or with 1 or 3 channels behind, brought to a spec as one read from a file."""
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return _fitted(Image.fromarray(np.ascontiguousarray(array)), spec)


def _fitted(image: "Image", spec: ImageSpec) -> UInt8[Tensor, "channels height width"]:
    from PIL import ImageOps
    from PIL.Image import Resampling

    image = image.convert("L" if spec.channels == 1 else "RGB")
    image = ImageOps.fit(image, (spec.width, spec.height), method=Resampling.BICUBIC)
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
def _opened(path: Path) -> Iterator["Image"]:
    """An open image; whatever goes wrong with it becomes an error that names the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged tags
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(path, f" ({image.width} x {image.height})")
                yield image
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(path, "") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that can be read ({_why_unidentified(path)}") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it or remove it") from error
    except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
        raise InputError(f"{path}: image cannot be decoded ({first_line(error)}); replace or remove it") from error


def _why_unidentified(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        return "the file is empty); replace or remove it"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF:
        return "HEIC or AVIF); convert it to JPEG or PNG"
    return f"not one of {', '.join(_FORMATS)}); convert, replace or remove it"


def _too_large(path: Path, size: str) -> InputError:
    return InputError(f"{path}: more than {MOST_PIXELS:,} pixels{size}: not decoded; scale it down or remove it")
