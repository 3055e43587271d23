"""Reading one image file: decoded by Pillow itself, never by another program, and never without bound."""

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

from preceptor.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2**26
"""Of an image, 8,192 x 8,192 or as many in another shape: beyond, a small file is more likely to be made to fill the
memory than to be a photograph to learn from."""

# Formats that Pillow decodes itself: EPS, for one, would start another program on a stranger's file.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_GRAYSCALE = {"1", "L", "LA"}
_COLOR = {"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"}


@dataclass(frozen=True)
class Form:
    """What all images are brought to."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Header:
    """What a file says of its image before anything is decoded."""

    grayscale: bool
    size: tuple[int, int]


def read_header(path: Path) -> Header:
    """Whether an image is grayscale, and its width and height.

    Raises:
        InputError: it is no image, one of more than ``MOST_PIXELS``, an animation, or of more than 8 bits a channel
            where these have no one meaning in 8.
    """
    with _opened(path) as image:
        if image.mode not in _GRAYSCALE | _COLOR:
            raise InputError(f"{path}: pixels of type {image.mode!r}, allowed are 8 bits a channel; convert it")
        frames = _frames(image)
        if frames > 1:
            raise InputError(f"{path}: {frames} pictures in one file, and none is the image; save the one you mean")
        return Header(image.mode in _GRAYSCALE, image.size)


def read_pixels(path: Path, form: Form) -> UInt8[Tensor, "channels height width"]:
    """An image scaled (bicubic, antialiased) and centrally cropped.

    Raises:
        InputError: it cannot be decoded.
    """
    with _opened(path) as opened:
        # Pillow advises this detour for palettes with transparency, and warns without it.
        return _in_form(opened.convert("RGBA") if "transparency" in opened.info else opened, form)


def pixels_in_form(array: NDArray[np.uint8], form: Form) -> UInt8[Tensor, "channels height width"]:
    """An image in memory, brought to a form as one that is read from a lossless file.

    Args:
        array: height x width, or height x width x channels with 1 or 3 channels.
        form: what to bring it to.
    """
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return _in_form(Image.fromarray(np.ascontiguousarray(array)), form)


def _in_form(image: "Image", form: Form) -> UInt8[Tensor, "channels height width"]:
    from PIL import ImageOps
    from PIL.Image import Resampling

    image = image.convert("L" if form.channels == 1 else "RGB")
    image = ImageOps.fit(image, (form.width, form.height), method=Resampling.BICUBIC)
    pixels = np.array(image).reshape(form.height, form.width, form.channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _frames(image: "Image") -> int:
    """How many pictures take turns; a camera's JPEG with a preview behind its photograph (MPO) counts as one."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


@contextmanager
def _opened(path: Path) -> Iterator["Image"]:
    """An open image; whatever goes wrong with it becomes an error that names the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that are not as they should be, where the pixels are
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                _check_size(path, image.size)
                yield image
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(path, "") from error
    except UnidentifiedImageError as error:
        reason = "the file is empty" if path.stat().st_size == 0 else f"not one of {', '.join(_FORMATS)}"
        raise InputError(f"{path}: not an image that can be read ({reason}); replace or remove it") from error
    except Exception as error:  # a damaged file can make Pillow's decoders raise nearly anything
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: image cannot be decoded ({reason}); replace or remove it") from error


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise _too_large(path, f" ({size[0]} x {size[1]})")


def _too_large(path: Path, size: str) -> InputError:
    return InputError(f"{path}: more than {MOST_PIXELS:,} pixels{size}: not decoded; scale it down or remove it")
