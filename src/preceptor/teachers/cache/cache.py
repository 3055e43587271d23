"""The logit cache: a teacher's outputs by sample and view, queried once and kept on the disk."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from numpy import ndarray
from torch import Tensor

from preceptor.errors import InputError, MachineError
from preceptor.files import write_whole
from preceptor.teachers.base import Teacher, TeacherOutput
from preceptor.teachers.cache.blocks import remote_entries
from preceptor.teachers.cache.codec import Codec
from preceptor.teachers.cache.locks import LOCK_FILE, PART_LOCKS, locked
from preceptor.teachers.cache.metadata import (
    METADATA_FILE,
    CacheKey,
    CacheMetadata,
    Layout,
    check_key,
    check_layout,
    read_metadata,
)
from preceptor.teachers.cache.reader import CHECKSUMS_FILE, ENTRIES_FILE, EntryReader
from preceptor.teachers.cache.store import EntryStore, create_files

Index = Int[Tensor, " n"]

_AHEAD = "give --teacher with it, or fill it ahead by preceptor cache --fill"
_ELSEWHERE = "fill or repair the cache in a local folder, and copy it by preceptor cache DIR --copy URL"


class LookupResult(NamedTuple):
    """What a cache holds of some entries, on the CPU. Rows that are not known mean nothing.

    Attributes:
        logits: in float32.
        known: which entries are filled.
    """

    logits: Float[Tensor, "n classes"]
    known: Bool[Tensor, " n"]


class LogitCache:
    """A teacher that remembers its outputs; made by :func:`open_cache`.

    It returns what the disk holds, rounded as :class:`Codec` does, also for the batch that queries the teacher: a run
    that fills the cache and a run that finds it filled see the same bits. The teacher is queried in batches of one
    fixed size, so that the output for a sample does not depend on the others of its batch: a run that goes on from a
    half-filled cache ends in the same bits too. Any number of processes of one machine may use and fill one cache.

    Args:
        folder: of the cache, or its URL, at which it is read only.
        metadata: content of its ``cache.json``.
        teacher: queried for what is missing; None makes a missing entry an error.
        batch_size: of the queries, best that of the training. Default 64.

    Raises:
        InputError: a file of the cache is damaged.
    """

    looks_outputs_up: ClassVar[bool] = True

    def __init__(
        self, folder: Path | str, metadata: CacheMetadata, teacher: Teacher | None = None, batch_size: int = 64
    ) -> None:
        self.folder, self.metadata, self.teacher, self.batch_size = folder, metadata, teacher, batch_size
        self.layout = metadata.layout
        self.codec = Codec(self.layout)
        seed = metadata.checksum_seed
        self.store: EntryReader = (
            remote_entries(folder, self.layout, seed)
            if isinstance(folder, str)
            else EntryStore(folder, self.layout, seed)
        )

    @property
    def writable(self) -> EntryStore:
        """Its entries, to be added to.

        Raises:
            InputError: it is read at a URL.
        """
        if isinstance(self.store, EntryStore):
            return self.store
        raise InputError(f"cache {self.folder}: is at a URL and is only read there: {_ELSEWHERE}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.layout.classes

    @property
    def count(self) -> int:
        """Number of filled entries."""
        return self.store.count

    def is_filled(self, index: Index, view: Index) -> Bool[Tensor, " n"]:
        """Which entries are filled, without reading them.

        Raises:
            InputError: an index or view that the cache does not have.
        """
        return torch.from_numpy(self.store.is_filled(self._entries(index, view)))

    def lookup(self, index: Index, view: Index) -> LookupResult:
        """What is cached of any number of entries, a whole epoch's for example; the teacher is not queried.

        Raises:
            InputError: a damaged record, or an index or view that the cache does not have.
        """
        known, records = self.store.read(self._entries(index, view))
        return LookupResult(self.codec.logits(records), torch.from_numpy(known))

    @torch.no_grad()
    def outputs(self, inputs: Any, index: Index, view: Index) -> TeacherOutput:
        """Logits in float32 on the inputs' device; see ``Teacher``. The teacher is queried for missing rows only.

        Raises:
            InputError: a missing entry and no teacher; a damaged record; logits that are not finite; an index or view
                that the cache does not have. Sample and view are named.
            MachineError: the teacher's outputs cannot be written.
        """
        missing = ~self.is_filled(index, view)
        if self.teacher is not None and missing.any():
            rows = missing.nonzero().flatten()
            self.query_and_store(_rows(inputs, rows), index[rows], view[rows])
        logits, known = self.lookup(index, view)
        if not known.all():
            first, more = int((~known).nonzero()[0]), int((~known).sum()) - 1
            others = f" and {more} more of this batch" if more else ""
            raise InputError(
                f"cache {self.folder}: nothing cached for sample {int(index[first])}, view {int(view[first])}{others}: "
                f"{self.remedy}"
            )
        device = next(iter(inputs.values())).device if isinstance(inputs, Mapping) else inputs.device
        if device.type != "cuda":
            return TeacherOutput(logits.to(device))
        # From pageable memory the copy would wait for the device.
        return TeacherOutput(logits.pin_memory().to(device, non_blocking=True))

    @torch.no_grad()
    def query_and_store(self, inputs: Any, index: Index, view: Index) -> None:
        """Query the teacher about all of these, and keep its outputs where nothing is kept yet.

        Raises:
            InputError: no teacher, or one that returns something else than finite logits of this cache's classes.
            MachineError: the outputs cannot be written.
        """
        if self.teacher is None:
            raise InputError(f"cache {self.folder}: no teacher to query: give --teacher with it")
        entries = self._entries(index, view)
        # One fixed size, since a processor may sum in another order in a batch of another size. The first sample makes
        # up the last batch: any teacher takes it.
        for rows in torch.arange(len(index)).split(self.batch_size):
            padded = torch.cat([rows, rows[:1].expand(self.batch_size - len(rows))]) if len(rows) else rows
            logits = self.teacher.outputs(_rows(inputs, padded), index[padded], view[padded]).logits[: len(rows)]
            self._check(logits, index[rows], view[rows])
            self.writable.add(entries[rows.numpy()], self.codec.encode(logits))

    @property
    def remedy(self) -> str:
        """What to do where an entry is missing."""
        return _AHEAD if isinstance(self.store, EntryStore) else _ELSEWHERE

    def close(self) -> None:
        """Flush, and let go of the files."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _entries(self, index: Index, view: Index) -> Int64[ndarray, " n"]:
        """Numbers of the entries, within range: a negative one would quietly be that of another sample."""
        columns = []
        for name, numbers, count in (("sample", index, self.layout.samples), ("view", view, self.layout.views)):
            column = numbers.cpu().numpy().astype(np.int64, copy=False)
            if len(column) and not (column.min() >= 0 and column.max() < count):
                wrong = int(column[(column < 0) | (column >= count)][0])
                raise InputError(f"cache {self.folder}: {name} is {wrong}; expected 0 to {count - 1}")
            columns.append(column)
        return columns[0] * self.layout.views + columns[1]

    def _check(self, logits: Tensor, index: Index, view: Index) -> None:
        """Refuse what must not be kept."""
        if logits.shape != (len(index), self.classes):
            raise InputError(
                f"cache {self.folder}: the teacher returned {logits.shape[-1]} logits; expected {self.classes}"
            )
        # In float64 a logit may be finite and too large for float32.
        bad = (~logits.float().isfinite().all(dim=1)).nonzero().flatten().tolist()
        if bad:
            raise InputError(
                f"cache {self.folder}: the teacher's logits are not finite for {len(bad)} of {len(logits)} images, the "
                f"first sample {int(index[bad[0]])}, view {int(view[bad[0]])}: nothing of this batch is kept; check "
                "its weights and its input"
            )


