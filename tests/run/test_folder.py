import errno
import json
from importlib import metadata
from pathlib import Path

import pytest
import torch
import yaml

from preceptor import __version__
from preceptor.errors import InputError, MachineError
from preceptor.run import RunFolder, versions
from preceptor.run.folder import check_free, fingerprint


def test_a_folder_is_made_with_its_parents(tmp_path):
    RunFolder(tmp_path / "runs" / "first")
    assert (tmp_path / "runs" / "first").is_dir()


def test_an_empty_folder_will_do(tmp_path):
    RunFolder(tmp_path).append({"event": "end"})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("name", ["student.safetensors", "notes.txt", ".hidden"])
def test_a_folder_that_holds_anything_is_refused(tmp_path, name):
    (tmp_path / name).write_text("dear")
    with pytest.raises(InputError, match="not empty; a run never overwrites: choose another --out"):
        check_free(tmp_path)
    with pytest.raises(InputError, match="not empty"):
        RunFolder(tmp_path)
    assert (tmp_path / name).read_text() == "dear"


@pytest.mark.parametrize("name", [".lock", ".run.yaml.123.part", ".123.probe"])
def test_what_a_killed_process_left_is_not_in_the_way(tmp_path, name):
    (tmp_path / name).touch()
    check_free(tmp_path)
    RunFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ([".lock"] if name == ".lock" else [])


@pytest.mark.parametrize("name", [".run.yaml.part", "run.yaml.1.part", ".mine.x.part"])
def test_what_only_looks_like_it_is(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="not empty"):
        RunFolder(tmp_path)
    assert (tmp_path / name).exists()


def test_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("dear")
    with pytest.raises(InputError, match="out: is a file, a run needs a folder"):
        RunFolder(tmp_path / "out")


def test_a_folder_inside_a_file_cannot_be_made(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(MachineError, match="out/run: cannot be written: Not a directory: choose another --out"):
        RunFolder(tmp_path / "out" / "run")


def test_the_configuration_keeps_its_order_and_letters(tmp_path):
    RunFolder(tmp_path).write_config({"student": "größer", "data": "digits"}, {"device": "cpu"})
    text = (tmp_path / "run.yaml").read_text(encoding="utf-8")
    assert text.index("größer") < text.index("digits") < text.index("cpu")
    expected = {"config": {"student": "größer", "data": "digits"}, "record": {"device": "cpu"}}
    assert yaml.safe_load(text) == expected


def test_every_entry_is_a_line(tmp_path):
    folder = RunFolder(tmp_path)
    entries = [{"event": "epoch", "epoch": 1, "note": "zwei\nZeilen"}, {"event": "end"}]
    for entry in entries:
        folder.append(entry)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == entries


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_lacks_is_not_written(tmp_path, value):
    folder = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.append({"loss": value})


def test_a_full_disk(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(MachineError, match=r"metrics\.jsonl: cannot be written: No space left on device"):
        folder.append({"event": "end"})


def test_versions_of_everything_that_decides_the_numbers():
    found = versions()
    assert found["preceptor"] == __version__
    for package in ("torch", "numpy", "scikit-learn"):
        assert found[package] == metadata.version(package)
    assert {"python", "machine"} <= set(found)


TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def test_a_fingerprint_does_not_depend_on_order_or_layout():
    turned = {"b": TENSORS["b"].clone(), "a": TENSORS["a"].t().contiguous().t()}
    assert not turned["a"].is_contiguous()
    assert fingerprint(turned) == fingerprint(TENSORS)


@pytest.mark.parametrize(
    "change",
    [
        {"a": TENSORS["a"] + torch.tensor([0, 0, 1e-6])},
        {"a": TENSORS["a"].reshape(3, 2)},
        {"b": TENSORS["b"].int()},
        {"b": TENSORS["b"].flip(0)},
        {"c": torch.zeros(1)},
    ],
    ids=["value", "shape", "type", "order of values", "one more"],
)
def test_a_fingerprint_shows_any_change(change):
    assert fingerprint({**TENSORS, **change}) != fingerprint(TENSORS)


def test_a_fingerprint_knows_the_names():
    assert fingerprint({"x": TENSORS["a"], "b": TENSORS["b"]}) != fingerprint(TENSORS)
