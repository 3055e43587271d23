"""The demo, shrunk to seconds: what it prints and what it leaves."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.compare import demo as settings
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.result_files import read_result
from tests.cli.conftest import Outcome


@pytest.fixture(scope="module", autouse=True)
def shrunk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "TEACHER_EPOCHS", 6)
        patch.setattr(settings, "STUDENT_EPOCHS", 2)
        patch.setattr(settings, "RECIPES", ("none", "kd", "safe"))
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
    assert done.code == 0, done.err
    result = read_result(ComparisonResult, folder / "compared/compare.json")
    assert words(done.out).startswith(words(settings.SETTING))
    for arm in result.arms:
        assert re.search(rf"^\W*{arm.recipe}\W+{100 * arm.accuracy.mean:.2f}\b", done.out, re.MULTILINE), arm.recipe
    assert words(f"What it does not show: {settings.DOES_NOT_SHOW}") in words(done.out)
    assert "Another machine's numbers differ" in words(done.out)
    for name in ("compare.json", "compare.csv", "compare.html"):
        assert (folder / "compared" / name).exists()
        assert str(folder / "compared" / name) in done.out
    page = (folder / "compared/compare.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")


def test_again_into_the_same_folder_it_trains_nothing(demo, preceptor, monkeypatch):
    """A demo is to be looked at again."""
    monkeypatch.setattr("preceptor.compare.run_comparison.collect", None)
    monkeypatch.setattr(settings, "run", None)
    folder, _ = demo
    before = read_result(ComparisonResult, folder / "compared/compare.json")
    done = preceptor("demo", "--seeds", "1", "--out", folder, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert read_result(ComparisonResult, folder / "compared/compare.json") == before


def test_json_is_the_result_and_nothing_else(demo, preceptor):
    folder, _ = demo
    done = preceptor("demo", "--seeds", "1", "--out", folder, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == json.loads((folder / "compared/compare.json").read_text())


def test_no_seed_is_refused(preceptor, tmp_path):
    done = preceptor("demo", "--seeds", "0", "--out", tmp_path / "out")
    assert (done.code, (tmp_path / "out").exists()) == (2, False)
    assert "--seeds is 0; expected 1 or more" in done.err
