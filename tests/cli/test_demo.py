"""The demo, shrunk to a second: what it prints and what it leaves."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from experiments.studies import STUDIES
from preceptor import compare
from preceptor.cli import study
from preceptor.cli.main import main
from preceptor.compare import load_result
from preceptor.compare.table import cells
from preceptor.training import TrainingConfig
from tests.cli.conftest import Outcome

SHRUNK = {
    "held_out": 0.4,
    "training_images": 60,
    "teacher": "convnet8",
    "student": "convnet4",
    "teacher_training": TrainingConfig(epochs=2, batch_size=32),
    "student_training": TrainingConfig(epochs=2, batch_size=32),
    "examples": 2,
}


@pytest.fixture(scope="module", autouse=True)
def shrunk():
    with pytest.MonkeyPatch.context() as patch:
        small = compare.DEMO.model_copy(update=SHRUNK)
        patch.setattr(compare, "DEMO", small)
        patch.setitem(STUDIES, "demo", small)
        patch.setenv("COLUMNS", "120")
        yield


@pytest.fixture(scope="module")
def demo(shrunk, tmp_path_factory) -> tuple[Path, Outcome]:
    """The folder of a demo, and what it came to."""
    folder, out, err = tmp_path_factory.mktemp("demo"), io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["demo", "--seeds", "1", "--out", str(folder)])
    return folder, Outcome(code, out.getvalue(), err.getvalue())


def words(text: str) -> str:
    return " ".join(text.split())


def test_it_ends_with_the_table_and_what_it_shows(demo):
    folder, done = demo
    assert (done.code, done.err) == (0, "")
    settings, result = compare.DEMO, load_result(folder / "result.json")
    assert words(done.out).startswith(words(settings.setting))
    assert [row.arm for row in result.rows] == [arm.name for arm in settings.arms]
    for row in result.rows:
        name, accuracy, difference, affected = cells(row, result)
        line = rf"^\W*{re.escape(name)}\W+{re.escape(accuracy)}\W+.*{re.escape(affected)}\W*$"
        assert re.search(line, done.out, re.MULTILINE), name
        assert difference in done.out
    assert words(f"What it does not show: {settings.does_not_show}") in words(done.out)
    assert "Another machine's numbers differ" in words(done.out)
    for path in (folder / "result.json", folder / "report.html"):
        assert str(path) in done.out


def test_it_says_how_faulty_the_teacher_is(demo):
    folder, done = demo
    teacher = load_result(folder / "result.json").teachers[0]
    assert f"learned from {teacher.images:,} images" in words(done.out)
    assert f"{teacher.wrong_labels[0]} wrong labels" in words(done.out)
    assert f"{100 * teacher.accuracy[0]:.1f} %" in done.out.replace("\N{NO-BREAK SPACE}", " ")


def test_no_recipe_is_cut_off_on_a_narrow_terminal(demo, capsys, monkeypatch):
    folder, _ = demo
    monkeypatch.setenv("COLUMNS", "80")
    study._show(load_result(folder / "result.json"))
    shown = capsys.readouterr().out
    for name in [arm.name for arm in compare.DEMO.arms]:
        assert re.search(rf"^\W*{name}\b", shown, re.MULTILINE), name


def test_the_page_needs_nothing_else(demo):
    folder, _ = demo
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", page)
    for name in [arm.name for arm in compare.DEMO.arms]:
        assert name in page.replace("<wbr>", "")
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "result.json"]


def test_quietly_again_into_the_same_folder(demo, preceptor, tmp_path):
    """A demo is to be tried again; what it made before is its own to replace."""
    for file in demo[0].iterdir():
        (tmp_path / file.name).write_text("old")
    done = preceptor("demo", "--seeds", "1", "--out", tmp_path, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    first, second = (load_result(folder / "result.json") for folder in (demo[0], tmp_path))
    assert first.rows == second.rows


def test_json_is_the_result_and_nothing_else_and_reproduce_runs_the_same_study(demo, preceptor, tmp_path):
    again = preceptor("reproduce", "demo", "--seeds", "1", "--out", tmp_path / "results", "--json")
    assert (again.code, again.err) == (0, "")
    printed = json.loads(again.out)
    assert printed == json.loads((tmp_path / "results" / "demo.json").read_text())
    first = json.loads((demo[0] / "result.json").read_text())
    assert first.pop("seconds") > 0
    assert printed.pop("seconds") > 0
    assert first == printed
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["demo.html", "demo.json"]


def test_reproduce_lists_the_studies(preceptor):
    titles = {name: settings.title for name, settings in STUDIES.items()}
    assert json.loads(preceptor("reproduce", "--json").out) == titles
    shown = preceptor("reproduce").out
    for name, title in titles.items():
        assert f"{name} " in shown
        assert title in words(shown)