def open_cache(
    folder: Path | str,
    key: CacheKey,
    layout: Layout | None = None,
    teacher: Teacher | None = None,
    batch_size: int = 64,
) -> LogitCache:
    """The cache in a folder, made if there is none.

    Args:
        folder: absent, empty, or of a cache; or the URL of a filled cache, whose teacher is never queried.
        key: of what the cache is to be used for.
        layout: of the cache to be made, which an existing one must have too. None takes the existing one's.
        teacher: queried for what the cache does not hold yet.
        batch_size: of the queries, best that of the training. Default 64.

    Raises:
        InputError: the cache is of something else (every part of the key that differs is named) or has another layout;
            it is damaged; there is none and no layout; the folder holds something else; ``layout`` and ``key`` differ
            in classes.
        MachineError: the folder cannot be written.
    """
    if layout is not None and layout.classes != len(key.class_names):
        raise InputError(f"cache {folder}: {layout.classes} classes but {len(key.class_names)} class names")
    if layout is not None and isinstance(folder, Path) and not (folder / METADATA_FILE).exists():
        _create(folder, CacheMetadata(layout=layout, key=key))
    metadata = read_metadata(folder)
    check_key(folder, metadata.key, dict(key))
    if layout is not None:
        check_layout(folder, metadata.layout, layout)
    return LogitCache(folder, metadata, teacher if isinstance(folder, Path) else None, batch_size)


def open_readonly(folder: Path | str) -> LogitCache:
    """The cache in a folder or at a URL, whatever its key, to inspect and to verify; not to train with.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return LogitCache(folder, read_metadata(folder))


def _create(folder: Path, metadata: CacheMetadata) -> None:
    """Make the files of an empty cache, unless another process is first; ``cache.json`` last."""
    make_folder(folder)
    with locked(folder):
        if not (folder / METADATA_FILE).exists():
            create_files(folder, metadata.layout)
            write_whole({folder / METADATA_FILE: (metadata.model_dump_json(indent=2) + "\n").encode()})


def make_folder(folder: Path) -> None:
    """Make a folder for a cache, unless it is there; another process may be making a cache in it.

    Raises:
        InputError: it holds something else.
        MachineError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be made: {error.strerror}: choose another folder") from error
    # Unfinished files begin with a dot.
    own = (LOCK_FILE, PART_LOCKS, ENTRIES_FILE, CHECKSUMS_FILE, f".{METADATA_FILE}")
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith(own))
    if others and not (folder / METADATA_FILE).exists():  # looked for last
        raise InputError(f"{folder}: holds {others[0]!r} but no cache: choose a folder that is new or empty")


def _rows(inputs: Any, rows: Index) -> Any:
    """Some rows of a batch: of a tensor, or of each tensor by name."""
    if isinstance(inputs, Mapping):
        return {name: tensor[rows.to(tensor.device)] for name, tensor in inputs.items()}
    return inputs[rows.to(inputs.device)]
