"""Memory is flat over epochs, with every kind of component, a cache that fills, checkpoints and callbacks."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIB = 2**20
LAST_LOGITS = 4 * 8 * 10
"""Bytes of the logits of one batch."""

Epochs = list[dict[str, int]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Epochs]:
    command = [sys.executable, "-m", "tests.training.flat_memory", str(tmp_path_factory.mktemp("flat"))]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured: dict[str, Epochs] = json.loads(process.stdout)
    return measured


@pytest.mark.parametrize("training", ["flat", "features"])
def test_no_epoch_leaves_a_tensor_behind(measured: dict[str, Epochs], training: str) -> None:
    tensors = [epoch["tensors"] for epoch in measured[training]]
    assert tensors == [tensors[0]] * 4
    assert tensors[0] > 50
    # The logits of the epoch's last batch may lie in the cache's or in their own memory.
    sizes = [epoch["bytes"] for epoch in measured[training]]
    assert max(sizes) - min(sizes) <= LAST_LOGITS


@pytest.mark.parametrize("training", ["flat", "features"])
def test_the_process_does_not_grow(measured: dict[str, Epochs], training: str) -> None:
    """A few MiB come and go with the allocator."""
    assert measured[training][-1]["own"] - measured[training][0]["own"] < 12 * MIB


def test_the_cache_fills_all_the_while(measured: dict[str, Epochs]) -> None:
    assert all(later["entries"] > earlier["entries"] for earlier, later in pairwise(measured["flat"]))


def test_a_tensor_kept_of_every_step_is_noticed(measured: dict[str, Epochs]) -> None:
    first, last = measured["leaking"][0], measured["leaking"][-1]
    steps = 5 * (len(measured["leaking"]) - 1)
    assert last["tensors"] - first["tensors"] == steps
    assert last["bytes"] - first["bytes"] == steps * MIB
    assert last["own"] - first["own"] > 0.5 * steps * MIB
