"""A small run, killed and damaged again and again, must end in the same bits as an undisturbed one.

The exit code is 0 only when every end is bit-equal; the last line is a summary. A process is killed by SIGKILL at a
random instant, also while it writes a checkpoint. Between a kill and the next start the newest checkpoint is at times
truncated, has a bit flipped, or is torn (only its first half exists, beside a part that was never renamed); where
root may mount a small disk, a run also meets a full one. Every other run queries its teacher through a cache that it
fills, so that kills hit that as well.
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
from preceptor.run.open_run import CHECKPOINT_FOLDER

SETTINGS: dict[str, Any] = {
    "data": "digits",
    "train_images": 60,
    "training": {"epochs": 3, "batch_size": 16},
    "device": "cpu",
    "precision": "fp32",
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
"""All state that can be lost: scores, per-sample beliefs, terms with a start and an end."""

FAULTS = ("none", "none", "truncated", "flipped", "torn")
DISK_KIB = 32 * 1024
CACHE_BYTES = 2**22
"""Room for an empty cache: a disk in memory gives pages to the holes of a file that is read."""
FULL = ("No space left", "MB are free")
"""In the message of a run that met a full disk; the cache refuses before it is."""
SOURCES = ("live", "cache")
"""Of the teacher's outputs."""
_NOT_COMPARED = ("seconds", "student_seconds", "images_per_second", "folder", "cached")
"""Times, names, and what a run added to its cache, which a start that was killed may have filled already."""


def train(folder: Path, teacher: Path | None, kind: str = "live") -> None:
    """A run of its own, with a checkpoint after every step; without a teacher, the teacher's own run."""
    _quiet()
    settings = {"recipe": "none", "seed": 1} if teacher is None else {"recipe": RECIPE, "teacher": str(teacher)}
    cached = {"cache": str(cache_of(folder))} if kind == "cache" else {}
    # The teacher is as small as the student: that it is hardly better than chance does no harm here.
    run(resolve({**SETTINGS, **settings, **cached}), folder, checkpoint_seconds=0, force=True)


def cache_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-cache")


def resume_run(folder: Path) -> None:
    """Resume the run; nothing if it was killed after its end."""
    _quiet()
    metrics = folder / "metrics.jsonl"
    if metrics.exists() and '"event": "end"' in metrics.read_text():
        return
    resume(folder, checkpoint_seconds=0)


def _quiet() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="damaged, the one before is used")  # the damage is ours


def digest_of(folder: Path) -> str:
    """A digest of the weights, the scores and the metrics without their times."""
    digest = hashlib.sha256()
    for name in ("student.safetensors", "student.json", "scores.safetensors"):
        digest.update((folder / name).read_bytes())
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        entry = {key: value for key, value in json.loads(line).items() if key not in _NOT_COMPARED}
        digest.update(json.dumps(entry, sort_keys=True).encode())
    return digest.hexdigest()


class Killer:
    """Starts runs in processes, from one that has everything imported, and kills them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["preceptor.run", "sklearn.datasets", "torch._dynamo"])

    def finish(self, target: Callable[..., None], *arguments: object) -> float:
        """Run it to its end; the seconds it took."""
        started = time.monotonic()
        process = self._context.Process(target=target, args=arguments)
        process.start()
        process.join()
        if process.exitcode != 0:
            raise AssertionError(f"an undisturbed run ended with {process.exitcode}")
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
        """Damage the newest checkpoint, or not."""
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

    def run_to_the_end(self, folder: Path, teacher: Path, kind: str, seconds: float) -> None:
        """One run, killed and resumed until it ends."""
        disturbed = self.kill(seconds, train, folder, teacher, kind)
        while disturbed:
            self.damage(folder)
            if (folder / "run.yaml").exists():
                disturbed = self.kill(seconds, resume_run, folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)
                disturbed = self.kill(seconds, train, folder, teacher, kind)
        self.counts["runs"] += 1


def survive(kills: int, seed: int, work: Path) -> tuple[Counter[str], list[str]]:
    """Counts of what happened over so many kills, and the runs that ended otherwise."""
    killer = Killer(seed)
    teacher, wrong = work / "teacher", []
    killer.finish(train, teacher, None)
    seconds = {kind: killer.finish(train, alone(work, kind), teacher, kind) for kind in SOURCES}
    expected = {kind: digest_of(alone(work, kind)) for kind in SOURCES}
    while killer.counts["kills"] < kills:
        folder, kind = (
            work / f"run-{killer.counts['runs']}",
            SOURCES[killer.counts["runs"] % len(SOURCES)],
        )
        killer.run_to_the_end(folder, teacher, kind, seconds[kind])
        if digest_of(folder) != expected[kind]:
            wrong.append(str(folder))
        else:
            shutil.rmtree(folder)
            shutil.rmtree(cache_of(folder), ignore_errors=True)
        print(f"{killer.counts['kills']} of {kills} kills", file=sys.stderr, flush=True)
    return killer.counts, wrong


def alone(work: Path, kind: str) -> Path:
    """The folder of the undisturbed run."""
    return work / f"alone-{kind}"


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[bool]:
    """A disk of this size, where this process may make one."""
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
    """Fill the disk under a run and its cache, make room, resume: what went wrong; "skipped" where no disk can be
    made."""
    undisturbed, disk = alone(work, kind), work / f"disk-{kind}"
    with small_disk(disk, DISK_KIB) as made:
        if not made:
            return "skipped"
        folder, ballast = disk / "run", disk / "ballast"
        room = sum(path.stat().st_size for path in undisturbed.iterdir()) * 3 // 2  # to begin, and for a checkpoint
        room += CACHE_BYTES if kind == "cache" else 0
        ballast.write_bytes(bytes(DISK_KIB * 1024 - room))
        try:
            train(folder, work / "teacher", kind)
            return "the disk was never full"
        except MachineError as error:
            if not any(text in str(error) for text in FULL):
                return str(error)
        ballast.unlink()
        resume_run(folder) if (folder / "run.yaml").exists() else train(folder, work / "teacher", kind)
        same = digest_of(folder) == digest_of(undisturbed)
        return None if same else "ended otherwise after a full disk"


def main() -> int:
    """Kill, damage, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="preceptor-chaos-") as name:
        counts, wrong = survive(arguments.kills, arguments.seed, Path(name))
        full = next((problem for kind in SOURCES if (problem := meets_a_full_disk(Path(name), kind))), None)
    happened = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    disk = {None: "a full disk survived", "skipped": "no small disk could be made"}.get(full, full)
    print(f"{'all ends bit-equal' if not wrong else f'{len(wrong)} ENDED OTHERWISE'}: {happened}; {disk}")
    return 0 if not wrong and full in (None, "skipped") else 1


if __name__ == "__main__":
    sys.exit(main())
