"""Caches on a real local S3 server, in an environment of its own."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-s3" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-s3: make s3 makes it")
def test_caches_on_an_s3_server() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
    environment |= {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/teachers/cache/on_s3.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^6 passed", done.stdout, re.MULTILINE), done.stdout
