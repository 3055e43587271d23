"""Corrupted images, to measure students and teachers on pictures that are worse than those they learned from.

The idea of five severities of noise, blur, contrast and digital artifacts is that of Hendrycks and Dietterich, 2019
(arXiv:1903.12261). The formulas and strengths are this project's own, for any image size: results are not comparable
with those on CIFAR-10-C or ImageNet-C.
"""

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from preceptor.data.randomness import RandomStream, random_words
from preceptor.errors import InputError, unknown_name

Images = UInt8[Tensor, "n channels height width"]

_CHUNK = 512
_SIDE = 32
"""Side of an image for which a blur's strength is its width in pixels."""


def corrupt_images(images: Images, kind: str, severity: int, seed: int = 0) -> Images:
    """Images after a corruption; the same seed makes the same noise, and that of an image depends on its index alone.

    ==============  ================================================================  =========================
    kind            formula, for x from 0 to 255                                      severities 1 to 5
    ==============  ================================================================  =========================
    gaussian_noise  ``x + 255 s e``, where e is standard normal, one a value          s = .04, .06, .09, .13, .18
    blur            Gaussian filter of deviation ``s * longer side / 32`` pixels      s = .4, .6, .8, 1, 1.3
    contrast        ``m + s (x - m)``, where m is the mean of image and channel       s = .75, .5, .4, .3, .15
    pixelate        means of cells, repeated; ``s * side`` cells along each side      s = .6, .5, .4, .3, .25
    jpeg            JPEG of quality s, decoded                                        s = 60, 40, 25, 15, 8
    ==============  ================================================================  =========================

    Results are rounded and clipped to 0 to 255.

    Args:
        images: uint8, gray or RGB.
        kind: of the table.
        severity: 1 (mild) to 5.
        seed: of the noise. Default 0.

    Raises:
        InputError: an unknown kind (the nearest is offered), another severity, images that are not uint8 or, for jpeg,
            have neither 1 nor 3 channels.
    """
    if kind not in _KINDS:
        raise unknown_name("corruption", kind, _KINDS)
    if severity not in range(1, 6):
        raise InputError(f"corruption {kind!r}: severity is {severity}; expected 1, 2, 3, 4 or 5")
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.dim() != 4:
        raise InputError(
            f"corruption {kind!r}: expected a uint8 tensor of images [n, channels, height, width]; index images that "
            "are decoded when needed: images[:]"
        )
    if len(images) == 0:
        return images
    function, strengths = _KINDS[kind]
    change = partial(function, strengths[severity - 1], seed)
    parts = [change(part, start * _CHUNK) for start, part in enumerate(images.split(_CHUNK))]
    return torch.cat(parts).to(images.device)


def blurred(images: Images, sigma: float) -> Images:
    """Gaussian blur of ``sigma`` pixels; none for 0."""
    from scipy.ndimage import gaussian_filter

    if sigma == 0:
        return images
    smooth = gaussian_filter(images.cpu().float().numpy(), (0, 0, sigma, sigma), mode="nearest")
    return _as_bytes(torch.from_numpy(smooth))


def contrast_scaled(images: Images, factor: float, around: float | None = None) -> Images:
    """``around + factor (x - around)``: below 1 the images lose contrast.

    Args:
        images: uint8.
        factor: of the distance.
        around: gray level. Default None: the mean of each image and channel.
    """
    if factor == 1:
        return images
    levels = images.float()
    middle = levels.mean(dim=(2, 3), keepdim=True) if around is None else around
    return _as_bytes(middle + factor * (levels - middle))


def noised(images: Images, deviation: float, seed: int, first: int = 0) -> Images:
    """``x + deviation e``, where e is standard normal; ``first`` is the index of the first of these images."""
    values = images[0].numel()
    words = random_words(seed, RandomStream.IMAGE_NOISE, first * values, (first + len(images)) * values)
    normal = torch.from_numpy(_normal(words)).reshape(images.shape)
    return _as_bytes(images.cpu() + deviation * normal)


def pixelated(images: Images, share: float) -> Images:
    """Each side in ``share`` as many cells, of which all pixels have the mean."""
    height, width = images.shape[2:]
    cells = max(1, round(share * height)), max(1, round(share * width))
    small = functional.interpolate(images.float(), cells, mode="area")
    return _as_bytes(functional.interpolate(small, (height, width), mode="nearest-exact"))


def jpeg_compressed(images: Images, quality: int) -> Images:
    """Each image as JPEG of a quality from 1 to 95 (Pillow's encoder), decoded again.

    Raises:
        InputError: images of neither 1 nor 3 channels.
    """
    if images.shape[1] not in (1, 3):
        raise InputError(f"jpeg: images have {images.shape[1]} channels; expected 1 or 3")
    rows = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    decoded = [_through_jpeg(row[..., 0] if row.shape[2] == 1 else row, quality) for row in rows]
    return torch.from_numpy(np.stack(decoded).reshape(rows.shape)).permute(0, 3, 1, 2).contiguous()


def _through_jpeg(row: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(row).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)


def _normal(words: np.ndarray) -> np.ndarray:
    """Standard normal numbers of 64-bit words, one of each: Box and Muller, 1958, from its upper and lower half."""
    radius = ((words >> np.uint64(32)).astype(np.float64) + 1) / 2**32  # above 0
    angle = (words & np.uint64(0xFFFFFFFF)).astype(np.float64) / 2**32
    return np.asarray(np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle), dtype=np.float32)


def _as_bytes(levels: Tensor) -> Images:
    return levels.round().clamp(0, 255).to(torch.uint8)


_KINDS: dict[str, tuple[Callable[[float, int, Images, int], Images], tuple[float, ...]]] = {
    "gaussian_noise": (
        lambda strength, seed, images, first: noised(images, 255 * strength, seed, first),
        (0.04, 0.06, 0.09, 0.13, 0.18),
    ),
    "blur": (
        lambda strength, _seed, images, _first: blurred(images, strength * max(images.shape[2:]) / _SIDE),
        (0.4, 0.6, 0.8, 1.0, 1.3),
    ),
    "contrast": (
        lambda strength, _seed, images, _first: contrast_scaled(images, strength),
        (0.75, 0.5, 0.4, 0.3, 0.15),
    ),
    "pixelate": (lambda strength, _seed, images, _first: pixelated(images, strength), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": (lambda strength, _seed, images, _first: jpeg_compressed(images, int(strength)), (60, 40, 25, 15, 8)),
}
CORRUPTIONS = tuple(_KINDS)
"""The kinds of :func:`corrupt_images`."""
