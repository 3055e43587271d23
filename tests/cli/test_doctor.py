"""``preceptor doctor``: text for people, JSON for scripts, and the exit code."""

import json

import numpy as np
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
    assert "\n1 warning, 12 checks passed\n" in done.out
    assert "warning  quick student" in done.out  # no teacher of digits is better than a kernel regression


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


def test_a_problem_stops_distill_and_force_goes_on(preceptor, shifted, tmp_path):
    flags = ["--teacher", shifted, "--train-images", "300", *SMALL[2:]]
    stopped = preceptor("distill", *flags, "--out", tmp_path / "run")
    assert stopped.code == 2
    assert "preceptor: problem: label order: the teacher's classes are in another order" in stopped.err
    last = "preceptor: problems: teacher accuracy, label order: nothing was trained; --force trains all the same\n"
    assert stopped.err.endswith(last)
    assert not (tmp_path / "run").exists()
    forced = preceptor("distill", *flags, "--out", tmp_path / "run", "--force", "--json")
    assert (forced.code, forced.err) == (0, "")
    findings = json.loads(forced.out)["doctor"]
    assert "label order" in [finding["name"] for finding in findings if finding["status"] == "problem"]
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["record"]
    assert (record["doctor"], record["forced"]) == (findings, True)


def test_a_problem_in_json_and_in_quiet(preceptor, shifted, tmp_path):
    flags = ["--teacher", shifted, "--train-images", "300", *SMALL[2:], "--out", tmp_path / "run"]
    scripted = preceptor("distill", *flags, "--json")
    assert scripted.code == 2
    assert "label order" in [finding["name"] for finding in json.loads(scripted.out)["doctor"]]
    quiet = preceptor("distill", *flags, "--quiet")
    assert (quiet.code, quiet.out) == (2, "")
    assert quiet.err.count("\n") == 1
    assert "label order: the teacher's classes are in another order" in quiet.err


def test_a_teacher_that_is_a_file_is_warned_of_and_trains(preceptor, tmp_path):
    from tests.training_helpers import digits

    np.save(tmp_path / "rows.npy", 5 * np.eye(10, dtype=np.float32)[digits().train.labels.numpy()])
    flags = ["--teacher", tmp_path / "rows.npy", "--teacher-output", "logits", *SMALL, "--out", tmp_path / "run"]
    done = preceptor("distill", *flags)
    assert done.code == 0
    assert "preceptor: warning: views: " in done.err
    assert "augment=false" in done.err


@pytest.mark.parametrize("verb", ["distill", "doctor", "audit", "cache"])
def test_the_normalization_of_an_onnx_teacher_has_flags(preceptor, verb, capsys):
    with pytest.raises(SystemExit):
        preceptor(verb, "--help")
    shown = capsys.readouterr().out
    assert "--teacher-mean X,..." in shown
    assert "--teacher-std X,..." in shown


def test_numbers_that_are_none_are_named(preceptor):
    done = preceptor("doctor", "--teacher", "t.onnx", "--teacher-mean", "0.5;0.5", "--teacher-std", "1")
    assert done.code == 2
    assert "--teacher-mean: '0.5;0.5': expected a number, or several with commas between them" in done.err
