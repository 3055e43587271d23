"""Small caches, and teachers that fill them and record what they are queried about."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preceptor.data import CropFlip
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import CacheKey, Layout, LogitCache, open_cache

VIEWS = CropFlip(padding=1, flip=False)
SAMPLES, CLASSES = 12, 5
FEW = Layout(samples=SAMPLES, views=VIEWS.count, classes=CLASSES)


def pictures(samples: int = SAMPLES, size: int = 6) -> Tensor:
    return torch.randint(1, 256, (samples, 1, size, size), dtype=torch.uint8, generator=generator(7))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear:
    """Logits that depend on every pixel of an image, and on no other image."""

    def __init__(self, classes: int = CLASSES, size: int = 6, shift: float = 0.0) -> None:
        self.weights = torch.randn(classes, size * size, generator=generator(1))
        self.shift, self.classes = shift, classes
        self.queried: list[tuple[int, int]] = []
        self.batch_sizes: list[int] = []

    def outputs(self, inputs: Tensor, index: Tensor, view: Tensor) -> TeacherOutput:
        self.batch_sizes.append(len(inputs))
        # What makes a batch up to full size is a sample of the batch once more.
        self.queried += dict.fromkeys(zip(index.tolist(), view.tolist(), strict=True))
        # A matrix product may round otherwise in another batch; a sum of products does not.
        products = (inputs.flatten(1).float()[:, None] / 255 * self.weights).sum(dim=2)
        return TeacherOutput(products / 2 + self.shift)


def key(classes: int = CLASSES, **parts: Any) -> CacheKey:
    usual: dict[str, Any] = {
        "teacher": "a" * 64,
        "data": "b" * 64,
        "normalization": {"mean": (0.5,), "std": (0.25,)},
        "views": {"rule": "CropFlip", "padding": 1, "flip": False},
        "class_names": tuple(f"class {number}" for number in range(classes)),
    }
    return CacheKey(**usual | parts)


def cache_in(folder: Path, teacher: Any = None, layout: Layout = FEW, batch_size: int = 16, **parts: Any) -> LogitCache:
    return open_cache(folder, key(layout.classes, **parts), layout, teacher, batch_size)


def every_entry(samples: int = SAMPLES, views: int = VIEWS.count) -> tuple[Tensor, Tensor]:
    """Index and view of all of them."""
    return torch.arange(samples).repeat_interleave(views), torch.arange(views).repeat(samples)


def shown(index: Tensor, view: Tensor, views: CropFlip = VIEWS, images: Tensor | None = None) -> Tensor:
    return views.apply((pictures() if images is None else images)[index], view)


def logits_of(teacher: Any, index: Tensor, view: Tensor) -> Tensor:
    """The teacher's own, of the usual pictures."""
    logits: Tensor = teacher.outputs(shown(index, view), index, view).logits
    return logits


def rounding(logits: Tensor) -> Tensor:
    """How far each logit may come back from where it was (the codec's bound)."""
    below = logits.amax(dim=1, keepdim=True) - logits
    return 2.0**-11 * below + 2.0**-24 + 2.0**-22 * logits.abs().amax(dim=1, keepdim=True)


def agree(first: Tensor, second: Tensor) -> bool:
    """Whether logits are the second within rounding."""
    return bool(((first - second).abs() <= rounding(second)).all())
