"""Folders at a URL: any file system that fsspec knows."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from preceptor.errors import InputError, MachineError, first_line
from preceptor.extras import import_extra
from preceptor.files import MOST_JSON_BYTES

TRIES = 4
SECONDS_BEFORE_RETRY = 1.0
"""Doubled each time."""

Answer = TypeVar("Answer")


def cache_place(text: str | Path) -> Path | str:
    """Where a cache is: a folder, or the URL of one, such as ``s3://bucket/folder``. A ``file://`` URL is a folder."""
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    return Path(text.removeprefix("file://")) if text.startswith("file://") else text.rstrip("/")


class RemoteFolder:
    """The files of a cache at a URL. What fails is tried again, with longer and longer waits.

    Args:
        url: of the folder.

    Raises:
        InputError: no protocol of fsspec.
        MachineError: fsspec, or the package for this protocol, is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        core = import_extra("fsspec.core", "remote", url)
        try:
            self._files, self._root = core.url_to_fs(url)
        except ImportError as error:
            from fsspec.registry import known_implementations

            protocol = url.partition("://")[0].rpartition("::")[2]  # of a chain, that of the store
            module = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
            remedy = f": pip install {module}" if module not in ("", "fsspec") else ""
            raise MachineError(f"{url}: a package is missing ({first_line(error)}){remedy}") from error
        except ValueError as error:
            raise InputError(f"{url}: {first_line(error)}: expected a URL such as s3://bucket/folder") from error

    def read(self, name: str) -> bytes:
        """The whole content of a file."""
        content: bytes = self._tried(name, "read", lambda: self._files.cat_file(f"{self._root}/{name}"))
        return content

    def read_json(self, name: str, remedy: str) -> Any:
        """The content of a JSON file; ``remedy`` is for the message."""
        if self.size(name) > MOST_JSON_BYTES:
            raise InputError(f"{self.url}/{name}: longer than {MOST_JSON_BYTES:,} bytes: {remedy}")
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.url}/{name}: not valid JSON: {error}: {remedy}") from error

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return int(self._tried(name, "read", lambda: self._files.size(f"{self._root}/{name}")))

    def ranges(self, name: str, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Some ranges of a file; a store that can answers them all at once."""
        paths = [f"{self._root}/{name}"] * len(starts)

        def work() -> list[bytes]:
            parts: list[bytes] = self._files.cat_ranges(paths, list(starts), list(ends), on_error="raise")
            if [len(part) for part in parts] != [end - start for start, end in zip(starts, ends, strict=True)]:
                raise OSError("the answer ended early")
            return parts

        return self._tried(name, "read", work)

    def holds(self, name: str) -> bool:
        """Whether there is such a file now."""
        self._files.invalidate_cache()
        return bool(self._tried(name, "looked for", lambda: self._files.exists(f"{self._root}/{name}")))

    def put(self, path: Path) -> None:
        """Copy a file up."""
        self._tried(path.name, "written", lambda: self._files.put_file(str(path), f"{self._root}/{path.name}"))
        self._files.invalidate_cache()

    def get(self, path: Path) -> None:
        """Copy a file down."""
        self._tried(path.name, "read", lambda: self._files.get_file(f"{self._root}/{path.name}", str(path)))

    def _tried(self, name: str, verb: str, work: Callable[[], Answer]) -> Answer:
        for number in range(1, TRIES + 1):
            try:
                return work()
            except (FileNotFoundError, NotADirectoryError) as error:
                if verb == "written":
                    raise InputError(f"{self.url}: cannot be written: {first_line(error)}: make it first") from error
                raise InputError(
                    f"{self.url}/{name}: no such file ({first_line(error)}): give the URL of a folder that "
                    "preceptor cache DIR --copy URL made"
                ) from error
            except PermissionError as error:
                raise InputError(f"{self.url}/{name}: {first_line(error)}: give the rights to it") from error
            except Exception as error:  # every store's package has errors of its own
                if number == TRIES:
                    raise MachineError(
                        f"{self.url}/{name}: could not be {verb}, tried {TRIES} times: {first_line(error)}: look after "
                        "the connection, then go on (preceptor resume, or the same command), or copy the cache to "
                        "this machine (preceptor cache URL --copy DIR)"
                    ) from error
                time.sleep(SECONDS_BEFORE_RETRY * 2 ** (number - 1))
        raise AssertionError("the last try raises")
