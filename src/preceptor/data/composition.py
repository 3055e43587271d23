"""Augmentations one after another as one, and the augmentation that a text such as "resized-crop+flip" names."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Int, UInt8
from torch import LongTensor, Tensor

from preceptor.data.augmentation import Augmentation, CropFlip, DrawnViews, ResizedCrops
from preceptor.data.randomness import RandomStream, random_words
from preceptor.data.transforms import MAKERS, NumberedTransform, parse
from preceptor.errors import InputError, unknown_name

_STRONG = 2**32
"""Added to the epoch of strong views, so that they are drawn apart from the weak ones."""

GEOMETRY = ("crop-flip", "resized-crop", "flip")
"""Names of what chooses a part of the image or mirrors it; done first, without torchvision."""


@dataclass(frozen=True)
class Composition(DrawnViews):
    """Several augmentations, one after another, under one number.

    View 0 is the image as it is. For each of the others a view of every part is drawn, evenly and independently, the
    same for every image. So there are ``draws`` views, not the product of the parts', and a cache can hold them.

    Args:
        parts: in the order in which they are applied.
        draws: how many views there are. Default 1024.
        seed: of the choice among the parts' views.

    Raises:
        InputError: no part, or fewer than two draws.
    """

    parts: tuple[Augmentation, ...]
    draws: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.parts or self.draws < 2:
            raise InputError(
                f"composition of {len(self.parts)} augmentations in {self.draws} draws: expected 1 or more, and 2 draws"
            )

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """What a cache's key tells it from others by."""
        content: dict[str, bool | int | float | str] = {"draws": self.draws, "seed": self.seed}
        for number, part in enumerate(self.parts):
            content |= {f"{number}.{name}": value for name, value in augmentation_settings(part).items()}
        return content

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        for part, own in steps_of(self, views):
            images = part.apply(images, own)
        return images


