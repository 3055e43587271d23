"""The processes that entries run in: what they find there, how long they may take, and how they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.entries import Unfit
from benchmarks.gpu.wheels import site_of

ROOT = Path(__file__).parents[2]
GRACE = 10.0
"""Seconds between asking a process to end and ending it."""


def environment_with(work: Path, wheels: Path | None) -> dict[str, str]:
    """Of the entries: the checkout and the wheels come before whatever else Python would find."""
    paths = [str(ROOT / "src"), *([str(site_of(wheels, work))] if wheels else [])]
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *([inherited] if inherited else [])])}


def surroundings_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """Versions and machine as the entries will find them.

    Raises:
        Unfit: a package that the library needs cannot be imported.
    """
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.surroundings"],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise Unfit(f"cannot look at this Python: {found.stderr.strip()}")
    content: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    if missing := content.pop("lacking"):
        reasons = "; ".join(f"{package} ({reason})" for package, reason in missing.items())
        raise Unfit(
            f"this Python ({sys.version.split()[0]}) lacks {reasons}: bring wheels and give --wheels FOLDER; "
            "benchmarks/gpu/README.md says how"
        )
    return content


def watched(
    command: Sequence[str], log: Path, limit: float, environment: Mapping[str, str]
) -> tuple[int | None, list[str]]:
    """Run a process to its end, or end it.

    Args:
        command: of the process.
        log: takes what it prints, at its end.
        limit: seconds that it may run.
        environment: of the process.

    Returns:
        its exit status, None where it had to be ended; and the lines it printed.
    """
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdout=file, stderr=subprocess.STDOUT, process_group=0
        )
        try:
            code: int | None = process.wait(timeout=max(1.0, limit))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    with log.open("rb") as file:
        file.seek(start)
        return code, file.read().decode(errors="replace").splitlines()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started, which is a group of its own."""
    for request, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, request)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
