"""``preceptor export`` from the command line: what a user gets, and what is left where it cannot be."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from preceptor.export import latencies
from preceptor.metrics.logits import network_logits
from preceptor.models import SetDecision, load_student, save_card
from tests.cli.conftest import SMALL
from tests.export.students import SOURCE, decision
from tests.measured import measure_student
from tests.training_helpers import digits

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (extra onnx)")
pytest.importorskip("onnxscript", reason="needs onnxscript (extra onnx)")


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Latencies of few runs."""
    monkeypatch.setattr(latencies, "__defaults__", (0.001,))


@pytest.fixture
def student(preceptor, teacher, tmp_path):
    """A distilled student that was calibrated, in a folder of its own."""
    folder = tmp_path / "student"
    flags = ("--teacher", teacher, "--student", "convnet4", "--recipe", "kd", *SMALL)
    assert preceptor("distill", *flags, "--out", folder, "--quiet").code == 0
    network, card = load_student(folder)
    scores = network_logits(network, card.normalization(), digits().test.images).double().softmax(dim=1).amax(dim=1)
    save_card(folder, card.model_copy(update={"decision": decision(threshold=float(scores.median()) + 1e-6)}))
    return folder


@pytest.fixture
def deployed(preceptor, teacher, tmp_path_factory):
    """Where the teacher lies as ONNX; made once."""
    folder = tmp_path_factory.getbasetemp() / "exported" / "deployed"
    if not folder.exists():
        done = preceptor("export", teacher, "--out", folder, "--quiet")
        assert (done.code, done.out, done.err) == (0, "", "")
    return folder


