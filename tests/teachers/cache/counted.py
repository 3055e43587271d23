"""A file system in memory that counts the ranges that are read, and fails when told to."""

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class CountedFileSystem(MemoryFileSystem):
    """Reads of a range are written down; ``failures`` are raised, or given in place of an answer, one a read."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    ranges: ClassVar[list[tuple[int, int]]] = []
    failures: ClassVar[list[Exception | bytes]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("counted://", "memory://"))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if start is not None and end is not None:
            self.ranges.append((start, end))
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        content: bytes = super().cat_file(path, start, end, **options)
        return content


fsspec.register_implementation("counted", CountedFileSystem, clobber=True)


def emptied() -> None:
    """Forget files, reads and failures."""
    for kept in (CountedFileSystem.store, CountedFileSystem.ranges, CountedFileSystem.failures):
        kept.clear()
