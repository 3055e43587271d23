"""The loop over the entries: each in a process of its own, each result written as soon as the entry ends."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.gpu.entries import Entry

ROOT = Path(__file__).parents[2]
GRACE_SECONDS = 30
"""After SIGTERM, for a training to write its checkpoint."""
_TAIL = 6000


def run_entries(entries: Sequence[Entry], out: Path, *, minutes: float, values: Mapping[str, Any]) -> int:
    """Run the entries that are not done, while the minutes last.

    Args:
        entries: in order.
        out: folder of the results.
        minutes: for all of them together.
        values: of what stands in braces in the commands.

    Returns:
        0 when every entry is done; else 1.
    """
    end = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    statuses = []
    for entry in entries:
        before, left = _read(out, entry.name), end - time.monotonic()
        status, starts = before["status"], left > (0 if entry.goes_on else 60 * entry.minutes)
        if status != "done" and starts and (not entry.needs or _read(out, entry.needs)["status"] == "done"):
            result = run_entry(entry, min(60 * entry.minutes, left), values)
            result["seconds"] += before["seconds"] if status == "stopped" else 0
            _write(result, out / f"{entry.name}.json")
            status = result["status"]
        statuses.append(status)
        print(f"{entry.name}: {status}, {end - time.monotonic():.0f} s left", flush=True)
    return 0 if set(statuses) <= {"done"} else 1


def run_entry(entry: Entry, seconds: float, values: Mapping[str, Any]) -> dict[str, Any]:
    """Run one entry for at most ``seconds``; whatever happens is in the result.

    The status is "done", "failed", or "stopped" for one that ran out of time and goes on when it is run again.
    """
    command = [sys.executable, *(part.format(**values) for part in entry.command)]
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    timed_out = False
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        process.terminate()
        try:
            output, errors = process.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
    return {
        "entry": entry.name,
        "about": entry.about,
        "status": "done" if process.returncode == 0 else "stopped" if timed_out and entry.goes_on else "failed",
        "seconds": round(time.monotonic() - started, 1),
        "timed_out": timed_out,
        "exit_code": process.returncode,
        "command": command[1:],
        "result": _parsed(output),
        "errors": errors[-_TAIL:],
    }


def _parsed(output: str) -> Any:
    """The last line as JSON if it is that, else the end of the output as text."""
    try:
        return json.loads(output.strip().rpartition("\n")[2])
    except ValueError:
        return output[-_TAIL:]


def _read(out: Path, name: str) -> dict[str, Any]:
    path = out / f"{name}.json"
    content: dict[str, Any] = {"status": "left for the next call"}
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else content


def _write(result: Mapping[str, Any], path: Path) -> None:
    """Atomically, for the machine may be taken away at any moment."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
