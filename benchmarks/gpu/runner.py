"""Runs entries of the GPU list one after the other, each in a process of its own, and keeps a JSON of each.

Needs nothing but Python's standard library, so that it can say what else is missing.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu.entries import ENTRIES, PROGRESS_FILE, UNFINISHED, Entry, Unfit
from benchmarks.gpu.processes import GRACE, environment_with, surroundings_of, watched

ROOT = Path(__file__).parents[2]
MARGIN = 15.0
"""Seconds before its limit in which a sliced entry is to have stopped by itself."""
LINES_SHOWN = 25

Status = Literal["done", "failed", "unfinished"]


@dataclass(frozen=True)
class Call:
    """What one call of the runner was given.

    Attributes:
        out: folder of the results.
        work: folder of what the entries keep between calls.
        data: the data file, or None.
        device: "cuda" or "cpu".
        ends: when it is to be over, on the monotonic clock.
        environment: of the processes it starts.
        surroundings: versions and machine, which go into every result.
    """

    out: Path
    work: Path
    data: Path | None
    device: str
    ends: float
    environment: Mapping[str, str]
    surroundings: Mapping[str, Any]

    def left(self) -> float:
        """Seconds left of it."""
        return self.ends - time.monotonic()

    def folder(self, entry: Entry) -> Path:
        """Where an entry keeps its work."""
        return self.work / entry.name


def record_of(out: Path, entry: Entry) -> dict[str, Any]:
    """What is known of an entry; empty when it has never been run."""
    path = out / f"{entry.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def run_next(call: Call, entries: Sequence[Entry], *, again: bool) -> bool:
    """Run what is due, in order, until the call's time is over.

    Args:
        call: of the runner.
        entries: those to look at.
        again: whether those that failed before are due.

    Returns:
        whether everything that was run went well.
    """
    ran, went_well = 0, True
    for entry in entries:
        status = record_of(call.out, entry).get("status")
        if status == "done" or (status == "failed" and not again):
            continue
        if obstacle := _obstacle(call, entry):
            print(f"{entry.name}: left out: {obstacle}")
            continue
        if call.left() < entry.minutes * 60:
            remedy = "call again" if ran else "give more --minutes"
            print(f"{entry.name}: needs {entry.minutes:g} minutes, {max(0, call.left()) / 60:.1f} are left: {remedy}")
            return went_well and ran > 0
        went_well &= _run(call, entry) != "failed"
        ran += 1
    return went_well


def _obstacle(call: Call, entry: Entry) -> str | None:
    if entry.needs_data and call.data is None:
        return "it reads CIFAR-100: give --data FILE"
    known = {each.name: each for each in ENTRIES}
    waiting = [name for name in entry.after if record_of(call.out, known[name]).get("status") != "done"]
    return f"it builds on {waiting[0]}, which is not done" if waiting else None


def _run(call: Call, entry: Entry) -> Status:
    """Start an entry, wait for it, and write down what came of it."""
    folder = call.folder(entry)
    folder.mkdir(parents=True, exist_ok=True)
    answer = folder / "answer.json"
    answer.unlink(missing_ok=True)
    limit = call.left()
    command = _filled(call, entry, answer, limit - MARGIN)
    before, progress = record_of(call.out, entry), _read(folder / PROGRESS_FILE)
    print(f"{entry.name}: {entry.about}", flush=True)
    started = time.monotonic()
    code, said = watched([sys.executable, *command], folder / "log.txt", limit, call.environment)
    seconds = time.monotonic() - started
    moved = _read(folder / PROGRESS_FILE) != progress
    status = _status(entry, code, answer.is_file(), moved)
    carried_on = before.get("status") == "unfinished"
    record = {
        "entry": entry.name,
        "about": entry.about,
        "status": status,
        "calls": 1 + (before["calls"] if carried_on else 0),
        "seconds": round(seconds + (before["seconds"] if carried_on else 0), 1),
        "command": [_told(call, word) for word in command],
        **call.surroundings,
        "progress": _read(folder / PROGRESS_FILE),
        "result": _read(answer),
        "error": _told(call, _error(code, limit, said)) if status == "failed" else None,
    }
    _write(call.out / f"{entry.name}.json", {key: value for key, value in record.items() if value is not None})
    print(f"{entry.name}: {_in_words(record)}", flush=True)
    if status == "failed":
        print("\n".join(said[-LINES_SHOWN:]), flush=True)
    return status


def _filled(call: Call, entry: Entry, answer: Path, seconds: float) -> list[str]:
    values = {
        "device": call.device,
        "folder": call.folder(entry),
        "work": call.work,
        "data": call.data,
        "seconds": f"{seconds:.0f}",
        "out": answer,
    }
    return [word.format_map(values) for word in entry.command]


def _told(call: Call, word: str) -> str:
    """Words as they are written down: without the paths of this machine."""
    for path, name in ((call.work, "WORK"), (call.data, "DATA"), (ROOT, ".")):
        word = word.replace(str(path), name) if path is not None else word
    return word


def _status(entry: Entry, code: int | None, answered: bool, moved: bool) -> Status:
    if code == 0 and answered:
        return "done"
    stopped = code == UNFINISHED or code is None
    return "unfinished" if entry.sliced and stopped and moved else "failed"


def _error(code: int | None, limit: float, said: Sequence[str]) -> str:
    if code is None:
        return f"ended after {limit:.0f} seconds, its limit"
    if code == 0:
        return "it wrote no result"
    if code == UNFINISHED:
        return "it stopped without having got any further"
    last = next((line for line in reversed(said) if line.strip()), "it printed nothing")
    return f"exit status {code}: {last.strip()}"


def _in_words(record: Mapping[str, Any]) -> str:
    progress = record.get("progress")
    if record["status"] == "unfinished" and progress:
        return f"unfinished, {progress['done']} of {progress['of']} {progress['what']}: call again"
    return f"{record['status']}, {record['seconds']:.0f} s in {record['calls']} call(s)"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def show(out: Path, entries: Sequence[Entry]) -> None:
    """Print the list and how it stands."""
    records = [record_of(out, entry) for entry in entries]
    for entry, record in zip(entries, records, strict=True):
        print(f"{entry.name:<22} {_in_words(record) if record else 'not run':<40} {entry.about}")
    if not any(records):
        print(f"\nNothing of this list has been run yet: {out} is empty, and no number of a GPU is claimed anywhere.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 unless something that was run failed or nothing could be."""
    given = _parser().parse_args(arguments)
    entries = [entry for entry in ENTRIES if given.only in (None, entry.name)]
    if not entries:
        print(f"no entry {given.only!r}: there are {', '.join(entry.name for entry in ENTRIES)}", file=sys.stderr)
        return 2
    if given.list:
        show(given.out, entries)
        return 0
    started = time.monotonic()
    work = given.work.resolve()
    try:
        environment = environment_with(work, given.wheels)
        surroundings = surroundings_of(environment)
    except Unfit as problem:
        print(problem, file=sys.stderr)
        return 3
    if given.device == "cuda" and surroundings["machine"]["gpu"] is None:
        print("torch finds no CUDA device: this list is for a machine that has one", file=sys.stderr)
        return 3
    data = given.data.resolve() if given.data else None
    ends = started + given.minutes * 60 - GRACE
    call = Call(given.out, work, data, given.device, ends, environment, surroundings)
    with _ending_what_it_started():
        return 0 if run_next(call, entries, again=given.only is not None) else 1


@contextmanager
def _ending_what_it_started() -> Iterator[None]:
    """A runner that is asked to end does so by way of its cleaning up."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Run the next entries of the GPU list.")
    parser.add_argument("--list", action="store_true", help="show the entries and how they stand, and run nothing")
    parser.add_argument("--only", metavar="NAME", help="this entry alone, also when it failed before")
    parser.add_argument("--minutes", type=float, default=9, help="how long the whole call may take; default 9")
    parser.add_argument("--data", type=Path, metavar="FILE", help="cifar100.npz, made by pack_cifar100.py unpack")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu", help="default results/gpu")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "gpu", help="states, weights; default runs/gpu")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="wheels of packages that this Python lacks")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the list out; default cuda"
    )
    return parser