def test_everything_as_json(preceptor, student, teacher, tmp_path):
    out = tmp_path / "deployed"
    formats = ("--format", "onnx", "--format", "pt2", "--format", "state-dict")
    outcome = preceptor("export", student, "--out", out, *formats, "--int8", "static", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    content = json.loads(outcome.out)
    sizes = {name: size for file in content["files"] for name, size in file["bytes"].items()}
    assert sizes == {path.name: path.stat().st_size for path in out.iterdir()}
    assert set(sizes) == {*("student.onnx", "student.pt2", "student.safetensors", "student.json", "student.int8.onnx")}
    assert [file["agreement"] is None for file in content["files"]] == [False, False, False, True]
    assert (content["data"], content["split"], content["teacher"]) == ("digits", "test", str(teacher))
    _check_int8(content["int8"], out)
    _check_costs(content["costs"], student, teacher, sizes)


def _check_int8(content, out):
    assert content["mode"] == "static"
    test = digits().test
    for when, name in (("before", "student.onnx"), ("after", "student.int8.onnx")):
        session = onnxruntime.InferenceSession(out / name)
        label, answered = session.run(["label", "answered"], {"images": test.images.numpy()})
        wrong = label != test.labels.numpy()
        assert content[when]["accuracy"] == pytest.approx(1 - wrong.mean())
        assert content[when]["coverage"] == pytest.approx(answered.mean())
        assert content[when]["risk"] == pytest.approx(wrong[answered].mean())
    assert 0 < content["before"]["coverage"] < 1


def _check_costs(content, student, teacher, sizes):
    costs = {cost["name"]: cost for cost in content}
    assert list(costs) == [
        *("teacher, PyTorch", "student, PyTorch", "student.onnx, ONNX Runtime", "student.pt2, PyTorch"),
        "student.int8.onnx, ONNX Runtime",
    ]
    for name, folder in (("student, PyTorch", student), ("teacher, PyTorch", teacher)):
        network, _ = load_student(folder)
        assert costs[name]["parameters"] == sum(weight.numel() for weight in network.parameters())
        assert costs[name]["file_bytes"] == (folder / "student.safetensors").stat().st_size
        assert costs[name]["multiply_adds"] > 0
    assert costs["student.pt2, PyTorch"]["file_bytes"] == sizes["student.pt2"]
    assert all(set(cost["milliseconds"]) == {"1", "64"} for cost in costs.values())


def test_what_people_see(preceptor, student, tmp_path):
    out = tmp_path / "deployed"
    done = preceptor("export", student, "--out", out, "--int8", "dynamic")
    assert (done.code, done.err) == (0, "")
    assert [path.name for path in sorted(out.iterdir())] == ["student.int8.onnx", "student.onnx"]
    lines = done.out.splitlines()
    assert lines[0].startswith(
        f"{out / 'student.onnx'}: on 256 images of digits (test), in batches of 1, 7, 64, all labels"
    )
    assert lines[1] == f"{out / 'student.int8.onnx'}: the network in int8, measured below"
    assert "at most 2.00% errors among its answers" in lines[2]
    assert "the guarantee is fp32's: it does not carry over to int8" in done.out
    for row in ("accuracy", "AURC by softmax_response", "error at coverage 90 %", "risk at the threshold"):
        assert any(line.startswith(row) for line in lines)
    for row in ("teacher, PyTorch", "student, PyTorch", "student.onnx, ONNX Runtime"):
        assert any(line.startswith(row) for line in lines)


def test_the_exported_student_is_the_one_that_is_measured(deployed, teacher):
    session = onnxruntime.InferenceSession(deployed / "student.onnx")
    label, answered = session.run(["label", "answered"], {"images": digits().test.images.numpy()})
    assert np.mean(label == digits().test.labels.numpy()) == pytest.approx(measure_student(teacher)[0].accuracy)
    assert answered.all()


def test_a_student_without_a_teacher_is_shown_alone(preceptor, teacher, tmp_path):
    """One that learned by labels, whose run names none; and a copy that has no run at all."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("student.json", "student.safetensors"):
        shutil.copy(teacher / name, copy)
    for number, folder in enumerate((teacher, copy)):
        done = preceptor("export", folder, "--out", tmp_path / str(number), "--format", "state-dict", "--json")
        content = json.loads(done.out)
        assert (content["teacher"], [cost["name"] for cost in content["costs"]]) == (None, ["student, PyTorch"])
        assert content["without_teacher"] == "the run has no single network as teacher"


def test_a_teacher_that_is_gone_is_said_to_be(preceptor, student, tmp_path):
    path = student / "run.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"]["teacher"] = "gone"
    path.write_text(yaml.safe_dump(content))
    done = preceptor("export", student, "--out", tmp_path / "out", "--format", "state-dict")
    assert done.code == 0
    assert "teacher not listed: gone: no such folder" in done.out


@pytest.mark.parametrize("chosen", ["state-dict", "onnx"])
def test_a_copied_run_without_its_data_is_compared_on_random_images(preceptor, student, tmp_path, chosen):
    """A machine with the run folder alone; the data that the card names is not there."""
    _, card = load_student(student)
    save_card(student, card.model_copy(update={"data": "folder:gone"}))
    flags = ("export", student, "--format", chosen, "--out")
    done = preceptor(*flags, tmp_path / "one")
    assert (done.code, done.err) == (0, "")
    assert "on 256 random images, in batches of 1, 7, 64, all labels are the student's" in done.out
    assert "not compared on real images: gone: no such folder" in done.out
    content = json.loads(preceptor(*flags, tmp_path / "two", "--json").out)
    assert (content["data"], content["split"]) == (None, None)
    assert content["without_data"].startswith("gone: no such folder")
    assert content["files"][0]["agreement"]["images"] == 256


def test_int8_needs_the_data(preceptor, student, tmp_path):
    _, card = load_student(student)
    save_card(student, card.model_copy(update={"data": "folder:gone"}))
    done = nothing_left(preceptor, tmp_path / "out", student, "--int8", "dynamic")
    assert done.code == 2
    assert "gone: no such folder" in done.err


def test_prediction_sets_are_told_to_be_on_the_card_alone(preceptor, student, tmp_path):
    _, card = load_student(student)
    sets = SetDecision(method="lac", alpha=0.1, threshold=0.5, calibrated_on=SOURCE)
    save_card(student, card.model_copy(update={"sets": sets}))
    done = preceptor("export", student, "--format", "state-dict", "--out", tmp_path / "out")
    assert "prediction sets are on the card, not in the file" in done.out


def nothing_left(preceptor, out, *words):
    done = preceptor("export", *words, "--out", out)
    assert (done.out, done.err.count("\n")) == ("", 1)
    assert not out.exists()
    return done


def test_a_file_that_does_not_agree_leaves_nothing(preceptor, student, tmp_path, monkeypatch):
    from preceptor.export import formats

    def wrong_runner(chosen, folder):
        run = right_runner(chosen, folder)
        return lambda images: run(images)._replace(label=run(images).label * (chosen != "pt2"))

    right_runner = formats.runner
    monkeypatch.setattr(formats, "runner", wrong_runner)
    done = nothing_left(preceptor, tmp_path / "out", student, "--format", "state-dict", "--format", "pt2")
    assert done.code == 3
    assert "student.pt2: differs from the student" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teacher", "gone"], "gone: no such folder"),
        (["--format", "pt2", "--int8", "static"], "int8 is made from the ONNX file: give --format onnx with it"),
        (["--format", "tflite"], "invalid choice: 'tflite'"),
        (["--data", "folder:gone"], "gone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line(preceptor, student, tmp_path, words, message):
    done = nothing_left(preceptor, tmp_path / "out", student, *words)
    assert done.code == 2
    assert message in done.err


def test_a_score_of_the_teachers_is_refused(preceptor, student, tmp_path):
    _, card = load_student(student)
    save_card(student, card.model_copy(update={"decision": decision("teacher_probability", 0.5)}))
    done = nothing_left(preceptor, tmp_path / "out", student)
    assert done.code == 2
    assert "score teacher_probability needs the teacher" in done.err


def test_nothing_is_overwritten(preceptor, student, tmp_path):
    (tmp_path / "student.onnx").write_text("dear")
    done = preceptor("export", student, "--out", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "student.onnx: exists, and nothing is overwritten" in done.err
    assert (tmp_path / "student.onnx").read_text() == "dear"


PAGE = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_are_commands(preceptor, monkeypatch):
    understood = []
    monkeypatch.setattr("preceptor.cli.export.run", understood.append)
    lines = [shlex.split(line, comments=True) for line in "".join(blocks("bash")).splitlines()]
    exports = [words[1:] for words in lines if words[0] == "preceptor"]
    assert len(exports) >= 3
    assert all(preceptor(*words).code == 0 for words in exports)
    assert len(understood) == len(exports)


def test_the_python_of_the_page_runs_as_it_stands(deployed, monkeypatch, capsys):
    monkeypatch.chdir(deployed.parent)
    for code in blocks("python"):
        exec(compile(code, "deploying.md", "exec"), {"__name__": "page"})
    assert len(capsys.readouterr().out.splitlines()) == 5
