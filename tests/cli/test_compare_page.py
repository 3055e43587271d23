"""The page and the table that ``preceptor compare`` writes beside its result."""

import csv
import json
import sys

from tests.cli.conftest import SMALL

TINY = ["--recipes", "none,kd", "--seeds", "1", "--student", "convnet4", "--jobs", "1", "--force", *SMALL]


def test_page_and_tables_are_listed_and_made_again(preceptor, teacher, tmp_path):
    out = tmp_path / "out"
    command = ["compare", "--teacher", teacher, "--out", out, *TINY]
    done = preceptor(*command)
    assert done.code == 0
    assert "no page" not in done.err
    listed = " ".join(done.out.split()).split("files: ")[1]
    assert listed == ", ".join(str(out / name) for name in ("compare.json", "compare.csv", "compare.html"))
    found = json.loads((out / "compare.json").read_text())
    page = (out / "compare.html").read_text(encoding="utf-8")
    for arm in found["arms"]:
        assert f"{100 * arm['accuracy']['mean']:.2f}" in page
    with (out / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["recipe"] for row in rows] == ["none", "kd"]
    assert [float(row["accuracy"]) for row in rows] == [arm["accuracy"]["mean"] for arm in found["arms"]]
    for name in ("compare.csv", "compare.html"):
        (out / name).unlink()
    assert preceptor(*command).code == 0
    assert (out / "compare.html").read_text(encoding="utf-8") == page


def test_without_the_report_extra_it_says_how_to_get_the_page(preceptor, teacher, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = preceptor("compare", "--teacher", teacher, "--out", tmp_path, *TINY)
    assert done.code == 0
    assert done.err.count("no page: a page needs jinja2") == 1
    assert "pip install 'preceptor[report]'" in done.err
    assert "compare.html" not in done.out
    assert not (tmp_path / "compare.html").exists()
