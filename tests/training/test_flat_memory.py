"""Memory is flat over epochs, with every kind of component, a cache that fills, checkpoints and a watcher."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIB = 2**20

Epochs = list[dict[str, int]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Epochs]:
    command = [sys.executable, "-m", "tests.training.flat_memory", str(tmp_path_factory.mktemp("flat"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told: dict[str, Epochs] = json.loads(done.stdout)
    return told


def test_no_epoch_leaves_a_tensor_behind(found: dict[str, Epochs]) -> None:
    first, *others = [(epoch["tensors"], epoch["bytes"]) for epoch in found["flat"]]
    assert others == [first] * len(others)
    assert len(others) == 3
    assert first[0] > 100


def test_the_process_does_not_grow(found: dict[str, Epochs]) -> None:
    """A few MiB come and go with the allocator."""
    assert found["flat"][-1]["own"] - found["flat"][0]["own"] < 12 * MIB


def test_the_bank_filled_all_the_while(found: dict[str, Epochs]) -> None:
    assert all(later["cells"] > earlier["cells"] for earlier, later in pairwise(found["flat"]))


def test_what_is_kept_of_every_step_is_noticed(found: dict[str, Epochs]) -> None:
    first, last = found["hoarded"][0], found["hoarded"][-1]
    steps = 5 * (len(found["hoarded"]) - 1)
    assert last["tensors"] - first["tensors"] == steps
    assert last["bytes"] - first["bytes"] == steps * MIB
    assert last["own"] - first["own"] > 0.5 * steps * MIB
