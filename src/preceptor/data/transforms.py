"""Transforms of torchvision v2, or of anybody, as numbered views: the view's number determines what is drawn.

torchvision is needed for the named transforms alone (extra ``vision``), and imported when one is first applied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.data.augmentation import DrawnViews
from preceptor.data.randomness import RandomStream, random_words, reseed
from preceptor.errors import InputError, unknown_name
from preceptor.extras import import_extra, missing_extra

Transform = Callable[[Tensor], Tensor]
"""One uint8 image [channels, height, width] to another of the same shape."""

_USE = "randaugment, color-jitter or erasing"
_JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}

MAKERS: Mapping[str, Callable[[ModuleType, int], Transform]] = {
    "randaugment": lambda v2, magnitude: v2.RandAugment(magnitude=magnitude),
    "color-jitter": lambda v2, _: v2.ColorJitter(**_JITTER),
    "erasing": lambda v2, _: v2.RandomErasing(),
}
"""The named transforms, in the order in which they are applied; their settings are torchvision's defaults, but for the
strengths of the jitter, 0.4 each and no change of hue."""

NUMBERS = {"randaugment": 9}
"""The transforms that take a number, and its default: the magnitude, for which torchvision divides the range of each
operation into 31 steps."""

MAGNITUDES = range(31)

CHANNELS = (1, 3)
"""Numbers of channels that torchvision's transforms take."""


@dataclass(frozen=True)
class NumberedTransform(DrawnViews):
    """A random transform as numbered views. View 0 is the image as it is; each of the others is one draw.

    Images are transformed one at a time, on their device, with torch's generators seeded from (``seed``, the view's
    number) and restored afterwards. So a view is the same draw for every image of a size, in any batch and process; of
    a named transform on any machine with this version of torchvision, which is part of a cache's key. Reading the
    views' numbers waits for the device. On a CPU RandAugment takes about half a millisecond for 32 x 32 pixels.

    Args:
        transform: names joined by ``+`` (:data:`MAKERS`), ``randaugment`` perhaps with its magnitude, 0 to 30, as in
            ``randaugment:12`` (default 9, of two operations); or a callable, uint8 image [channels, height, width] to
            one of the same shape, that draws from torch's generators alone.
        draws: how many views there are. Default 1024.
        seed: of the draws.
        name: what a cache's key knows a callable by. Default its module and name, or the text of an object such as a
            ``torch.nn.Module``. The code behind it is not looked at: where that changes, give another name.

    Attributes:
        library: version of torchvision for named transforms; empty for a callable.

    Raises:
        InputError: an unknown transform or magnitude, fewer than two draws, or a callable that needs a name.
        MachineError: torchvision is not installed.
    """

    transform: str | Transform
    draws: int = 1024
    seed: int = 0
    name: str = ""
    library: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise InputError(f"numbered transform: draws is {self.draws}; expected 2 or more")
        if isinstance(self.transform, str):
            # Written in one way, so that equal ones are equal in a cache's key.
            parts = [f"{name}:{number}" if name in NUMBERS else name for name, number in parse(self.transform)]
            object.__setattr__(self, "transform", "+".join(parts))
            object.__setattr__(self, "library", _version())
        elif not self.name:
            object.__setattr__(self, "name", _name_of(self.transform))

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """What a cache's key tells it from others by."""
        transform = self.transform if isinstance(self.transform, str) else self.name
        return {"transform": transform, "draws": self.draws, "seed": self.seed, "library": self.library}

    def check_channels(self, channels: int) -> None:
        """Refuse images that torchvision's transforms cannot take.

        Raises:
            InputError: a named transform, and neither 1 nor 3 channels.
        """
        if isinstance(self.transform, str) and channels not in CHANNELS:
            raise InputError(
                f"augmentation {self.transform!r} takes images of 1 or 3 channels, these have {channels}: leave it out"
            )

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        """Each image in its own view.

        Raises:
            InputError: images that a named transform cannot take, or a callable that returns something else.
            MachineError: torchvision cannot be imported.
        """
        self.check_channels(images.shape[1])
        transform = _built(self.transform) if isinstance(self.transform, str) else self.transform
        seeds = random_words(self.seed, RandomStream.TRANSFORMS, 0, self.draws) >> 1  # torch takes 63 bits
        shown = images.clone()
        with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
            for place, view in enumerate(views.tolist()):
                if view != self.identity:
                    reseed(int(seeds[view]), images.device)
                    shown[place] = _checked(transform(shown[place]), images[place], self.transform)
        return shown


def parse(text: str) -> list[tuple[str, int]]:
    """Names of transforms joined by ``+``, each with its number (0: it takes none), in the order of application.

    Raises:
        InputError: an unknown or repeated name, or a magnitude that does not fit.
    """
    chosen: dict[str, int] = {}
    for part in text.split("+"):
        name, colon, number = part.strip().partition(":")
        if name not in MAKERS:
            raise unknown_name("transform", name, MAKERS)
        if name in chosen:
            raise InputError(f"augmentation {text!r}: {name} is named twice: name it once")
        if colon and not (name in NUMBERS and number.isdecimal() and int(number) in MAGNITUDES):
            raise InputError(
                f"augmentation {part.strip()!r}: only randaugment takes a number, its magnitude from 0 to 30, as in "
                "randaugment:12"
            )
        chosen[name] = int(number) if colon else NUMBERS.get(name, 0)
    return [(name, chosen[name]) for name in MAKERS if name in chosen]


@lru_cache(maxsize=8)
def _built(text: str) -> Transform:
    v2 = import_extra("torchvision.transforms.v2", "vision", _USE)
    transforms = [MAKERS[name](v2, number) for name, number in parse(text)]
    composed: Transform = v2.Compose(transforms)
    return composed


def _version() -> str:
    try:
        # Without "+cpu" or "+cu126": the draws are the same.
        return metadata.version("torchvision").partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise missing_extra(error, "torchvision", "vision", _USE) from error


def _name_of(transform: Any) -> str:
    qualified = getattr(transform, "__qualname__", "")
    name = f"{transform.__module__}.{qualified}" if qualified else repr(transform)
    if not callable(transform) or "<lambda>" in name or "<locals>" in name or " at 0x" in name:
        raise InputError(
            f"numbered transform {name}: nothing tells it from others in a cache's key: give name=..., and a callable "
            "defined in a module"
        )
    return name


def _checked(shown: Tensor, image: Tensor, transform: object) -> Tensor:
    if shown.shape != image.shape or shown.dtype != torch.uint8:
        raise InputError(
            f"numbered transform {transform}: made {shown.dtype} of shape {tuple(shown.shape)} of an image; expected "
            f"torch.uint8 of shape {tuple(image.shape)}"
        )
    return shown
