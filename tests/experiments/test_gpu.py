"""The GPU list on a CPU: the loop over entries, the checks, and the file that carries CIFAR-100."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from experiments.gpu import checks, pack_cifar100
from experiments.gpu.checks import CHECKS, run_check
from experiments.gpu.entries import ENTRIES, Entry
from experiments.gpu.runner import run_entries, run_entry
from preceptor.cli.main import main

CPU = torch.device("cpu")


def entry(name: str, code: str, minutes: float = 0.1, goes_on: bool = False, needs: str = "") -> Entry:
    return Entry(name, "for a test", ("-c", code), minutes, goes_on, needs)


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


def test_what_is_done_is_skipped_and_what_failed_or_was_stopped_is_run_again(tmp_path):
    for name in ("done", "failed", "stopped"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"status": name, "seconds": 100}))
    entries = [entry(name, "print(1)") for name in ("done", "failed", "stopped")]
    assert run_entries(entries, tmp_path, minutes=1, values={}) == 0
    after = results(tmp_path)
    assert {name: result["status"] for name, result in after.items()} == dict.fromkeys(after, "done")
    assert "result" not in after["done"]
    assert after["failed"]["seconds"] < 100 <= after["stopped"]["seconds"]


def test_no_entry_starts_that_needs_more_minutes_than_are_left_unless_it_goes_on(tmp_path):
    entries = [entry("long", "print(1)", 5), entry("short", "print(1)", 1), entry("goes on", "print(1)", 5, True)]
    assert run_entries(entries, tmp_path, minutes=2, values={}) == 1
    assert list(results(tmp_path)) == ["goes on", "short"]


def test_an_entry_out_of_time_is_stopped_and_goes_on_in_the_next_call(tmp_path):
    code = (
        f"import pathlib, time; begun = pathlib.Path(r'{tmp_path}', 'begun'); again = begun.exists(); begun.touch(); "
        "time.sleep(0 if again else 60); print('went on')"
    )
    entries = [
        entry("training", code, 0.05, goes_on=True),
        entry("after it", "print(1)", needs="training"),
        entry("other", "import time; time.sleep(60)", 0.02),
    ]
    assert run_entries(entries, tmp_path, minutes=1, values={}) == 1
    stopped = results(tmp_path)
    assert {name: (one["status"], one["timed_out"]) for name, one in stopped.items()} == {
        "training": ("stopped", True),
        "other": ("failed", True),
    }
    assert run_entries(entries[:2], tmp_path, minutes=1, values={}) == 0
    again = results(tmp_path)
    assert again["training"]["result"] == "went on\n"
    assert again["training"]["seconds"] >= stopped["training"]["seconds"]
    assert again["after it"]["status"] == "done"


def test_the_runner_needs_the_standard_library_alone():
    code = "import sys, experiments.gpu.runner, experiments.gpu.entries; print(*{n.split('.')[0] for n in sys.modules})"
    result = run_entry(entry("imports", code.replace("{", "{{").replace("}", "}}")), 60, {})
    modules = set(result["result"].split())
    assert "experiments" in modules
    assert modules.isdisjoint({"preceptor", "torch", "numpy", "pydantic"})


def test_entries_take_four_minutes_at_most_and_the_check_is_first():
    assert ENTRIES[0].name == "check"
    assert all(entry.minutes <= 4 for entry in ENTRIES)
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


def test_every_command_of_the_list_works_on_a_few_small_images(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    arrays = {"class_names": np.array([f"class {number}" for number in range(42)])}  # above the payoff of 40
    for name, labels in (("train", np.arange(84) % 42), ("test", np.arange(42))):
        arrays |= {f"{name}_images": random.integers(256, size=(len(labels), 4, 4, 3), dtype=np.uint8)}
        arrays |= {f"{name}_labels": labels}
    np.savez(tmp_path / "cifar100.npz", **arrays)
    measured = []
    bench_result = SimpleNamespace(model_dump_json=lambda: "{}")
    monkeypatch.setattr(
        "experiments.speed.verb.measure", lambda *_, **options: measured.append(options) or bench_result
    )
    monkeypatch.setattr("preceptor.cli.compare.write_files", lambda *_, **options: [])  # drawing pages takes long
    values = {"out": tmp_path / "out", "data": tmp_path, "device": "cpu", "teacher_epochs": 1, "epochs": 2}
    outcomes = {}
    for one in ENTRIES[1:]:  # the check has tests of its own
        _, module, verb, *command = (part.format(**values) for part in one.command)
        assert module == "preceptor"
        few = {"cache": ["augment=false"], "compare": ["augment=false", "--force"]}  # its teacher knows nothing yet
        assert main([verb, *command, *few.get(verb, [])]) == 0, one.name
        outcomes[one.name] = json.loads(capsys.readouterr().out)
    assert [one["compile"] for one in measured] == ["never", "graph", "always"]
    assert outcomes["cache"]["filled"] == outcomes["students"]["teachers"][0]["images"] > 0
    accuracies = {arm["recipe"]: arm["accuracy"]["values"] for arm in outcomes["students"]["arms"]}
    assert {"none", "kd", "dkd", "kd-lsk", "dkd-lsk", "dist", "rld"} < accuracies.keys()
    assert {"lr-ds", "ka-dtd", "cmkd", "precise-abstain-b"} < accuracies.keys()
    assert [arm["recipe"] for arm in outcomes["crd"]["arms"]] == ["crd"]


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
