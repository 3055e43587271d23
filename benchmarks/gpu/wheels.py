"""Packages that a machine without internet lacks, installed from wheels into a folder that the entries import from."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.entries import Unfit


def site_of(wheels: Path, work: Path) -> Path:
    """The folder with the content of the wheels, filled at the first call; Python's own packages are left alone.

    Raises:
        Unfit: there are none, or they are for another Python.
    """
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise Unfit(f"{wheels}: holds no .whl file; benchmarks/gpu/README.md says how to fetch some")
    named = hashlib.sha256("\n".join(path.name for path in found).encode()).hexdigest()[:12]
    site = work / f"site-{named}"
    if not site.is_dir():
        beside = work / f".site-{named}.part"
        shutil.rmtree(beside, ignore_errors=True)
        _install(found, beside)
        beside.rename(site)
    return site


def _install(wheels: list[Path], target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--disable-pip-version-check", "--target", str(target), *map(str, wheels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unfit(f"the wheels cannot be installed: {done.stderr.strip()}")
