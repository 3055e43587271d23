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
GRACE_SECONDS = 45
"""After SIGTERM, for a training to write its checkpoint."""
_TAIL = 6000


def run_entries(entries: Sequence[Entry], out: Path, *, minutes: float, values: Mapping[str, str]) -> int:
    """Run the entries whose result is missing, or that were stopped, while the minutes last.

    Args:
        entries: in order.
        out: folder of the results.
        minutes: no entry starts that needs more than is left of them.
        values: of the placeholders in the commands.

    Returns:
        0 when every entry is done; else 1.
    """
    end = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    statuses = []
    for entry in entries:
        path = out / f"{entry.name}.json"
        before = json.loads(path.read_text(encoding="utf-8"))["status"] if path.exists() else None
        left = end - time.monotonic()
        if before in ("done", "failed"):
            statuses.append(before)
            print(f"{entry.name}: {before} before", flush=True)
        elif 60 * entry.minutes > left:
            statuses.append("left")
            print(f"{entry.name}: left for the next call, needs {entry.minutes:g} minutes", flush=True)
        else:
            result = run_entry(entry, min(120 * entry.minutes, left), values)
            _write(result, path)
            statuses.append(result["status"])
            print(f"{entry.name}: {result['status']} after {result['seconds']:.0f} s", flush=True)
    return 0 if set(statuses) <= {"done"} else 1


def run_entry(entry: Entry, seconds: float, values: Mapping[str, str]) -> dict[str, Any]:
    """Run one entry for at most ``seconds``; whatever happens is in the result.

    The status is "done", "failed", or "stopped" for a training that ran out of time and can be resumed.
    """
    command = [sys.executable, *(part.format(**values) for part in entry.command)]
    folder = Path(entry.run.format(**values))
    if entry.run and (folder / "run.yaml").exists():
        command = [sys.executable, "-m", "preceptor", "resume", str(folder), "--json"]
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
    can_resume = timed_out and bool(entry.run) and (folder / "run.yaml").exists()
    return {
        "entry": entry.name,
        "about": entry.about,
        "status": "done" if process.returncode == 0 else "stopped" if can_resume else "failed",
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


def _write(result: Mapping[str, Any], path: Path) -> None:
    """Atomically, for the machine may be taken away at any moment."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
