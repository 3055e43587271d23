"""The runner of the GPU list: order, resumption, failures and limits, with entries of its own that need no torch."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from benchmarks.gpu import processes, runner, surroundings
from benchmarks.gpu.entries import ENTRIES, Entry, Unfit
from benchmarks.gpu.wheels import site_of

SHORT = 0.001  # minutes
COUNTING = """
import json, pathlib, sys
folder, out, slices = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
progress = folder / "progress.json"
done = 1 + (json.loads(progress.read_text())["done"] if progress.exists() else 0)
progress.write_text(json.dumps({"done": done, "of": slices, "what": "epochs"}))
if done < slices:
    sys.exit(75)
out.write_text(json.dumps({"slices": done}))
"""
FAILING = "import sys; print('so far so good'); raise ValueError(f'broken in {sys.argv[1]}')"
STUCK = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1], "child").write_text(str(child.pid))
if sys.argv[3] == "1":
    pathlib.Path(sys.argv[1], "progress.json").write_text('{"done": 1, "of": 2, "what": "epochs"}')
time.sleep(600)
"""


@pytest.fixture
def entry(tmp_path):
    """Makes an entry that runs a script with its folder, its answer and one more word."""

    def made(name: str, script: str, word: str = "1", **options) -> Entry:
        path = tmp_path / f"{name}.py"
        path.write_text(script)
        return Entry(name, f"about {name}", (str(path), "{folder}", "{out}", word), SHORT, **options)

    return made


@pytest.fixture
def called(tmp_path, monkeypatch):
    """Runs the command line over entries of the test's own, without looking at the machine."""
    monkeypatch.setattr(runner, "surroundings_of", lambda environment: {"versions": {}, "machine": {"gpu": None}})

    def call(entries: list[Entry], *words: str) -> int:
        monkeypatch.setattr(runner, "ENTRIES", entries)
        places = ("--out", str(tmp_path / "results"), "--work", str(tmp_path / "work"), "--device", "cpu")
        return runner.main([*places, *words])

    return call


def record(tmp_path: Path, name: str) -> dict:
    return json.loads((tmp_path / "results" / f"{name}.json").read_text())


def test_entries_run_in_order_and_only_once(tmp_path, entry, called, capsys):
    entries = [entry("first", COUNTING), entry("second", COUNTING)]
    assert called(entries) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[::2]] == ["first", "second"]
    assert record(tmp_path, "second") | {"seconds": 0} == {
        "entry": "second",
        "about": "about second",
        "status": "done",
        "calls": 1,
        "seconds": 0,
        "command": [str(tmp_path / "second.py"), "WORK/second", "WORK/second/answer.json", "1"],
        "versions": {},
        "machine": {"gpu": None},
        "progress": {"done": 1, "of": 1, "what": "epochs"},
        "result": {"slices": 1},
    }
    assert called(entries) == 0
    assert capsys.readouterr().out == ""


def test_a_sliced_entry_goes_on_in_the_next_call(tmp_path, entry, called):
    entries = [entry("long", COUNTING, "3", sliced=True)]
    for calls in (1, 2):
        assert called(entries) == 0
        found = record(tmp_path, "long")
        assert (found["status"], found["calls"]) == ("unfinished", calls)
        assert "result" not in found
    assert called(entries) == 0
    found = record(tmp_path, "long")
    assert (found["status"], found["calls"], found["result"]) == ("done", 3, {"slices": 3})


def test_an_entry_that_is_not_sliced_may_not_stop_in_the_midst(tmp_path, entry, called):
    assert called([entry("long", COUNTING, "3")]) == 1
    assert record(tmp_path, "long")["status"] == "failed"


def test_a_failure_is_kept_stops_no_other_and_is_tried_again_by_name_alone(tmp_path, entry, called, capsys):
    entries = [entry("bad", FAILING), entry("good", COUNTING)]
    assert called(entries) == 1
    assert record(tmp_path, "good")["status"] == "done"
    bad = record(tmp_path, "bad")
    assert (bad["status"], bad["error"]) == ("failed", "exit status 1: ValueError: broken in WORK/bad")
    assert "so far so good" in capsys.readouterr().out
    assert called(entries) == 0
    assert capsys.readouterr().out == ""
    entry("bad", COUNTING)  # repaired
    assert called(entries, "--only", "bad") == 0
    found = record(tmp_path, "bad")
    assert (found["status"], found["calls"]) == ("done", 1)
    assert "error" not in found


