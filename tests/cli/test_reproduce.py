"""``preceptor reproduce``: what there is, and a protocol run from a file."""

import json
from pathlib import Path

from tests.protocols.test_protocols import SMALL


def test_a_protocol_is_run_shown_and_gone_on_with(tmp_path: Path, preceptor) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    command = ["reproduce", tmp_path / "small.yaml", "--pairs", "convnet8-convnet4", "--seeds", "1", "--jobs", "1"]
    shown = preceptor(*command, "--recipes", "kd", "--out", tmp_path / "out")
    assert shown.code == 0
    assert "convnet8 to convnet4" in shown.out
    assert "60.00" in shown.out
    assert "- made up" in shown.out
    again = json.loads(preceptor(*command, "--recipes", "kd", "--out", tmp_path / "out", "--json").out)
    (pair,) = again["pairs"]
    assert [one["recipe"] for one in pair["recipes"]] == ["none", "kd"]
    assert pair["teacher_published"] == 0.9


def test_protocols_are_listed_and_slips_named(tmp_path: Path, preceptor) -> None:
    assert "cifar100" in preceptor("reproduce").out
    slip = preceptor("reproduce", "cifar10", "--out", tmp_path)
    assert slip.code == 2
    assert "unknown protocol 'cifar10'" in slip.err
    assert "did you mean 'cifar100'?" in slip.err
    (tmp_path / "small.yaml").write_text(SMALL)
    slip = preceptor("reproduce", tmp_path / "small.yaml", "--pairs", "convnet8-convnet5", "--out", tmp_path / "out")
    assert (slip.code, "unknown pair" in slip.err) == (2, True)
