"""The page that ``preceptor audit`` writes beside its files."""

import json
import sys

import numpy as np
import pytest

from tests.training_helpers import digits


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    labels = digits().train.labels.numpy()
    logits = 4 * np.eye(10, dtype=np.float32)[(labels + (np.arange(len(labels)) % 9 == 0)) % 10]
    path = tmp_path_factory.mktemp("teacher") / "logits.npy"
    np.save(path, logits)
    return path


def test_audit_writes_the_page_beside_its_files(preceptor, outputs, tmp_path):
    done = preceptor("audit", "--teacher", outputs, "--teacher-output", "logits", "--out", tmp_path)
    assert done.code == 0
    assert "audit.json" in done.out
    assert "audit.html" in done.out
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    found = json.loads((tmp_path / "audit.json").read_text())
    assert f"on {len(found['disagreements']['index']):,} the two disagree" in page
    assert "no page" not in done.err


def test_audit_without_the_report_extra_says_how_to_get_the_page(preceptor, outputs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = preceptor("audit", "--teacher", outputs, "--teacher-output", "logits", "--out", tmp_path)
    assert done.code == 0
    assert done.err.count("no page: a page needs jinja2") == 1
    assert "pip install 'preceptor[report]'" in done.err
    assert "audit.html" not in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.json", "audit.parquet"]
