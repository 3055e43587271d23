"""The cache: a teacher's logits by sample and view, asked for once and kept on the disk."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from preceptor.errors import InputError, MachineError
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache.codec import LOWEST, Codec, Records
from preceptor.teachers.cache.features import FeatureSignal
from preceptor.teachers.cache.layout import Layout
from preceptor.teachers.cache.lock import LOCK_FILE, locked
from preceptor.teachers.cache.metadata import (
    CARD_FILE,
    CacheKey,
    CacheMetadata,
    check_fingerprint,
    check_layout,
    read_card,
    write_card,
)
from preceptor.teachers.cache.store import Store


@dataclass(frozen=True)
class LookupResult:
    """What a cache holds of some cells, on the CPU; rows of empty cells mean nothing.

    Attributes:
        known: which cells are filled.
        logits: in float32.
        features: in float32; None when the cache keeps none.
    """

    known: Bool[Tensor, " n"]
    logits: Float[Tensor, "n classes"]
    features: Float[Tensor, "n dims"] | None


class LogitCache:
    """A signal that remembers; made by :func:`open_cache`.

    What it says is what the disk holds, rounded as :class:`Codec` does, also in the batch that asks the teacher: a run
    that fills the cache and one that finds it filled see the same bits, also where a process was killed while it filled
    the cache: of what the teacher was asked about at a time everything is kept, or nothing. Any number of processes of
    one machine may use and fill the same cache.

    Args:
        folder: of the cache.
        card: its content.
        live: asked for what is missing; None makes a missing cell an error.

    Raises:
        InputError: a file of the cache is damaged, or it keeps features and the live signal gives none.
        MachineError: a killed process left a batch half kept, and the rest cannot be written.
    """

    def __init__(self, folder: Path, card: CacheMetadata, live: Teacher | None) -> None:
        self.folder, self.card, self.live = folder, card, live
        self.layout = card.layout
        if live is not None and self.layout.features and not isinstance(live, FeatureSignal):
            raise InputError(f"cache {folder}: keeps features, which this teacher does not give: use one that does")
        self.codec = Codec(self.layout)
        self.store = Store(folder, self.layout, card.seed)
        if live is not None:
            self.store.finish()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.layout.classes

    @torch.no_grad()
    def outputs(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> TeacherOutput:
        """Logits in float32 on the images' device; see ``Teacher``. The live signal is asked for missing rows only.

        Raises:
            InputError: a missing cell and no live signal; a damaged record; logits that are not finite; an index or
                view the cache has not. Sample and view are named.
            MachineError: what the teacher said cannot be written.
        """
        return TeacherOutput(_moved(self.codec.logits(self._fetched(images, index, view)), images.device))

    @torch.no_grad()
    def said_with_features(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch dims"]]:
        """Logits as by :meth:`said`, and the pooled features beside them.

        Raises:
            InputError: as by :meth:`said`, or the cache keeps no features.
        """
        if not self.layout.features:
            raise InputError(f"cache {self.folder}: keeps no features: fill one that does in another folder")
        records = self._fetched(images, index, view)
        logits, features = self.codec.logits(records), self.codec.features(records)
        return _moved(logits, images.device), _moved(features, images.device)

    def lookup(self, index: Int[Tensor, " n"], view: Int[Tensor, " n"]) -> LookupResult:
        """What is there of any number of cells, a whole epoch's for example, without asking anybody.

        Raises:
            InputError: a damaged record, or an index or view the cache has not.
        """
        known, records = self.store.read(self._cells(index, view))
        features = self.codec.features(records) if self.layout.features else None
        return LookupResult(torch.from_numpy(known), self.codec.logits(records), features)

    @torch.no_grad()
    def learn(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> None:
        """Ask the live signal about all of these and keep what it says, where nothing is kept yet.

        Raises:
            InputError: no live signal, or one that gives something else than finite logits of this cache's classes.
            MachineError: it cannot be written.
        """
        if self.live is None:
            raise InputError(f"cache {self.folder}: no teacher to fill it from: give one")
        features = None
        if self.layout.features and isinstance(self.live, FeatureSignal):
            logits, features = self.live.said_with_features(images, index, view)
        else:
            logits = self.live.outputs(images, index, view).logits
        self._check(logits, features, index, view)
        self.store.add(self._cells(index, view), self.codec.encode(logits, features))

    def flush(self) -> None:
        """Bring what was written to the disk; what is written survives the process in any case.

        Raises:
            MachineError: the disk refuses.
        """
        self.store.flush()

    def close(self) -> None:
        """Flush, and let go of the files."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetched(
        self,
        images: UInt8[Tensor, "batch channels height width"],
        index: Int[Tensor, " batch"],
        view: Int[Tensor, " batch"],
    ) -> Records:
        cells = self._cells(index, view)
        known, records = self.store.read(cells)
        if known.all():
            return records
        if self.live is None:
            raise self._missing(cells[~known])
        if known.any():
            places = torch.from_numpy(np.flatnonzero(~known))
            self.learn(images[places.to(images.device)], index[places], view[places])
        else:
            self.learn(images, index, view)
        return self.store.read(cells)[1]

    def _cells(self, index: Int[Tensor, " n"], view: Int[Tensor, " n"]) -> Int64[ndarray, " n"]:
        samples, views = (numbers.cpu().numpy().astype(np.int64, copy=False) for numbers in (index, view))
        self._check_range("sample", samples, self.layout.samples)
        self._check_range("view", views, self.layout.views)
        return samples * self.layout.views + views

    def _check_range(self, name: str, numbers: Int64[ndarray, " n"], count: int) -> None:
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < count):
            wrong = int(numbers[(numbers < 0) | (numbers >= count)][0])
            raise InputError(f"cache {self.folder}: {name} {wrong}: it has {name}s 0 to {count - 1}")

    def _missing(self, cells: Int64[ndarray, " n"]) -> InputError:
        more = f" and {len(cells) - 1} more of this batch" if len(cells) > 1 else ""
        return InputError(
            f"cache {self.folder}: nothing kept for {self._named(int(cells[0]))}{more}: "
            "fill it ahead, or give the teacher with it"
        )

    def _named(self, cell: int) -> str:
        sample, view = divmod(cell, self.layout.views)
        return f"sample {sample}, view {view}"

    def _check(
        self, logits: Tensor, features: Tensor | None, index: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> None:
        """Refuse what must not be kept."""
        if logits.shape != (len(index), self.layout.classes):
            raise InputError(
                f"cache {self.folder}: is for {self.layout.classes} classes, the teacher gave {logits.shape[-1]}"
            )
        bad = ~logits.isfinite().all(dim=1)
        self._refuse(bad, "logits that are not finite", index, view)
        if features is not None:
            if features.shape != (len(index), self.layout.features):
                raise InputError(
                    f"cache {self.folder}: is for {self.layout.features} features, the teacher gave {features.shape[-1]}"
                )
            bad = ~(features.abs() <= -LOWEST).all(dim=1)
            self._refuse(bad, f"features that float16 cannot hold (up to {-LOWEST:.0f})", index, view)

    def _refuse(self, bad: Bool[Tensor, " n"], what: str, index: Int[Tensor, " n"], view: Int[Tensor, " n"]) -> None:
        places = bad.nonzero().flatten().tolist()
        if places:
            first = int(index[places[0]]), int(view[places[0]])
            raise InputError(
                f"cache {self.folder}: the teacher gave {what} for {len(places)} of {len(bad)} images, the first "
                f"sample {first[0]}, view {first[1]}: nothing of this batch is kept; check its weights and its input"
            )


def open_cache(
    folder: Path, fingerprint: CacheKey, layout: Layout | None = None, live: Teacher | None = None
) -> LogitCache:
    """The cache in a folder, made if there is none.

    Args:
        folder: absent, empty, or holding a cache.
        fingerprint: of what the cache is to be used for.
        layout: of the cache to be made, which one that is there must have too, but for the size of its files. None
            takes the one that is there.
        live: says what the cache does not hold yet.

    Raises:
        InputError: the cache is of something else (every part is named) or has another layout; it is damaged; there is
            none and no layout; the folder holds something else; ``layout`` and ``fingerprint`` differ in classes.
        MachineError: the folder cannot be written.
    """
    if layout is not None and layout.classes != len(fingerprint.class_names):
        raise InputError(f"cache {folder}: {layout.classes} classes but {len(fingerprint.class_names)} class names")
    if layout is not None and not (folder / CARD_FILE).exists():
        _make(folder, CacheMetadata(layout=layout, fingerprint=fingerprint))
    card = read_card(folder)
    check_fingerprint(folder, card.fingerprint, fingerprint)
    if layout is not None:
        check_layout(folder, card.layout, layout)
    return LogitCache(folder, card, live)


def open_readonly(folder: Path) -> LogitCache:
    """The cache in a folder whatever it is of, to look at and to verify; not to train with.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return LogitCache(folder, read_card(folder), None)


def _make(folder: Path, card: CacheMetadata) -> None:
    """Write the card, unless another process is first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be made: {error.strerror}: choose another folder") from error
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith((LOCK_FILE, f".{CARD_FILE}")))
    if others and not (folder / CARD_FILE).exists():  # asked last: another process may be making it
        raise InputError(f"{folder}: holds {others[0]!r} but no cache: choose a folder that is new or empty")
    with locked(folder):
        if not (folder / CARD_FILE).exists():
            write_card(folder, card)


def _moved(values: Tensor, device: torch.device) -> Tensor:
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)  # from pageable memory the copy would wait for the device
