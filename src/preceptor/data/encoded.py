"""Images that are decoded when they are needed, so that memory does not grow with their number."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from preceptor.data.augmentation import Augmentation, ResizedCrops
from preceptor.data.composition import steps_of
from preceptor.data.images import Frame, ImageSpec, read_header, read_pixels
from preceptor.data.lazy import LazyInputs, Request
from preceptor.errors import InputError
from preceptor.launched import processes_here

BATCHES_AHEAD = 2
"""Batches that are being decoded while the networks work on the one before."""

DECODED_AT_ONCE = 4
"""Images that a thread decodes before it takes the next: fewer cost more in between, more leave threads idle."""

LOOKED_AT_ONCE, LOOKS_AHEAD = 32, 16
"""Images that a thread looks at before it hands on what it saw, and how many such parts wait at most."""

DIGESTED = 2**11
"""Bytes of the beginning and of the end of an encoded image that tell it from others of its length."""

Result = TypeVar("Result")


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


class EncodedImages(LazyInputs):
    """Images of a source, where a uint8 tensor [n, channels, height, width] of them would be too large.

    Threads decode side by side, ahead of the images' use. Resized crops, alone or first of a composition, are cut out
    of the whole image, not out of its center.

    Args:
        source: of the encoded images.
        spec: that each is brought to.
        rows: which of the source's images; None is all.
        device: that decoded images are put on.
    """

    def __init__(
        self,
        source: EncodedSource,
        spec: ImageSpec,
        rows: Int[Tensor, " n"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(torch.arange(len(source)) if rows is None else rows, device)
        self.source, self.spec = source, spec

    def replaced(self, rows: Int[Tensor, " n"], device: torch.device | str) -> "EncodedImages":
        return EncodedImages(self.source, self.spec, rows, device)

    @property
    def shape(self) -> torch.Size:
        """[n, channels, height, width], as of a tensor."""
        return torch.Size((len(self), self.spec.channels, self.spec.height, self.spec.width))

    def batches(
        self, requests: Iterable[Request], augmentation: Augmentation | None = None
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        views: deque[Tensor | None] = deque()

        def to_decode() -> Iterator[list[tuple[int, Frame | None]]]:
            for index, view in requests:
                views.append(view)
                yield list(zip(self.rows[index].tolist(), _frames(index, view, augmentation), strict=True))

        for images in self._decoded(to_decode()):
            view = views.popleft()
            if view is not None and augmentation is not None:
                for step, (part, own) in enumerate(steps_of(augmentation, view.to(self.device))):
                    if step == 0 and isinstance(part, ResizedCrops):
                        images = part.flip_views(images, own)  # they are cut already
                    else:
                        images = part.apply(images, own)
            yield images

    def picture(self, index: int, side: int) -> UInt8[Tensor, "channels height width"]:
        """One image whole and in its own shape, for people to look at; no side is longer than ``side`` pixels."""
        position = int(self.rows[index])
        path, file = self.source.open(position)
        width, height = read_header(path, file, exif=self.spec.exif).size
        scale = min(1, side / max(width, height))
        spec = replace(self.spec, width=max(1, round(scale * width)), height=max(1, round(scale * height)), crop=1.0)
        path, file = self.source.open(position)
        return read_pixels(path, spec, file)

    def digests(self) -> list[bytes]:
        """128 bits of each encoded image, from its length, beginning and end: copies of a file have equal ones."""
        return [row.tobytes() for row in digests(self.source, self.rows.numpy())]

    def identity(self) -> str:
        return str(self.spec)

    def unreadable(self) -> dict[int, InputError]:
        """By position, why an image cannot be decoded; every image is decoded once."""

        def error_of(position: int) -> InputError | None:
            try:
                self._read(position, None)
            except InputError as error:
                return error
            return None

        rows = self.rows.tolist()
        return {row: error for row, error in zip(rows, side_by_side(error_of, rows), strict=True) if error is not None}

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


def side_by_side(function: Callable[[int], Result], rows: Iterable[int]) -> Iterator[Result]:
    """What a function returns for each position, in order, by the threads that decode; few results wait."""
    pool, remaining = _threads(os.getpid()), iter(rows)
    waiting: deque[Future[list[Result]]] = deque()

    def of_some(some: list[int]) -> list[Result]:
        return [function(position) for position in some]

    try:
        while some := list(islice(remaining, LOOKED_AT_ONCE)):
            waiting.append(pool.submit(of_some, some))
            if len(waiting) > LOOKS_AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for part in waiting:
            part.cancel()


def digests(
    source: EncodedSource, rows: NDArray[np.int64], errors: dict[int, InputError] | None = None
) -> NDArray[np.uint8]:
    """128 bits of encoded images, from length, beginning and end of each: [k, 16]. A source is read once for them.

    Args:
        source: of the images.
        rows: among those of the source.
        errors: takes, by position, what cannot be read, and has zeros for a digest; None raises it.

    Raises:
        InputError: one cannot be read.
    """
    if source not in _DIGESTS:
        _DIGESTS[source] = np.zeros((len(source), 16), dtype=np.uint8), np.zeros(len(source), dtype=bool)
    values, known = _DIGESTS[source]

    def digest(position: int) -> bytes | InputError:
        try:
            with opened(source, position) as file:
                beginning, size = file.read(DIGESTED), file.seek(0, os.SEEK_END)
                file.seek(max(0, size - DIGESTED))
                return hashlib.blake2b(b"%d " % size + beginning + file.read(), digest_size=16).digest()
        except InputError as error:
            if errors is None:
                raise
            return error

    missing = rows[~known[rows]].tolist()
    for position, result in zip(missing, side_by_side(digest, missing), strict=True):
        if isinstance(result, bytes):
            values[position], known[position] = np.frombuffer(result, dtype=np.uint8), True
        elif errors is not None:
            errors[position] = result
    return values[rows]


_DIGESTS: WeakKeyDictionary[EncodedSource, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = WeakKeyDictionary()
"""The digests of each source that is in use, and which of them are known."""


@contextmanager
def opened(source: EncodedSource, position: int) -> Iterator[BinaryIO]:
    """The content of an encoded image; what cannot be read is an ``InputError``."""
    path, content = source.open(position)
    try:
        with path.open("rb") if content is None else content as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); allow reading it or remove it") from error


def _frames(index: Tensor, view: Tensor | None, augmentation: Augmentation | None) -> list[Frame | None]:
    """What to cut out of each image before anything else is done with it; None is its center."""
    if view is None or augmentation is None:
        return [None] * len(index)
    first, own = steps_of(augmentation, view)[0]
    if not isinstance(first, ResizedCrops):
        return [None] * len(index)
    return [None if number == first.identity else partial(first.frame, number) for number in own.tolist()]


@lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    """The threads of this process, one a core of its share: threads do not survive a fork.

    Pillow lets other threads run while it decodes and scales.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(max(1, cores // processes_here()), thread_name_prefix="decode")
