"""Folders that are made once, whole or not at all."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from preceptor.errors import InputError
from preceptor.files import read_json, write_whole

MADE_FILE = "made.json"
"""In every such folder: what it was made from."""


def make_once(folder: Path, origin: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    """Make a folder beside its place and rename it, unless it is there.

    Args:
        folder: to be made.
        origin: all that its content follows from, ready for JSON.
        make: fills an empty folder.

    Raises:
        InputError: a folder is there that was made from something else.
    """
    if folder.exists():
        if read_json(folder / MADE_FILE) != json.loads(json.dumps(origin)):
            raise InputError(f"{folder}: was made from other settings: remove it, or choose another --out")
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    make(part)
    write_whole({part / MADE_FILE: json.dumps(origin, indent=1).encode()})
    part.rename(folder)
