"""Whatever is wrong: one line that names it and the way out, exit code 2 or 3, and nothing left behind."""

import os
import subprocess
import sys

import pytest
import torch

from tests.cli.conftest import SMALL, Command, Outcome
from tests.cli.kind_slips import COMPONENT_TYPES
from tests.cli.slips import DATA, FILES, NAMES, TEACHERS, VALUES, Bench, Slip


@pytest.fixture
def bench(tmp_path, teacher) -> Bench:
    return Bench(tmp_path, teacher)


def check(outcome: Outcome, slip: Slip) -> None:
    assert outcome.code == slip.code, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("preceptor: ")
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("\n")
    for words in slip.told:
        assert words in outcome.err
    assert "Traceback" not in outcome.err


def answer(slip: Slip, bench: Bench, preceptor: Command) -> None:
    command = slip.command(bench)
    before = sorted(bench.folder.rglob("*"))
    check(preceptor(*command), slip)
    assert sorted(bench.folder.rglob("*")) == before


def table(slips: list[Slip]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("slip", slips, ids=[slip.name for slip in slips])


@table(NAMES)
def test_a_name_that_is_not_known(slip, bench, preceptor):
    answer(slip, bench, preceptor)


@table(VALUES)
def test_a_value_that_cannot_be(slip, bench, preceptor):
    answer(slip, bench, preceptor)


@table(TEACHERS)
def test_a_teacher_or_student_that_cannot_be_used(slip, bench, preceptor):
    answer(slip, bench, preceptor)


@table(COMPONENT_TYPES)
def test_a_teacher_of_another_kind_that_cannot_be_used(slip, bench, preceptor):
    answer(slip, bench, preceptor)


@table(DATA)
def test_data_that_cannot_be_trained_on(slip, bench, preceptor):
    answer(slip, bench, preceptor)


@table(FILES)
def test_a_configuration_that_cannot_be_read(slip, bench, preceptor):
    answer(slip, bench, preceptor)


def test_an_out_folder_that_is_not_empty(bench, preceptor):
    bench.out.mkdir()
    (bench.out / "student.json").write_text("dear")
    check(preceptor(*bench.train()), Slip("", bench.train, ("out: not empty", "choose another --out")))
    assert [path.name for path in bench.out.iterdir()] == ["student.json"]
    assert (bench.out / "student.json").read_text() == "dear"


@pytest.mark.parametrize("command", [["train"], ["demo"]], ids=" ".join)
def test_an_out_folder_that_is_a_file(bench, preceptor, command):
    """Found before the work: the demo takes a minute and a half."""
    bench.out.write_text("dear")
    outcome = preceptor(*command, "--out", bench.out)
    check(outcome, Slip("", bench.train, (str(bench.out), "choose another --out"), outcome.code))
    assert outcome.code in (2, 3)
    assert bench.out.read_text() == "dear"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("command", [["train", *SMALL], ["demo"]], ids=["train", "demo"])
def test_an_out_folder_that_cannot_be_written(bench, preceptor, command):
    bench.folder.chmod(0o500)
    try:
        outcome = preceptor(*command, "--out", bench.out)
        check(outcome, Slip("", bench.train, (str(bench.out), "choose another --out"), 3))
    finally:
        bench.folder.chmod(0o700)


@pytest.mark.parametrize("command", ["train", "demo"])
def test_an_out_folder_inside_a_file(bench, preceptor, command):
    path = bench.file("notes.txt", b"dear")
    outcome = preceptor(command, "--out", path / "run")
    check(outcome, Slip("", bench.train, ("notes.txt", "choose another --out"), 3))


def test_cuda_where_there_is_none(bench, preceptor, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (bench.train("--device", "cuda"), ["demo", "--device", "cuda", "--out", bench.out]):
        outcome = preceptor(*command)
        assert outcome.out == "" or command[0] == "demo"
        check(Outcome(outcome.code, "", outcome.err), Slip("", bench.train, ("device cuda", "use --device cpu"), 3))
    evaluated = preceptor("evaluate", bench.sound_teacher, "--device", "cuda")
    check(evaluated, Slip("", bench.train, ("device cuda", "use --device cpu"), 3))


def test_an_extra_that_is_not_installed(bench, preceptor, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    outcome = preceptor(*bench.train("--model", "timm:resnet18"))
    check(outcome, Slip("", bench.train, ("timm, which is not installed", "pip install 'preceptor[vision]'"), 3))
    assert not bench.out.exists()


def test_evaluate_asks_for_no_device_that_is_not_known(bench, preceptor):
    outcome = preceptor("evaluate", bench.sound_teacher, "--device", "gpu")
    check(outcome, Slip("", bench.train, ("'gpu'", "cpu", "cuda")))


def test_a_run_that_diverges(bench, preceptor):
    outcome = preceptor(*bench.train(*SMALL, "--model", "convnet4", "--lr", "1e18"))
    check(outcome, Slip("", bench.train, ("diverged", "lower the learning rate")))


SEVERAL = """
import sys
from preceptor.cli.main import main

codes = [main(line.split("\\t")) for line in sys.stdin.read().splitlines()]
print(*codes)
"""


def test_on_the_real_standard_error_too_it_is_one_line_each(bench):
    """In a process of its own, where warnings and whatever libraries print would show."""
    slips = [TEACHERS[3], TEACHERS[5], TEACHERS[6], TEACHERS[13], DATA[1], DATA[6], DATA[8], FILES[3], NAMES[4]]
    lines = []
    for number, slip in enumerate(slips):
        folder = bench.folder / str(number)
        folder.mkdir()
        lines.append("\t".join(str(word) for word in slip.command(Bench(folder, bench.sound_teacher))))
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2"] * len(slips)
    said = done.stderr.splitlines()
    assert len(said) == len(slips), done.stderr
    for slip, line in zip(slips, said, strict=True):
        assert all(words in line for words in slip.told), slip.name
