import json
from dataclasses import replace

import pytest
import torch

from experiments.speed import verb
from experiments.speed.cases import PAIRS, VARIANTS
from experiments.speed.result import load_speed
from preceptor.cli.main import main
from preceptor.training import Compile
from tests.experiments.speed.tiny import TINY

BRIEF = ["--device", "cpu", "--compile", "never", "--rounds", "1", "--variant", "cache"]


@pytest.fixture
def one_tiny_pair(monkeypatch):
    for name in list(PAIRS):
        monkeypatch.delitem(PAIRS, name)
    monkeypatch.setitem(PAIRS, TINY.name, replace(TINY, batch_sizes=(4, 8)))


@pytest.mark.usefixtures("one_tiny_pair")
def test_all_measures_every_pair_at_every_batch_size_and_writes_the_result(preceptor, tmp_path):
    out = tmp_path / "bench" / "speed.json"
    done = preceptor("bench", "--all", *BRIEF, "--out", out)
    assert done.code == 0
    result = load_speed(out)
    assert [(case.batch_size, case.batches) for case in result.cases] == [(4, 2), (8, 2)]
    assert [row.variant for row in result.cases[0].rows] == ["baseline", "cache"]
    command = "preceptor bench --all --variant cache --rounds 1 --compile never --device cpu"
    assert result.command == command
    words = " ".join(done.out.split())
    assert f"Made by `{command}`" in words
    for case in result.cases:
        assert f"{case.row('cache').to_baseline.median:.2f} (" in words


@pytest.mark.usefixtures("one_tiny_pair")
def test_json_is_one_object_and_nothing_else(preceptor):
    done = preceptor("bench", *BRIEF, "--batch-size", "4", "--batches", "3", "--json")
    assert (done.code, done.err) == (0, "")
    content = json.loads(done.out)
    assert content["kind"] == "speed"
    assert [(case["batch_size"], case["batches"]) for case in content["cases"]] == [(4, 3)]


@pytest.mark.usefixtures("one_tiny_pair")
def test_quiet_prints_nothing(preceptor):
    done = preceptor("bench", *BRIEF, "--batch-size", "4", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pair", "resnet32x4"], "unknown pair 'resnet32x4': did you mean 'resnet32x4:resnet8x4'?"),
        (["--variant", "caches"], "unknown variant 'caches': did you mean 'cache'?"),
        (["--rounds", "0"], "--rounds is 0; expected 1 or more"),
        (["--batches", "0"], "--batches is 0; expected 1 or more"),
        (["--batch-size", "64", "--batch-size", "1"], "--batch-size is 1; expected 2 or more"),
        (["--compile", "alway"], "unknown --compile 'alway': did you mean 'always'?"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--all", "--batch-size", "64"], "--all is every pair at every batch size"),
    ],
)
def test_a_slip_is_one_line_before_anything_is_measured(preceptor, monkeypatch, options, message):
    monkeypatch.setattr(verb, "measure", lambda *_, **__: pytest.fail("measured"))
    done = preceptor("bench", *options)
    assert done.code == 2
    assert done.err.startswith(f"preceptor: {message}")
    assert done.err.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_graphs_need_a_gpu(preceptor):
    done = preceptor("bench", "--compile", "graph", "--pair", "resnet20:resnet8", "--batches", "1", "--rounds", "1")
    assert done.code == 3
    assert "graph" in done.err


def test_without_a_checkout_it_says_where_to_get_one(preceptor, monkeypatch, tmp_path):
    monkeypatch.setattr("preceptor.__file__", str(tmp_path / "site-packages" / "preceptor" / "__init__.py"))
    done = preceptor("bench")
    assert done.code == 2
    assert "experiments are not part of the installed package; get the source checkout" in done.err
    assert done.err.count("\n") == 1
    assert "cifar100" in preceptor("reproduce").out, "protocols are part of the package"


def test_the_help_names_every_pair_variant_and_way_of_compiling(capsys):
    from typing import get_args

    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    text = "".join(capsys.readouterr().out.split())  # argparse breaks names at hyphens
    for name in [*PAIRS, *(name for name in VARIANTS if name != "baseline"), *get_args(Compile)]:
        assert name in text
