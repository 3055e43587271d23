"""``preceptor select`` from the command line."""

import json

import pytest

from preceptor.run.scores import load_scores

FEW = ("--train-images", "60", "--device", "cpu")


@pytest.fixture
def scored(preceptor, teacher, tmp_path):
    file = tmp_path / "scores.safetensors"
    done = preceptor(
        "select", "--teacher", teacher, "--select", "el2n", *FEW, "--out", file, "keep=0.5", "ascending=true"
    )
    assert done.code == 0, done.err
    return file, done


def test_it_writes_what_it_shows(scored, preceptor):
    file, done = scored
    scores = load_scores(file)
    assert int(scores.selected.sum()) == 30
    assert scores.origin.options == {"keep": 0.5, "ascending": True}
    assert f"{file}: el2n (keep=0.5, ascending=True) on digits\nselected 30 of 60 samples" in done.out
    shown = preceptor("select", "--show", file)
    assert shown.out == done.out
    lowest = int(scores.index[scores.score.argsort(stable=True)[0]])
    assert f"lowest scores at positions  {lowest}, " in done.out


def test_json_is_one_object(scored, preceptor):
    file, _ = scored
    done = preceptor("select", "--show", file, "--json")
    summary = json.loads(done.out)
    assert summary["samples"] == 60
    assert summary["selected"] == 30
    assert summary["quantiles"]["0"] <= summary["quantiles"]["0.5"] <= summary["quantiles"]["1"]
    assert summary["highest"][0] in load_scores(file).index.tolist()


def test_distill_uses_the_file(scored, preceptor, teacher, tmp_path):
    file, _ = scored
    out = tmp_path / "student"
    chosen = ("recipe.selection={name: el2n, keep: 0.25}", "training.epochs=1", "--student", "convnet4")
    done = preceptor("distill", "--teacher", teacher, "--recipe", "ds", "--scores", file, *FEW, *chosen, "--out", out)
    assert done.code == 0, done.err
    assert "selected: 15 of them distilled, the others trained on their labels alone" in done.out
    used = load_scores(out / "scores.safetensors")
    assert used.score.tolist() == load_scores(file).score.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --teacher RUN_FOLDER and --out FILE"),
        (("--show", "nothing.safetensors"), "nothing.safetensors: not a whole score file"),
        (("--teacher", "T", "--out", "F", "--select", "drop_wrong"), "does not score samples before training"),
        (("--teacher", "T", "--out", "F", "--select", "influnce"), "did you mean 'influence'"),
        (("--teacher", "T", "--out", "F", "keep=2"), "keep = 2"),
        (("--teacher", "T", "--out", "F", "kepe=0.5"), "did you mean 'keep'"),
        (("--teacher", "T", "--out", "F", "--validation", "0"), "nothing is held out"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(preceptor, teacher, tmp_path, arguments, said):
    places = {"T": teacher, "F": tmp_path / "scores.safetensors"}
    done = preceptor("select", *(places.get(argument, argument) for argument in arguments))
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "scores.safetensors").exists()


def test_a_file_that_is_there_is_never_overwritten(scored, preceptor, teacher):
    file, _ = scored
    before = file.read_bytes()
    done = preceptor("select", "--teacher", teacher, *FEW, "--out", file)
    assert done.code == 2
    assert "exists; nothing is ever overwritten" in done.err
    assert file.read_bytes() == before
