"""``preceptor doctor``: text for people, JSON for scripts, and the exit code."""

import json

import pytest
import yaml

from tests.cli.conftest import SMALL
from tests.run.doctor.conftest import able_teacher, changed  # noqa: F401


@pytest.fixture
def shifted(changed):  # noqa: F811
    """A teacher whose classes are all one output further."""
    return changed(order=[*range(1, 10), 0])


def test_nothing_wrong(preceptor, able_teacher):  # noqa: F811
    done = preceptor("doctor", "--teacher", able_teacher, "--student", "convnet4", "--recipe", "kd")
    assert (done.code, done.err) == (0, "")
    assert "ok       label order" in done.out
    assert "\n11 checks passed\n" in done.out


def test_a_problem_is_shown_with_its_remedy_and_ends_with_2(preceptor, shifted):
    done = preceptor("doctor", "--teacher", shifted, "--quick")
    assert done.code == 2
    assert "problem  label order" in done.out
    assert "-> bring its outputs, or the labels, into one order" in done.out
    assert done.err == "preceptor: problems: teacher accuracy, label order\n"


def test_json_for_scripts(preceptor, shifted):
    done = preceptor("doctor", "--teacher", shifted, "--student", "convnet4", "--json")
    assert done.code == 2
    assert done.out.count("\n") == 1
    content = json.loads(done.out)
    assert content["problems"] == len([f for f in content["findings"] if f["status"] == "problem"]) > 0
    assert {"name", "status", "message", "remedy", "numbers"} == set(content["findings"][0])


def test_quiet_leaves_the_exit_code(preceptor, shifted):
    done = preceptor("doctor", "--teacher", shifted, "--quick", "--quiet")
    assert (done.code, done.out) == (2, "")
    assert "; label order: the teacher's classes are in another order than the labels: " in done.err
    assert done.err.endswith(": bring its outputs, or the labels, into one order; nothing is reordered for you\n")


def test_it_takes_no_out(preceptor, able_teacher, tmp_path):  # noqa: F811
    done = preceptor("doctor", "--teacher", able_teacher, "--out", tmp_path / "run")
    assert done.code == 2
    assert "--out" in done.err


def test_distill_warns_in_lines_and_goes_on(preceptor, shifted, tmp_path):
    flags = ["--teacher", shifted, "--train-images", "300", *SMALL[2:]]
    loud = preceptor("distill", *flags, "--out", tmp_path / "loud")
    assert loud.code == 0
    assert "preceptor: problem: label order: the teacher's classes are in another order" in loud.err
    quiet = preceptor("distill", *flags, "--out", tmp_path / "quiet", "--json")
    assert (quiet.code, quiet.err) == (0, "")
    findings = json.loads(quiet.out)["doctor"]
    assert "label order" in [finding["name"] for finding in findings if finding["status"] == "problem"]
    record = yaml.safe_load((tmp_path / "quiet" / "run.yaml").read_text())["record"]
    assert record["doctor"] == findings
