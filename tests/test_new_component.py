"""What a new method costs: one class and one decorator, in a file of its own or in somebody else's package."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from preceptor import DistillationLoss, InputError, recipe, register
from preceptor.cli.main import main
from preceptor.component_types import TargetSpace
from preceptor.conformance import conformance_cases
from preceptor.registry import components


@dataclass(frozen=True)
class Huber:
    """Huber loss on logits, mean over classes."""

    delta: float = 1.0
    target_space: ClassVar[TargetSpace] = "logits"
    zero_at_teacher: ClassVar[bool] = True

    def __call__(self, student: Tensor, target: Tensor, temperature: float | Tensor, label: Tensor) -> Tensor:
        return F.huber_loss(student, target, reduction="none", delta=self.delta).mean(dim=1)


@pytest.fixture
def huber(registry: None) -> None:
    register("loss", "huber", paper="Huber, 1964")(Huber)


@pytest.mark.usefixtures("huber")
def test_it_appears_in_the_registry() -> None:
    [info] = [info for info in components("loss") if info.name == "huber"]
    assert (info.cls, info.paper, info.summary) == (Huber, "Huber, 1964", "Huber loss on logits, mean over classes.")


@pytest.mark.usefixtures("huber")
def test_it_appears_in_preceptor_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["components"]
    assert {
        "kind": "loss",
        "name": "huber",
        "summary": "Huber loss on logits, mean over classes.",
        "paper": "Huber, 1964",
        "options": {"delta": 1.0},
    } in listed


@pytest.mark.usefixtures("huber")
def test_it_works_in_a_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("correction: probability_shift\nterms:\n  far: {loss: {name: huber, delta: 0.5}, weight: 2}\n")
    teacher, student = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.5]])
    terms = DistillationLoss(**recipe(path))(student, teacher, torch.tensor([2]))
    expected = 2 * F.huber_loss(student, torch.tensor([[0.0, 1.0, 3.0]]), delta=0.5)
    torch.testing.assert_close(terms["far"], expected)


@pytest.mark.usefixtures("huber")
def test_its_options_are_checked_in_a_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("terms:\n  far: {loss: {name: huber, dleta: 0.5}}\n")
    with pytest.raises(InputError, match="did you mean 'delta'"):
        recipe(path)


@pytest.mark.usefixtures("huber")
def test_it_gets_conformance_cases_and_passes_them() -> None:
    mine = [(info, check) for info, check in conformance_cases() if info.name == "huber"]
    assert len(mine) > 10
    for info, check in mine:
        check(info)


def test_it_is_gone_after_its_test() -> None:
    assert "huber" not in {info.name for info in components()}


PACKAGE = '''
from dataclasses import dataclass
from preceptor import register

@register("temperature", "warming", paper="this test")
@dataclass(frozen=True)
class Warming:
    """Cold at first."""

    last: float = 4.0

    def __call__(self, context):
        return 1 + (self.last - 1) * context.progress
'''


def install(site: Path, source: str) -> dict[str, str]:
    """Lay out an installed distribution with an entry point; the environment in which Python finds it."""
    (site / "warming_component").mkdir(parents=True)
    (site / "warming_component" / "__init__.py").write_text(source)
    info = site / "warming_component-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: warming-component\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[preceptor.components]\nwarming = warming_component\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_a_package_adds_components_through_an_entry_point(tmp_path: Path) -> None:
    environment = install(tmp_path / "site", PACKAGE)
    recipe_file = tmp_path / "warming.yaml"
    recipe_file.write_text("temperature: {name: warming, last: 6}\nterms:\n  kl: {loss: kl}\n")
    code = (
        "import sys, torch\n"
        "from preceptor import DistillationLoss, recipe\n"
        "from preceptor.registry import find_component\n"
        "from preceptor.conformance import conformance_cases\n"
        "print(find_component('temperature', 'warming').summary)\n"
        f"loss = DistillationLoss(**recipe({str(recipe_file)!r}))\n"
        "z = torch.eye(3)\n"
        "print(loss(z, z, torch.arange(3), progress=0.4).audit.temperature)\n"
        "mine = [check for info, check in conformance_cases() if info.name == 'warming']\n"
        "print(len(mine) > 10)\n"
    )
    done = python(code, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["Cold at first.", "3.0", "True"]


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    environment = install(tmp_path / "site", "import a_module_that_is_not_there\n")
    done = python("from preceptor.cli.main import main; raise SystemExit(main(['methods']))", environment)
    assert done.returncode == 3
    assert "warming_component" in done.stderr
    assert "a_module_that_is_not_there" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
