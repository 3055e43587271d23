"""Reads the records in the file of an offline W&B run: LevelDB's log format, behind a header of seven bytes."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 2**15


def records(path: Path) -> list[Record]:
    """The records of a run that was finished. W&B's own process writes them, and may end a little later."""
    deadline = time.monotonic() + 60
    while True:
        read = list(_records(path.read_bytes()))
        if any(record.WhichOneof("record_type") == "exit" for record in read):
            return read
        assert time.monotonic() < deadline, f"{path} has no end"
        time.sleep(0.05)


def _records(content: bytes) -> Iterator[Record]:
    place, parts = 7, b""
    while place + 7 <= len(content):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        if kind == 0 or place + 7 + length > len(content):  # not written yet
            return
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def key_of(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def histories(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """What was logged, by name: steps and values."""
    logged: dict[str, list[tuple[int, Any]]] = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            for item in record.history.item:
                logged.setdefault(key_of(item), []).append((record.history.step.num, json.loads(item.value_json)))
    return logged