@dataclass(frozen=True)
class TwoViews:
    """Two augmentations, of which each shows every sample once a batch: a weak view, and a strong one.

    The weak one's views come first by number, then those of the strong one. A batch of so many samples has twice as
    many rows: the samples in their weak views, then the same samples in their strong ones.

    Args:
        weak: whose views a single query (the teacher's check, selection data) shows too.
        strong: whose views are drawn independently of the weak ones.
    """

    weak: Augmentation
    strong: Augmentation

    @property
    def count(self) -> int:
        return self.weak.count + self.strong.count

    @property
    def identity(self) -> int:
        return self.weak.identity

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """What a cache's key tells it from others by."""
        parts = {"weak": self.weak, "strong": self.strong}
        named = {part: augmentation_settings(augmentation) for part, augmentation in parts.items()}
        return {f"{part}.{name}": value for part, values in named.items() for name, value in values.items()}

    def draw(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """The weak view of each sample in an epoch."""
        return self.weak.draw(seed, epoch, index)

    def draw_strong(self, seed: int, epoch: int, index: Int[Tensor, " batch"]) -> LongTensor:
        """The strong view of each sample in an epoch: the draw of an epoch that no training reaches."""
        return self.strong.draw(seed, epoch + _STRONG, index) + self.weak.count  # type: ignore[return-value]

    def apply(
        self, images: UInt8[Tensor, "batch channels height width"], views: Int[Tensor, " batch"]
    ) -> UInt8[Tensor, "batch channels height width"]:
        is_weak = views < self.weak.count
        weak = self.weak.apply(images, torch.where(is_weak, views, self.weak.identity))
        strong = self.strong.apply(images, torch.where(is_weak, self.strong.identity, views - self.weak.count))
        return torch.where(is_weak[:, None, None, None], weak, strong)


def steps_of(
    augmentation: Augmentation, views: Int[Tensor, " batch"]
) -> list[tuple[Augmentation, Int[Tensor, " batch"]]]:
    """The augmentations that are applied one after another, at least one, each with its own views of these views."""
    if not isinstance(augmentation, Composition):
        return [(augmentation, views)]
    choices = tuple((part.count, part.identity) for part in augmentation.parts)
    tables = _tables(choices, augmentation.draws, augmentation.seed, augmentation.identity, views.device)
    return [(part, table[views]) for part, table in zip(augmentation.parts, tables, strict=True)]


@lru_cache(maxsize=8)
def _tables(
    choices: tuple[tuple[int, int], ...], draws: int, seed: int, identity: int, device: torch.device
) -> list[Int[Tensor, " views"]]:
    """For each part, of a number of views and an identity, its view in each of the composition's."""
    drawn = random_words(seed, RandomStream.JOINT_DRAWS, 0, len(choices) * draws).reshape(len(choices), draws)
    tables = []
    for (count, own_identity), words in zip(choices, drawn, strict=True):
        own = (words % count).astype("int64")
        own[identity] = own_identity
        tables.append(torch.from_numpy(own).to(device))
    return tables


def augmentation_settings(augmentation: Augmentation) -> dict[str, bool | int | float | str]:
    """The type of an augmentation and its settings, plain values: two that differ in any show other views."""
    settings = getattr(augmentation, "settings", None)
    return {"rule": type(augmentation).__name__, **(vars(augmentation) if settings is None else settings)}


def named_augmentation(text: str) -> Augmentation:
    """The augmentation of names joined by ``+``, such as ``resized-crop+flip+randaugment:12+erasing``.

    ``crop-flip`` is a crop with padding 4 and a flip, ``resized-crop`` a :class:`ResizedCrops` (flipped with ``flip``),
    ``flip`` a flip of half of the views; ``randaugment``, ``color-jitter`` and ``erasing`` are those of
    :class:`NumberedTransform`. They are applied in this order, however they are written. Two of them with a comma
    between are :class:`TwoViews`, the weak and the strong one.

    Raises:
        InputError: an unknown or repeated name, a magnitude that does not fit, two crops, or more than two
            augmentations.
        MachineError: torchvision is needed and not installed.
    """
    if "," in text:
        return TwoViews(*(named_augmentation(part) for part in _pair(text)))
    geometry, transforms = _split(text)
    parts: list[Augmentation] = []
    if "crop-flip" in geometry:
        parts.append(CropFlip(padding=4, flip=True))
    elif "resized-crop" in geometry:
        parts.append(ResizedCrops(flip="flip" in geometry))
    elif "flip" in geometry:
        parts.append(CropFlip(padding=0, flip=True))
    if transforms:
        parts.append(NumberedTransform(transforms))
    return parts[0] if len(parts) == 1 else Composition(tuple(parts))


def check_names(text: str) -> None:
    """Refuse a text that :func:`named_augmentation` cannot read; torchvision is not needed.

    Raises:
        InputError: as there.
    """
    for part in _pair(text) if "," in text else [text]:
        _, transforms = _split(part)
        if transforms:
            parse(transforms)


def _pair(text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) != 2:
        raise InputError(f"augmentation {text!r}: expected one, or a weak and a strong one with a comma between them")
    return parts


def _split(text: str) -> tuple[list[str], str]:
    """The names in a text that stand for geometry, and the others, which torchvision transforms, joined again."""
    parts = [part.strip() for part in text.split("+")]
    for part in parts:
        name, colon, _ = part.partition(":")
        if name not in (*GEOMETRY, *MAKERS) or (name in GEOMETRY and colon):
            raise unknown_name("augmentation", part, (*GEOMETRY, *MAKERS))
    geometry = [part for part in parts if part in GEOMETRY]
    if len(set(geometry)) < len(geometry) or ("crop-flip" in geometry and len(geometry) > 1):
        raise InputError(
            f"augmentation {text!r}: expected crop-flip, or resized-crop and flip, each once: leave one out"
        )
    return geometry, "+".join(part for part in parts if part not in geometry)
