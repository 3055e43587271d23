"""The README, the guide and CONTRIBUTING: their Python runs, their commands parse, their links lead somewhere."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import torch

from preceptor import DistillationLoss, recipe
from preceptor.cli.main import VERBS, main
from preceptor.conformance import check_component
from preceptor.run import RunConfig

ROOT = Path(__file__).parents[1]
RUN = [ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "CONTRIBUTING.md"]
"""Pages whose Python runs as it stands."""
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every shell command as a list of arguments, without comments, continued lines joined."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [arguments for line in lines if (arguments := shlex.split(line, comments=True))]


PYTHON = [code for page in RUN for code in blocks(page, "python")]
PRECEPTOR = [arguments[1:] for page in PAGES for arguments in commands(page) if arguments[0] == "preceptor"]


def test_the_pages_hold_python_and_commands():
    assert len(PYTHON) > 4
    assert len(PRECEPTOR) > 20


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[0])
def test_python_runs_as_it_stands(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        exec(compile(code, "page.md", "exec"), {"__name__": "page"})


def test_the_loop_of_the_readme_trains_the_student():
    code = blocks(ROOT / "README.md", "python")[-1]
    names: dict = {"__name__": "page"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(compile(code, "README.md", "exec"), names)
    output = names["output"]
    assert names["student"].weight.grad.abs().sum() > 0
    assert names["teacher"].weight.grad is None
    assert output.total.item() == pytest.approx(sum(loss.item() for loss in output.losses.values()))
    wrong = names["teacher_logits"].argmax(dim=1) != names["label"]
    assert torch.equal(output.audit.corrected, wrong)


@pytest.mark.usefixtures("registry")
def test_the_method_of_contributing_conforms(monkeypatch, tmp_path):
    """As a module on disk: torch.compile looks a function's module up by name."""
    [code] = blocks(ROOT / "CONTRIBUTING.md", "python")
    (tmp_path / "huber_of_contributing.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import_module("huber_of_contributing")
    check_component("loss", "huber")


@pytest.mark.parametrize("arguments", PRECEPTOR, ids=" ".join)
def test_commands_are_understood(monkeypatch, arguments):
    verb, *_ = arguments
    assert verb in VERBS
    understood = []
    monkeypatch.setattr(import_module(f"preceptor.cli.{verb}"), "run", understood.append)
    monkeypatch.setattr("preceptor.cli.main.starts_processes", lambda arguments: False)
    assert main(arguments) == 0
    assert understood[0].verb == verb


@pytest.mark.parametrize(
    "arguments",
    [words for words in PRECEPTOR if words[0] in ("train", "distill") and "--config" not in words],
    ids=" ".join,
)
def test_settings_in_commands_are_settings(monkeypatch, arguments):
    """Every flag and key=value resolves to a configuration, recipe and training included."""
    configured = []

    def stop(config, *_, **__):
        configured.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("preceptor.run.run", stop)
    monkeypatch.setattr("preceptor.cli.main.starts_processes", lambda arguments: False)
    assert main([*arguments, "--quiet"]) == 130
    assert isinstance(configured[0], RunConfig)


def test_yaml_is_a_recipe(tmp_path):
    texts = blocks(ROOT / "docs" / "guide.md", "yaml")
    assert texts
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        assert DistillationLoss(**recipe(path)).terms


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        assert target.startswith(("https://", "http://")) or (page.parent / target).exists(), target