def test_what_builds_on_something_waits_for_it(tmp_path, entry, called, capsys):
    entries = [entry("base", COUNTING, "2", sliced=True), entry("top", COUNTING, after=("base",))]
    called(entries)
    assert "top: left out: it builds on base, which is not done" in capsys.readouterr().out
    assert not (tmp_path / "results" / "top.json").exists()
    called(entries)
    assert record(tmp_path, "top")["status"] == "done"


def test_without_the_data_what_reads_it_is_left_out(tmp_path, entry, called, capsys):
    reading = Entry("reading", "", ("-c", "pass", "{data}"), SHORT)
    assert called([reading, entry("other", COUNTING)]) == 0
    assert "reading: left out: it reads CIFAR-100: give --data FILE" in capsys.readouterr().out
    assert record(tmp_path, "other")["status"] == "done"


def test_nothing_is_begun_that_the_call_has_no_time_for(tmp_path, entry, called, capsys):
    long = Entry("long", "", ("-c", "pass"), minutes=7)
    assert called([entry("short", COUNTING), long, entry("after", COUNTING)], "--minutes", "6") == 0
    assert "long: needs 7 minutes, 5.8 are left: call again" in capsys.readouterr().out
    assert not (tmp_path / "results" / "after.json").exists()
    assert called([long], "--minutes", "6") == 1
    assert "give more --minutes" in capsys.readouterr().out


@pytest.mark.parametrize(("moved", "status"), [("0", "failed"), ("1", "unfinished")])
def test_at_its_limit_an_entry_ends_with_all_it_started(tmp_path, entry, moved, status):
    stuck = entry("stuck", STUCK, moved, sliced=True)
    call = runner.Call(tmp_path / "results", tmp_path / "work", None, "cpu", time.monotonic() + 1, dict(os.environ), {})
    assert runner._run(call, stuck) == status
    found = record(tmp_path, "stuck")
    assert found["status"] == status
    assert ("error" in found) == (status == "failed")
    assert gone(int((tmp_path / "work" / "stuck" / "child").read_text()))


def test_a_runner_that_is_asked_to_end_takes_its_entry_along(tmp_path, entry):
    path = tmp_path / "start.py"
    path.write_text(
        "from pathlib import Path\nimport os, sys\nfrom benchmarks.gpu import processes, runner\n"
        "with runner._ending_what_it_started():\n"
        "    processes.watched([sys.executable, *sys.argv[1:]], Path(sys.argv[2], 'log'), 600, os.environ)\n"
    )
    (tmp_path / "work").mkdir()
    stuck = [entry("stuck", STUCK).command[0], str(tmp_path / "work"), "unused", "0"]
    environment = {**os.environ, "PYTHONPATH": str(processes.ROOT)}
    started = subprocess.Popen([sys.executable, str(path), *stuck], env=environment)
    child = tmp_path / "work" / "child"
    while not (child.exists() and child.read_text()):
        assert started.poll() is None
        time.sleep(0.02)
    started.terminate()
    assert started.wait(timeout=30) == 128 + signal.SIGTERM
    assert gone(int(child.read_text()))


def gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has looked after yet is a zombie."""
    for _ in range(200):
        status = Path(f"/proc/{process}/stat")
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_the_list_says_how_every_entry_stands(tmp_path, entry, called, capsys):
    entries = [entry("one", COUNTING), entry("two", COUNTING, "5", sliced=True), entry("three", COUNTING)]
    called(entries, "--list")
    said = capsys.readouterr().out
    assert said.count("not run") == 3
    assert "Nothing of this list has been run yet" in said
    called(entries[:2])
    capsys.readouterr()
    called(entries, "--list")
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["one", "two", "three"]
    assert "unfinished, 1 of 5 epochs" in said[1]
    assert "not run" in said[2]


def test_an_unknown_entry(called, entry, capsys):
    assert called([entry("one", COUNTING)], "--only", "won") == 2
    assert "no entry 'won': there are one" in capsys.readouterr().err


def test_a_machine_without_a_gpu_is_told_so(entry, called, capsys):
    assert called([entry("one", COUNTING)], "--device", "cuda") == 3
    assert "torch finds no CUDA device" in capsys.readouterr().err


def test_packages_that_are_missing_are_named(monkeypatch, capsys):
    assert surroundings.lacking(["numpy", "scikit-learn", "pyyaml"]) == {}
    assert surroundings.lacking(["numpy", "no_such_package"]) == {
        "no_such_package": "No module named 'no_such_package'"
    }
    answer = json.dumps({"lacking": {"pydantic": "No module named 'annotated_types'"}, "versions": {}, "machine": {}})
    found = subprocess.CompletedProcess([], 0, stdout=f"noise\n{answer}", stderr="")
    monkeypatch.setattr(processes.subprocess, "run", lambda *_, **__: found)
    with pytest.raises(Unfit, match=r"lacks pydantic \(No module named 'annotated_types'\): bring wheels"):
        processes.surroundings_of({})


def test_the_library_says_what_it_needs():
    needed = surroundings.core_dependencies()
    assert {"torch", "numpy", "pydantic", "scikit-learn"} <= set(needed)
    assert surroundings.lacking(needed) == {}


def wheel(folder: Path, name: str, tag: str = "py3-none-any") -> Path:
    """A wheel with one module that holds its own name."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"NAME = {name!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_wheels_are_installed_once_for_the_entries(tmp_path, monkeypatch):
    wheel(tmp_path / "wheels", "brought_along")
    environment = processes.environment_with(tmp_path, tmp_path / "wheels")
    command = [sys.executable, "-c", "import brought_along, preceptor; print(brought_along.NAME, preceptor.__file__)"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["brought_along", str(processes.ROOT / "src" / "preceptor" / "__init__.py")]
    monkeypatch.setattr("benchmarks.gpu.wheels._install", None)  # would fail if it were called
    assert site_of(tmp_path / "wheels", tmp_path).is_dir()


def test_wheels_that_do_not_fit_are_said_to(tmp_path):
    with pytest.raises(Unfit, match=r"holds no \.whl file"):
        site_of(tmp_path / "none", tmp_path)
    wheel(tmp_path / "wheels", "foreign", "cp27-cp27m-win32")
    with pytest.raises(Unfit, match=r"cannot be installed: .*not a supported wheel"):
        site_of(tmp_path / "wheels", tmp_path)


def test_the_list_itself_can_be_run():
    """Names are unique, what an entry builds on comes before it, and every command has something to start."""
    known: list[str] = []
    placeholders = dict.fromkeys(("device", "folder", "work", "data", "seconds", "out"), "x")
    for each in ENTRIES:
        assert each.name not in known
        assert set(each.after) <= set(known)
        assert each.minutes * 60 < 9 * 60 - processes.GRACE - 30, "it would never be begun"
        words = [word.format_map(placeholders) for word in each.command]
        assert words[words.index("--out") + 1] == "x"
        started = words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0]
        assert (processes.ROOT / started).is_file() or words[1] == "preceptor"
        known.append(each.name)


@pytest.mark.parametrize("each", [each for each in ENTRIES if each.command[0] != "-m"], ids=lambda each: each.name)
def test_a_benchmark_has_the_options_that_the_list_gives_it(each):
    text = (processes.ROOT / each.command[0]).read_text(encoding="utf-8")
    assert {word for word in each.command if word.startswith("--")} <= set(
        re.findall(r'add_argument\("(--[a-z-]+)"', text)
    )


@pytest.mark.parametrize("each", [each for each in ENTRIES if "preceptor" in each.command], ids=lambda each: each.name)
def test_the_command_line_knows_what_the_list_asks_of_it(each):
    from preceptor.cli.main import _parsed, _parser
    from preceptor.speed import find_pair, find_variants

    words = [word.format_map({"device": "cuda", "out": "x"}) for word in each.command[2:]]
    given = _parsed(_parser(words), words)
    assert str(given.out) == "x"
    assert [find_pair(name).name for name in given.pair or ()] == (given.pair or [])
    assert {variant.name for variant in find_variants(given.variant or ())} >= set(given.variant or ())


def test_the_readme_says_whether_anything_has_been_run():
    results = list((processes.ROOT / "results" / "gpu").glob("*.json"))
    told = (processes.ROOT / "benchmarks" / "gpu" / "README.md").read_text(encoding="utf-8")
    assert ("**Not run yet.**" in told) == (not results)
    for each in ENTRIES:
        assert f"`{each.name}`" in told or each.name.startswith("distill-resnet8x4-"), each.name
