"""Images that are decoded when they are needed, so that memory does not grow with their number."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from preceptor.data.augmentation import Augmentation, ResizedCrops
from preceptor.data.images import Frame, ImageSpec, read_pixels
from preceptor.errors import InputError

BATCHES_AHEAD = 2
"""Batches that are being decoded while the networks work on the one before."""

DECODED_AT_ONCE = 4
"""Images that a thread decodes before it takes the next: fewer cost more in between, more leave threads idle."""

DIGESTED = 2**11
"""Bytes of the beginning and of the end of an encoded image that tell it from others of its length."""


class EncodedSource(Protocol):
    """Encoded images by position: those of a folder, of a table, of archives."""

    def __len__(self) -> int: ...

    def open(self, position: int) -> tuple[Path, BinaryIO | None]:
        """The file, or the name in messages and the content of what is no file of its own.

        Called by several threads at a time.

        Raises:
            InputError: it cannot be read.
        """
        ...


class EncodedImages:
    """Images of a source, where a uint8 tensor [n, channels, height, width] of them would be too large.

    Like such a tensor it has a length, a shape and a device, and can be indexed, which decodes: by a number, a slice, a
    list, or a tensor of positions. Its threads decode side by side, and :meth:`split` and :meth:`batches` ahead of
    their use.

    Args:
        source: of the encoded images.
        spec: that each is brought to.
        positions: which of the source's images; None is all.
        device: that decoded images are put on.
    """

    def __init__(
        self,
        source: EncodedSource,
        spec: ImageSpec,
        positions: Int[Tensor, " n"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.source, self.spec = source, spec
        self.positions = torch.arange(len(source)) if positions is None else positions.cpu()
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> torch.Size:
        """[n, channels, height, width], as of a tensor."""
        return torch.Size((len(self), self.spec.channels, self.spec.height, self.spec.width))

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Tensor:
        """Decoded, the center of each: [channels, height, width] of a number, else [k, channels, height, width]."""
        if isinstance(index, int):
            return self._read(int(self.positions[index]), None).to(self.device)
        positions = self.positions[index.cpu() if isinstance(index, Tensor) else index]
        return next(self._decoded([[(position, None) for position in positions.tolist()]]))

    def take(self, index: Int[Tensor, " k"] | list[int]) -> "EncodedImages":
        """Some of them, not decoded."""
        index = index.cpu() if isinstance(index, Tensor) else index
        return EncodedImages(self.source, self.spec, self.positions[index], self.device)

    def to(self, device: torch.device | str) -> "EncodedImages":
        """The same images, put on another device when they are decoded."""
        return EncodedImages(self.source, self.spec, self.positions, device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All of them, decoded, ``size`` at a time; what comes next is decoded ahead."""
        return self._decoded([(position, None) for position in part.tolist()] for part in self.positions.split(size))

    def batches(
        self, parts: Iterable[tuple[Tensor, Tensor]], augmentation: Augmentation
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        """Batches in augmented views, decoded ahead.

        Resized crops are cut out of the whole image, not out of its center.

        Args:
            parts: of each batch, indices among these images and numbers of the views, on the CPU.
            augmentation: whose views they are.
        """
        crops = augmentation if isinstance(augmentation, ResizedCrops) else None
        views: deque[Tensor] = deque()

        def requests() -> Iterator[list[tuple[int, Frame | None]]]:
            for index, view in parts:
                views.append(view)
                frames = [
                    None if crops is None or number == crops.identity else partial(crops.frame, number)
                    for number in view.tolist()
                ]
                yield list(zip(self.positions[index].tolist(), frames, strict=True))

        for images in self._decoded(requests()):
            view = views.popleft().to(self.device)
            yield augmentation.apply(images, view) if crops is None else crops.flip_views(images, view)

    def unreadable(self) -> dict[int, InputError]:
        """By position, why an image cannot be decoded; every image is decoded once."""

        def error_of(position: int) -> InputError | None:
            try:
                self._read(position, None)
            except InputError as error:
                return error
            return None

        errors = zip(self.positions.tolist(), _threads(os.getpid()).map(error_of, self.positions.tolist()), strict=True)
        return {position: error for position, error in errors if error is not None}

    def digests(self) -> list[bytes]:
        """128 bits of each encoded image, from its length, beginning and end: copies of a file have equal ones."""
        return list(_threads(os.getpid()).map(self._digest, self.positions.tolist()))

    def _digest(self, position: int) -> bytes:
        path, content = self.source.open(position)
        try:
            with path.open("rb") if content is None else content as file:
                beginning, size = file.read(DIGESTED), file.seek(0, os.SEEK_END)
                file.seek(max(0, size - DIGESTED))
                return hashlib.blake2b(b"%d " % size + beginning + file.read(), digest_size=16).digest()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it or remove it") from error

    def _read(self, position: int, frame: Frame | None) -> UInt8[Tensor, "channels height width"]:
        path, file = self.source.open(position)
        return read_pixels(path, self.spec, file, frame)

    def _decoded(self, requests: Iterable[list[tuple[int, Frame | None]]]) -> Iterator[Tensor]:
        """Each request as a tensor on the device, while those that follow are being decoded."""
        waiting: deque[tuple[Tensor, list[Future[None]]]] = deque()
        pool = _threads(os.getpid())

        def fill(images: Tensor, first: int, some: list[tuple[int, Frame | None]]) -> None:
            for row, (position, frame) in enumerate(some, start=first):
                images[row] = self._read(position, frame)

        def begin(request: list[tuple[int, Frame | None]]) -> tuple[Tensor, list[Future[None]]]:
            shape, pinned = (len(request), *self.shape[1:]), self.device.type == "cuda"
            images = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
            firsts = range(0, len(request), DECODED_AT_ONCE)
            return images, [pool.submit(fill, images, n, request[n : n + DECODED_AT_ONCE]) for n in firsts]

        try:
            for request in chain(requests, [None] * BATCHES_AHEAD):
                if request is not None:
                    waiting.append(begin(request))
                if len(waiting) > BATCHES_AHEAD or (request is None and waiting):
                    images, parts = waiting[0]
                    for part in parts:
                        part.result()
                    waiting.popleft()
                    yield images.to(self.device, non_blocking=True)
        finally:
            for _, parts in waiting:
                for part in parts:
                    part.cancel()


Images = UInt8[Tensor, "n channels height width"] | EncodedImages
"""Pixels in memory, or images that are decoded when they are indexed."""


def joined(first: Images, second: Images) -> Images:
    """The images of one, followed by those of the other; encoded ones are of one source."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    assert isinstance(first, EncodedImages)
    assert isinstance(second, EncodedImages)
    assert first.source is second.source
    return EncodedImages(first.source, first.spec, torch.cat([first.positions, second.positions]), first.device)


def views_of(
    images: Images, index: Int[Tensor, " batch"], view: Int[Tensor, " batch"], augmentation: Augmentation
) -> UInt8[Tensor, "batch channels height width"]:
    """Some images in augmented views, on the images' device; index and view are on the CPU."""
    if isinstance(images, EncodedImages):
        return next(images.batches([(index, view)], augmentation))
    return augmentation.apply(images[index.to(images.device)], view.to(images.device))


def taken(images: Images, index: Int[Tensor, " k"]) -> Images:
    """Some of the images; those of a tensor are copied, encoded ones stay encoded."""
    return images[index] if isinstance(images, Tensor) else images.take(index)


@lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    """The threads of this process, one a core that it may use: threads do not survive a fork.

    Pillow lets other threads run while it decodes and scales.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(cores, thread_name_prefix="decode")
