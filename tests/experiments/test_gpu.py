"""The GPU list on a CPU: the loop over entries, the checks, and the file that carries CIFAR-100."""

import json
import zipfile

import numpy as np
import pytest
import torch

from experiments.gpu import checks, pack_cifar100
from experiments.gpu.checks import CHECKS, run_check
from experiments.gpu.entries import ENTRIES, Entry
from experiments.gpu.runner import run_entries, run_entry

CPU = torch.device("cpu")


def entry(name: str, code: str, minutes: float = 0.1, run: str = "") -> Entry:
    return Entry(name, "for a test", minutes, ("-c", code), run=run)


def results(folder) -> dict:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def test_each_entry_leaves_a_result_whatever_becomes_of_it(tmp_path):
    entries = [
        entry("good", "print('{{\"seconds\": 3}}')"),
        entry("bad", "raise RuntimeError('no such kernel')"),
        entry("texts", "print('a table')"),
    ]
    assert run_entries(entries, tmp_path, minutes=1, values={}) == 1
    found = results(tmp_path)
    assert {name: result["status"] for name, result in found.items()} == {
        "good": "done",
        "bad": "failed",
        "texts": "done",
    }
    assert found["good"]["result"] == {"seconds": 3}
    assert "no such kernel" in found["bad"]["errors"]
    assert "Traceback" in found["bad"]["errors"]
    assert found["texts"]["result"] == "a table\n"


def test_what_has_a_result_is_skipped_and_what_was_stopped_is_run_again(tmp_path):
    for name in ("done", "failed", "stopped"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"status": name}))
    entries = [entry(name, "print(1)") for name in ("done", "failed", "stopped")]
    run_entries(entries, tmp_path, minutes=1, values={})
    assert {name: set(result) for name, result in results(tmp_path).items() if name != "stopped"} == {
        "done": {"status"},
        "failed": {"status"},
    }
    assert results(tmp_path)["stopped"]["status"] == "done"
    assert run_entries(entries[2:], tmp_path, minutes=1, values={}) == 0


def test_no_entry_starts_that_needs_more_minutes_than_are_left(tmp_path):
    assert (
        run_entries([entry("long", "print(1)", 5), entry("short", "print(1)", 1)], tmp_path, minutes=2, values={}) == 1
    )
    assert list(results(tmp_path)) == ["short"]


def test_a_training_out_of_time_is_stopped_and_resumed_in_its_run_folder(tmp_path):
    write = f"import pathlib, time; pathlib.Path(r'{tmp_path}', 'run.yaml').write_text('x'); time.sleep(60)"
    training = entry("training", write, run=str(tmp_path))
    result = run_entry(training, 5, {})
    assert (result["status"], result["timed_out"]) == ("stopped", True)
    again = run_entry(training, 60, {})
    assert again["command"] == ["-m", "preceptor", "resume", str(tmp_path), "--json"]
    assert again["status"] == "failed"  # that run.yaml is none
    assert run_entry(entry("other", "import time; time.sleep(60)"), 1, {})["status"] == "failed"


def test_the_runner_needs_the_standard_library_alone():
    code = "import sys, experiments.gpu.runner, experiments.gpu.entries; print(*{n.split('.')[0] for n in sys.modules})"
    result = run_entry(entry("imports", code.replace("{", "{{").replace("}", "}}")), 60, {})
    modules = set(result["result"].split())
    assert "experiments" in modules
    assert modules.isdisjoint({"preceptor", "torch", "numpy", "pydantic"})


def test_entries_fit_the_time_of_a_machine_and_the_first_is_quick():
    assert ENTRIES[0].name == "check"
    assert ENTRIES[0].minutes <= 2
    assert sum(entry.minutes for entry in ENTRIES) <= 14
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_passes_on_a_cpu(check, monkeypatch):
    monkeypatch.setattr(checks, "IMAGES", 37)
    outcome = run_check(check, CPU)
    assert outcome["passed"], outcome["traceback"]


def test_a_check_that_breaks_is_recorded_with_its_traceback():
    def broken(device):
        """Never holds."""
        checks.require(False, "the weights differ")

    outcome = run_check(broken, CPU)
    assert not outcome["passed"]
    assert outcome["guarantee"] == "Never holds."
    assert "AssertionError: the weights differ" in outcome["traceback"]


def test_packed_images_come_out_as_they_were_and_what_is_missing_or_damaged_is_noticed(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {
        "train_images": generator.integers(256, size=(1001, 32, 32, 3), dtype=np.uint8),
        "train_labels": np.arange(1001, dtype=np.uint16),
        "test_images": generator.integers(256, size=(3, 32, 32, 3), dtype=np.uint8),
        "class_names": np.array(["a", "b"]),
    }
    paths = [tmp_path / "new" / name for name in ("part-0.zip", "part-1.zip")]
    pack_cifar100.pack(arrays, paths)
    unpacked = pack_cifar100.unpack(paths[::-1])
    assert unpacked.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(unpacked[name], array)
    with pytest.raises(SystemExit, match="train_images differ"):
        pack_cifar100.unpack(paths[:1])
    other = tmp_path / "other.zip"
    pack_cifar100.pack({"test_images": 255 - arrays["test_images"]}, [other])
    with zipfile.ZipFile(other) as wrong:
        strip = wrong.read("test_images/0000.webp")
    with zipfile.ZipFile(paths[1], "a") as archive:
        archive.writestr("test_images/0000.webp", strip)
    with pytest.raises(SystemExit, match="test_images differ"):
        pack_cifar100.unpack(paths)
