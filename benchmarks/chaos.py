"""Kills a small run again and again, damages what it left, and sees whether it ends in the same bits as if left alone.

``python benchmarks/chaos.py --kills 200`` exits with 0 only when every end is bit-equal; its last line is a summary. A
process is killed by SIGKILL at a random instant, so also while it writes a checkpoint. Between a kill and the next
start the newest checkpoint is at times truncated, has a bit flipped, or is torn (its first half alone is there, beside
it a part that was never renamed); and where root may mount a small disk, a run also meets one that is full. Every other
run asks its teacher through a cache that it fills, so that it is killed in the midst of that as well.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from preceptor.errors import MachineError
from preceptor.run import resolve, resume, run
from preceptor.run.train import CHECKPOINT_FOLDER

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "train_images": 60,
    "training": {"epochs": 3, "batch_size": 16},
    "device": "cpu",
    "student": "convnet4",
}
RECIPE: dict[str, Any] = {
    "selection": {"name": "el2n", "keep": 0.7},
    "correction": "label_revision",
    "temperature": {"name": "fixed", "temperature": 2.0},
    "terms": {
        "ce": {"label_loss": "cross_entropy", "until": 0.5},
        "uncertainty": {"label_loss": "self_adaptive", "since": 0.5},
        "kl": {"loss": "kl"},
    },
}
"""It has all that can be lost on the way: scores, beliefs by sample, terms that come and go."""

FAULTS = ("none", "none", "truncated", "flipped", "torn")
DISK_KIB = 2048
COMPONENT_TYPES = ("live", "cache")
"""How the teacher is asked."""
_NOT_COMPARED = ("seconds", "images_per_second", "folder", "cached")
"""Times, names, and what a run added to its cache: a start that was killed before there was a run has filled some."""


def train(folder: Path, teacher: Path | None, kind: str = "live") -> None:
    """A run of its own, with a checkpoint after every step; without a teacher, the teacher's own run."""
    _quietly()
    given = {"recipe": "none", "seed": 1} if teacher is None else {"recipe": RECIPE, "teacher": str(teacher)}
    cached = {"cache": str(bank_of(folder))} if kind == "cache" else {}
    run(resolve({**SETTINGS, **given, **cached}), folder, checkpoint_seconds=0)


def bank_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-cache")


def go_on(folder: Path) -> None:
    """The run again, from wherever it is; nothing where it was killed after it had come to its end."""
    _quietly()
    metrics = folder / "metrics.jsonl"
    if metrics.exists() and '"event": "end"' in metrics.read_text():
        return
    resume(folder, checkpoint_seconds=0)


def _quietly() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="damaged, the one before is used")  # that is what is looked for


def what_it_came_to(folder: Path) -> str:
    """A digest of the weights, the scores and the metrics, but for the times they took."""
    digest = hashlib.sha256()
    for name in ("student.safetensors", "student.json", "scores.safetensors"):
        digest.update((folder / name).read_bytes())
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = {key: value for key, value in json.loads(line).items() if key not in _NOT_COMPARED}
        digest.update(json.dumps(entry, sort_keys=True).encode())
    return digest.hexdigest()


