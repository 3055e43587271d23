"""Where fuzz targets enlist: each takes a stranger's bytes, and lets nothing out but the project's own errors."""

import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from preceptor.errors import PreceptorError

Target = Callable[[Path, bytes], None]


@dataclass(frozen=True)
class Fuzzed:
    """An entry point for a stranger's bytes.

    Attributes:
        run: is given an empty folder to work in and the bytes; raises if the entry point does what it must not.
        seeds: input to start from, of which the first is sound.
    """

    run: Target
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Fuzzed] = {}


def target(seeds: Callable[[], list[bytes]]) -> Callable[[Target], Target]:
    def add(run: Target) -> Target:
        TARGETS[run.__name__] = Fuzzed(run, seeds)
        return run

    return add


def attempt(name: str, folder: Path, content: bytes) -> None:
    """Run a target in a folder that is emptied first; whatever is no ``PreceptorError`` gets out."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(PreceptorError):
            TARGETS[name].run(folder, content)
