"""What the README shows works: its Python runs, its commands are commands."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import torch

from preceptor import DistillationLoss, recipe
from preceptor.cli.main import VERBS, main
from preceptor.run import RunConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The words of every shell command, without comments, continued lines joined."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


PRECEPTOR = [words[1:] for words in commands() if words[0] == "preceptor"]


def test_there_is_python_and_there_are_commands():
    assert blocks("python")
    assert PRECEPTOR
    assert ["make", "demo"] in commands()


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_python_runs_as_it_stands(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_the_loop_of_the_readme_teaches_the_student():
    [code] = [code for code in blocks("python") if "DistillationLoss(**recipe(" in code]
    names: dict = {"__name__": "readme"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(compile(code, "README.md", "exec"), names)
    assert names["student_logits"].grad.abs().sum() > 0
    assert names["terms"].total.item() == pytest.approx(sum(loss.item() for loss in names["terms"].losses.values()))
    wrong = names["teacher_logits"].argmax(dim=1) != names["label"]
    assert torch.equal(names["terms"].audit.corrected, wrong)


@pytest.mark.parametrize("words", PRECEPTOR, ids=" ".join)
def test_commands_are_understood(monkeypatch, words):
    verb, *_ = words
    assert verb in VERBS
    understood = []
    monkeypatch.setattr(import_module(f"preceptor.cli.{verb}"), "run", understood.append)
    assert main(words) == 0
    assert understood[0].verb == verb


@pytest.mark.parametrize(
    "words",
    [words for words in PRECEPTOR if words[0] in ("train", "distill") and "--config" not in words],
    ids=" ".join,
)
def test_settings_in_commands_are_settings(monkeypatch, words):
    """Every flag and key=value resolves to a configuration, recipe and protocol included."""
    configured = []

    def stop(config, *_, **__):
        configured.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("preceptor.run.run", stop)
    assert main([*words, "--quiet"]) == 130
    assert isinstance(configured[0], RunConfig)


def test_yaml_is_a_recipe(tmp_path):
    assert blocks("yaml")
    for number, text in enumerate(blocks("yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        assert DistillationLoss(**recipe(path)).terms


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
