"""Plain values come back; what could run code does not."""

import argparse
import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preceptor.data.plain_files import load_plain


class Touch:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_programs_save_comes_back(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "last.pth"
    content = {
        "opt": argparse.Namespace(model="resnet8x4", lr=0.05, decay=[150, 180, 210]),
        "best_acc": np.float64(73.25),
        "labels": np.arange(5),
        "flags": np.array([True, False]),
        "model": collections.OrderedDict(w=torch.ones(2)),
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    loaded = load_plain(path)
    assert loaded["opt"].decay == [150, 180, 210]
    assert loaded["best_acc"] == 73.25
    np.testing.assert_array_equal(loaded["labels"], np.arange(5))
    np.testing.assert_array_equal(loaded["flags"], [True, False])
    assert torch.equal(loaded["model"]["w"], torch.ones(2))


def test_numpy_arrays_saved_with_numpy_1(tmp_path: Path) -> None:
    """Whose module is numpy.core; the pickle names it so, whichever version is installed."""
    pickled = pickle.dumps({"label": np.arange(4)}, protocol=2)
    old = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    torch.save({"label": np.arange(4)}, tmp_path / "new.pt")
    loaded = load_plain(with_pickle(tmp_path / "new.pt", tmp_path / "old.pt", old))
    np.testing.assert_array_equal(loaded["label"], np.arange(4))


def with_pickle(source: Path, target: Path, content: bytes) -> Path:
    """A file of torch.save with another pickle in it."""
    import zipfile

    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as after:
        for name in before.namelist():
            after.writestr(name, content if name.endswith("data.pkl") else before.read(name))
    return target


@pytest.mark.parametrize("nested", [False, True])
def test_no_code_runs(tmp_path: Path, nested: bool) -> None:
    trap = Touch(tmp_path / "touched")
    content: Any = {"label": np.array([trap], dtype=object)} if nested else {"model": trap}
    torch.save(content, tmp_path / "trap.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load_plain(tmp_path / "trap.pt")
    assert not (tmp_path / "touched").exists()


def test_what_was_allowed_is_not_allowed_elsewhere(tmp_path: Path) -> None:
    torch.save({"opt": argparse.Namespace(a=1)}, tmp_path / "w.pt")
    load_plain(tmp_path / "w.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pt", weights_only=True)