class Killer:
    """Starts runs in processes of their own, from one that has everything imported, and kills them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["preceptor.run", "sklearn.datasets"])

    def finish(self, target: Callable[..., None], *arguments: object) -> float:
        """Let it end; the seconds it took."""
        started = time.monotonic()
        process = self._context.Process(target=target, args=arguments)
        process.start()
        process.join()
        if process.exitcode != 0:
            raise AssertionError(f"a run that nobody disturbed ended with {process.exitcode}")
        return time.monotonic() - started

    def kill(self, within: float, target: Callable[..., None], *arguments: object) -> bool:
        """Kill it at a random instant; whether it was still running then."""
        process = self._context.Process(target=target, args=arguments)
        process.start()
        process.join(self.draw.uniform(0, within))
        killed = process.exitcode is None
        if killed:
            process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            raise AssertionError(f"a run ended with {process.exitcode} by itself")
        self.counts["kills"] += killed
        return killed

    def damage(self, folder: Path) -> None:
        """Do something to the newest checkpoint, or nothing."""
        fault = self.draw.choice(FAULTS)
        newest = max((folder / CHECKPOINT_FOLDER).glob("*.pt"), default=None)
        if fault == "none" or newest is None:
            return
        content = bytearray(newest.read_bytes())
        if not content:  # truncated to nothing before
            return
        if fault == "flipped":
            content[self.draw.randrange(len(content))] ^= 1 << self.draw.randrange(8)
        else:
            del content[len(content) // 2 if fault == "torn" else self.draw.randrange(len(content)) :]
        newest.write_bytes(content)
        if fault == "torn":
            (newest.parent / f".{newest.name}.1.part").write_bytes(content)
        self.counts[fault] += 1

    def story(self, folder: Path, teacher: Path, kind: str, seconds: float) -> None:
        """One run, killed until it has come to its end."""
        disturbed = self.kill(seconds, train, folder, teacher, kind)
        while disturbed:
            self.damage(folder)
            if (folder / "run.yaml").exists():
                disturbed = self.kill(seconds, go_on, folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)
                disturbed = self.kill(seconds, train, folder, teacher, kind)
        self.counts["runs"] += 1


def survive(kills: int, seed: int, work: Path) -> tuple[Counter[str], list[str]]:
    """So many kills; what happened how often, and the runs that ended otherwise."""
    killer = Killer(seed)
    teacher, wrong = work / "teacher", []
    killer.finish(train, teacher, None)
    seconds = {kind: killer.finish(train, alone(work, kind), teacher, kind) for kind in COMPONENT_TYPES}
    expected = {kind: what_it_came_to(alone(work, kind)) for kind in COMPONENT_TYPES}
    while killer.counts["kills"] < kills:
        folder, kind = (
            work / f"run-{killer.counts['runs']}",
            COMPONENT_TYPES[killer.counts["runs"] % len(COMPONENT_TYPES)],
        )
        killer.story(folder, teacher, kind, seconds[kind])
        if what_it_came_to(folder) != expected[kind]:
            wrong.append(str(folder))
        else:
            shutil.rmtree(folder)
            shutil.rmtree(bank_of(folder), ignore_errors=True)
        print(f"{killer.counts['kills']} of {kills} kills", file=sys.stderr, flush=True)
    return killer.counts, wrong


def alone(work: Path, kind: str) -> Path:
    """The folder of the run that nobody disturbs."""
    return work / f"alone-{kind}"


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[bool]:
    """A disk of so many KiB, where this process may make one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    made = os.name == "posix" and shutil.which("mount") is not None
    made = made and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", str(folder)], check=True)


def meets_a_full_disk(work: Path, kind: str) -> str | None:
    """Fill the disk under a run, and its cache, make room, go on: what went wrong; "skipped" where no disk can be
    made."""
    undisturbed, disk = alone(work, kind), work / f"disk-{kind}"
    with small_disk(disk, DISK_KIB) as made:
        if not made:
            return "skipped"
        folder, ballast = disk / "run", disk / "ballast"
        room = sum(path.stat().st_size for path in undisturbed.iterdir()) * 3 // 2  # to begin, and for a checkpoint
        ballast.write_bytes(bytes(DISK_KIB * 1024 - room))
        try:
            train(folder, work / "teacher", kind)
            return "the disk was never full"
        except MachineError as error:
            if "No space left" not in str(error):
                return str(error)
        ballast.unlink()
        go_on(folder) if (folder / "run.yaml").exists() else train(folder, work / "teacher", kind)
        same = what_it_came_to(folder) == what_it_came_to(undisturbed)
        return None if same else "ended otherwise after a full disk"


def main() -> int:
    """Kill, damage, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preceptor-chaos-") as name:
        counts, wrong = survive(arguments.kills, arguments.seed, Path(name))
        full = next((said for kind in COMPONENT_TYPES if (said := meets_a_full_disk(Path(name), kind))), None)
    happened = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    disk = {None: "a full disk survived", "skipped": "no small disk could be made"}.get(full, full)
    print(f"{'all ends bit-equal' if not wrong else f'{len(wrong)} ENDED OTHERWISE'}: {happened}; {disk}")
    return 0 if not wrong and full in (None, "skipped") else 1


if __name__ == "__main__":
    sys.exit(main())
