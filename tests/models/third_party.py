"""State dicts with the names of widely used CIFAR code, and what the networks of these names compute from them.

The names and layers are written by rule. Each forward pass is written again from the tensors by their names, so that it
shares nothing with the package.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

CLASSES = 7


@dataclass
class File:
    """Random tensors by name, of the sizes that its methods are told."""

    seed: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)

    def conv(self, name: str, inputs: int, outputs: int, kernel: int, groups: int = 1, bias: bool = False) -> None:
        fan = inputs // groups * kernel**2
        shape = (outputs, inputs // groups, kernel, kernel)
        self.tensors[f"{name}.weight"] = torch.randn(shape, generator=self.random) * (2 / fan) ** 0.5
        if bias:
            self.tensors[f"{name}.bias"] = torch.randn(outputs, generator=self.random) * 0.1

    def norm(self, name: str, size: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            spread = 0.5 + torch.rand(size, generator=self.random)
            self.tensors[f"{name}.{part}"] = spread if part in ("weight", "running_var") else spread - 1
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(5)

    def linear(self, name: str, inputs: int, outputs: int = CLASSES) -> None:
        self.tensors[f"{name}.weight"] = torch.randn(outputs, inputs, generator=self.random) * inputs**-0.5
        self.tensors[f"{name}.bias"] = torch.randn(outputs, generator=self.random)


class Layers:
    """Layers by the names of their tensors."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def conv(self, name: str, maps: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = self.tensors[f"{name}.weight"]
        bias = self.tensors.get(f"{name}.bias")
        return F.conv2d(maps, kernel, bias, stride, padding=kernel.shape[-1] // 2, groups=groups)

    def norm(self, name: str, maps: Tensor) -> Tensor:
        weight, bias, mean, variance = (
            self.tensors[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (maps - mean) / (variance + 1e-5).sqrt() * weight + bias

    def linear(self, name: str, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3)) @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.tensors


Network = tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]
"""The tensors of a file, and the logits that they stand for."""


def resnet(
    depth: int,
    widths: tuple[int, ...],
    *,
    shortcut: str | None,
    head: str,
    channels: int = 3,
    classes: int = CLASSES,
) -> Network:
    """Basic blocks; ``shortcut`` names the projection (downsample, shortcut), None pads with zeros."""
    file, blocks = File(), (depth - 2) // 6
    file.conv("conv1", channels, widths[0], 3)
    file.norm("bn1", widths[0])
    inputs = widths[0]
    for layer, outputs in enumerate(widths[1:], start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            file.conv(f"{name}.conv1", inputs, outputs, 3)
            file.norm(f"{name}.bn1", outputs)
            file.conv(f"{name}.conv2", outputs, outputs, 3)
            file.norm(f"{name}.bn2", outputs)
            if shortcut is not None and inputs != outputs:
                file.conv(f"{name}.{shortcut}.0", inputs, outputs, 1)
                file.norm(f"{name}.{shortcut}.1", outputs)
            inputs = outputs
    file.linear(head, inputs, classes)
    of = Layers(file.tensors)

    def logits(images: Tensor) -> Tensor:
        maps = of.norm("bn1", of.conv("conv1", images)).relu()
        for layer in range(1, len(widths)):
            for block in range(blocks):
                name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
                residual = of.norm(f"{name}.bn1", of.conv(f"{name}.conv1", maps, stride)).relu()
                residual = of.norm(f"{name}.bn2", of.conv(f"{name}.conv2", residual))
                if of.has(f"{name}.{shortcut}.0"):
                    maps = of.norm(f"{name}.{shortcut}.1", of.conv(f"{name}.{shortcut}.0", maps, stride))
                elif stride == 2:
                    added = residual.shape[1] // 4
                    padded = torch.zeros_like(residual)
                    padded[:, added:-added] = maps[:, :, ::2, ::2]
                    maps = padded
                maps = (residual + maps).relu()
        return of.linear(head, maps)

    return file.tensors, logits


def bottleneck_resnet() -> Network:
    """ResNet-50 for 32x32: shortcuts ``shortcut``, head ``linear``."""
    file, inputs = File(), 64
    file.conv("conv1", 3, 64, 3)
    file.norm("bn1", 64)
    counts = (3, 4, 6, 3)
    for layer, count in enumerate(counts, start=1):
        narrow = 32 * 2**layer
        for block in range(count):
            name = f"layer{layer}.{block}"
            sizes = ((inputs, narrow, 1), (narrow, narrow, 3), (narrow, 4 * narrow, 1))
            for number, (before, after, kernel) in enumerate(sizes, start=1):
                file.conv(f"{name}.conv{number}", before, after, kernel)
                file.norm(f"{name}.bn{number}", after)
            if block == 0:
                file.conv(f"{name}.shortcut.0", inputs, 4 * narrow, 1)
                file.norm(f"{name}.shortcut.1", 4 * narrow)
            inputs = 4 * narrow
    file.linear("linear", inputs)
    of = Layers(file.tensors)

    def logits(images: Tensor) -> Tensor:
        maps = of.norm("bn1", of.conv("conv1", images)).relu()
        for layer, count in enumerate(counts, start=1):
            for block in range(count):
                name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
                residual = of.norm(f"{name}.bn1", of.conv(f"{name}.conv1", maps)).relu()
                residual = of.norm(f"{name}.bn2", of.conv(f"{name}.conv2", residual, stride)).relu()
                residual = of.norm(f"{name}.bn3", of.conv(f"{name}.conv3", residual))
                if block == 0:
                    maps = of.norm(f"{name}.shortcut.1", of.conv(f"{name}.shortcut.0", maps, stride))
                maps = (residual + maps).relu()
        return of.linear("linear", maps)

    return file.tensors, logits


def wide_resnet(depth: int, width: int) -> Network:
    file, inputs, blocks = File(), 16, (depth - 4) // 6
    file.conv("conv1", 3, 16, 3)
    for stage in (1, 2, 3):
        outputs = 16 * width * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"block{stage}.layer.{block}"
            file.norm(f"{name}.bn1", inputs)
            file.conv(f"{name}.conv1", inputs, outputs, 3)
            file.norm(f"{name}.bn2", outputs)
            file.conv(f"{name}.conv2", outputs, outputs, 3)
            if inputs != outputs:
                file.conv(f"{name}.convShortcut", inputs, outputs, 1)
            inputs = outputs
    file.norm("bn1", inputs)
    file.linear("fc", inputs)
    of = Layers(file.tensors)

    def logits(images: Tensor) -> Tensor:
        maps = of.conv("conv1", images)
        for stage in (1, 2, 3):
            for block in range(blocks):
                name, stride = f"block{stage}.layer.{block}", 2 if stage > 1 and block == 0 else 1
                active = of.norm(f"{name}.bn1", maps).relu()
                residual = of.norm(f"{name}.bn2", of.conv(f"{name}.conv1", active, stride)).relu()
                shortcut = f"{name}.convShortcut"
                maps = of.conv(shortcut, active, stride) if of.has(shortcut) else maps
                maps = maps + of.conv(f"{name}.conv2", residual)
        return of.linear("fc", of.norm("bn1", maps).relu())

    return file.tensors, logits


def vgg(counts: tuple[int, ...]) -> Network:
    """Within a block, convolution, norm and ReLU are counted; a pool before the second, third and fourth."""
    file, inputs = File(), 3
    for block, (count, outputs) in enumerate(zip(counts, (64, 128, 256, 512, 512), strict=True)):
        for layer in range(count):
            file.conv(f"block{block}.{3 * layer}", inputs, outputs, 3, bias=True)
            file.norm(f"block{block}.{3 * layer + 1}", outputs)
            inputs = outputs
    file.linear("classifier", 512)
    of = Layers(file.tensors)

    def logits(images: Tensor) -> Tensor:
        maps = images
        for block, count in enumerate(counts):
            if 1 <= block <= 3 or (block == 4 and images.shape[2] == 64):
                maps = maps.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
            for layer in range(count):
                maps = of.norm(f"block{block}.{3 * layer + 1}", of.conv(f"block{block}.{3 * layer}", maps)).relu()
        return of.linear("classifier", maps)

    return file.tensors, logits


MOBILE_STAGES = (
    (1, 8, 1, 1),
    (6, 12, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)


def mobile_half() -> Network:
    file, inputs = File(), 16
    file.conv("conv1.0", 3, 16, 3)
    file.norm("conv1.1", 16)
    blocks = []
    for stage, (expansion, outputs, count, stride) in enumerate(MOBILE_STAGES):
        for block in range(count):
            name, wide = f"blocks.{stage}.{block}.conv", expansion * inputs
            file.conv(f"{name}.0", inputs, wide, 1)
            file.norm(f"{name}.1", wide)
            file.conv(f"{name}.3", wide, wide, 3, groups=wide)
            file.norm(f"{name}.4", wide)
            file.conv(f"{name}.6", wide, outputs, 1)
            file.norm(f"{name}.7", outputs)
            blocks.append((name, wide, stride if block == 0 else 1))
            inputs = outputs
    file.conv("conv2.0", inputs, 1280, 1)
    file.norm("conv2.1", 1280)
    file.linear("classifier.0", 1280)
    of = Layers(file.tensors)

    def logits(images: Tensor) -> Tensor:
        maps = of.norm("conv1.1", of.conv("conv1.0", images, stride=2)).relu()
        for name, wide, stride in blocks:
            inner = of.norm(f"{name}.1", of.conv(f"{name}.0", maps)).relu()
            inner = of.norm(f"{name}.4", of.conv(f"{name}.3", inner, stride, groups=wide)).relu()
            inner = of.norm(f"{name}.7", of.conv(f"{name}.6", inner))
            maps = maps + inner if inner.shape == maps.shape else inner
        return of.linear("classifier.0", of.norm("conv2.1", of.conv("conv2.0", maps)).relu())

    return file.tensors, logits


def shuffled(maps: Tensor, groups: int) -> Tensor:
    size = maps.shape[1] // groups
    return maps[:, [group * size + place for place in range(size) for group in range(groups)]]


def shuffle_v1() -> Network:
    file, inputs = File(), 24
    file.conv("conv1", 3, 24, 1)
    file.norm("bn1", 24)
    units = []
    for layer, (outputs, count) in enumerate(((240, 4), (480, 8), (960, 4)), start=1):
        for unit in range(count):
            name, groups = f"layer{layer}.{unit}", 1 if inputs == 24 else 3
            computed = outputs - inputs if unit == 0 else outputs
            narrow = computed // 4
            file.conv(f"{name}.conv1", inputs, narrow, 1, groups)
            file.norm(f"{name}.bn1", narrow)
            file.conv(f"{name}.conv2", narrow, narrow, 3, narrow)
            file.norm(f"{name}.bn2", narrow)
            file.conv(f"{name}.conv3", narrow, computed, 1, 3)
            file.norm(f"{name}.bn3", computed)
            units.append((name, groups, narrow, 2 if unit == 0 else 1))
            inputs = outputs
    file.linear("linear", inputs)
    of = Layers(file.tensors)

    def logits(images: Tensor) -> Tensor:
        maps = of.norm("bn1", of.conv("conv1", images)).relu()
        for name, groups, narrow, stride in units:
            inner = shuffled(of.norm(f"{name}.bn1", of.conv(f"{name}.conv1", maps, groups=groups)).relu(), groups)
            inner = of.norm(f"{name}.bn2", of.conv(f"{name}.conv2", inner, stride, groups=narrow)).relu()
            inner = of.norm(f"{name}.bn3", of.conv(f"{name}.conv3", inner, groups=3))
            if stride == 2:
                inner = torch.cat([inner, F.avg_pool2d(maps, 3, 2, padding=1)], dim=1)
            maps = (inner if stride == 2 else inner + maps).relu()
        return of.linear("linear", maps)

    return file.tensors, logits


def shuffle_v2() -> Network:
    file, inputs = File(), 24
    file.conv("conv1", 3, 24, 1)
    file.norm("bn1", 24)
    layers = ((1, 116, 3), (2, 232, 7), (3, 464, 3))
    for layer, outputs, others in layers:
        half, name = outputs // 2, f"layer{layer}.0"
        first = [(inputs, inputs, 3, inputs), (inputs, half, 1, 1)]
        second = [(inputs, half, 1, 1), (half, half, 3, half), (half, half, 1, 1)]
        for number, (before, after, kernel, groups) in enumerate([*first, *second], start=1):
            file.conv(f"{name}.conv{number}", before, after, kernel, groups)
            file.norm(f"{name}.bn{number}", after)
        for unit in range(1, others + 1):
            for number, (kernel, groups) in enumerate([(1, 1), (3, half), (1, 1)], start=1):
                file.conv(f"layer{layer}.{unit}.conv{number}", half, half, kernel, groups)
                file.norm(f"layer{layer}.{unit}.bn{number}", half)
        inputs = outputs
    file.conv("conv2", inputs, 1024, 1)
    file.norm("bn2", 1024)
    file.linear("linear", 1024)
    of = Layers(file.tensors)

    def step(name: str, number: int, maps: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        return of.norm(f"{name}.bn{number}", of.conv(f"{name}.conv{number}", maps, stride, groups))

    def logits(images: Tensor) -> Tensor:
        maps = of.norm("bn1", of.conv("conv1", images)).relu()
        for layer, outputs, others in layers:
            name, half = f"layer{layer}.0", outputs // 2
            left = step(name, 2, step(name, 1, maps, 2, maps.shape[1])).relu()
            right = step(name, 5, step(name, 4, step(name, 3, maps).relu(), 2, half)).relu()
            maps = shuffled(torch.cat([left, right], dim=1), 2)
            for unit in range(1, others + 1):
                name = f"layer{layer}.{unit}"
                same, other = maps[:, :half], maps[:, half:]
                other = step(name, 3, step(name, 2, step(name, 1, other).relu(), 1, half)).relu()
                maps = shuffled(torch.cat([same, other], dim=1), 2)
        return of.linear("linear", of.norm("bn2", of.conv("conv2", maps)).relu())

    return file.tensors, logits


LAYOUTS: dict[str, tuple[str, Callable[[], Network]]] = {
    "resnet20, downsample and fc": ("resnet20", lambda: resnet(20, (16, 16, 32, 64), shortcut="downsample", head="fc")),
    "resnet8x4": ("resnet8x4", lambda: resnet(8, (32, 64, 128, 256), shortcut="downsample", head="fc")),
    "resnet14, shortcut and linear": (
        "resnet14",
        lambda: resnet(14, (16, 16, 32, 64), shortcut="shortcut", head="linear"),
    ),
    "resnet20, option A": ("resnet20_a", lambda: resnet(20, (16, 16, 32, 64), shortcut=None, head="linear")),
    "ResNet50": ("imagenet-resnet50", bottleneck_resnet),
    "wrn_16_2": ("wrn_16_2", lambda: wide_resnet(16, 2)),
    "wrn_16_1": ("wrn_16_1", lambda: wide_resnet(16, 1)),
    "vgg8": ("vgg8", lambda: vgg((1, 1, 1, 1, 1))),
    "vgg11": ("vgg11", lambda: vgg((1, 1, 2, 2, 2))),
    "MobileNetV2": ("MobileNetV2", mobile_half),
    "ShuffleV1": ("ShuffleV1", shuffle_v1),
    "ShuffleV2": ("ShuffleV2", shuffle_v2),
}
"""A layout in words -> the architecture's name, and a file of it."""
