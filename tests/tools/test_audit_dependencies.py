"""The audit of what is installed: what it asks, and that an answer nobody gave is not taken for a good one."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = "# tested\nJinja2==3.1.6\ntorch==2.13.0\ntimm==1.0.31\n"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_dependencies", ROOT / "tools" / "audit_dependencies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def told(output: object, code: int = 0, errors: str = ""):
    text = output if isinstance(output, str) else json.dumps(output)
    return lambda command: subprocess.CompletedProcess(command, code, text, errors)


def installed(**versions: str):
    return told([{"name": name, "version": version} for name, version in versions.items()])


def test_packages_that_fit_together(audit: ModuleType) -> None:
    assert audit.fits_together("python", told("No broken requirements found.\n")).wrong == ()


def test_packages_that_do_not_fit_together_are_reported(audit: ModuleType) -> None:
    found = audit.fits_together("python", told("timm 1 requires torch, which is not installed.\n", 1))
    assert found.wrong == ("timm 1 requires torch, which is not installed.",)


def test_everything_installed_must_be_pinned_as_it_is(audit: ModuleType) -> None:
    here = installed(jinja2="3.1.6", torch="2.13.0+cpu", pip="23", preceptor="1")
    sound = audit.is_pinned("python", CONSTRAINTS, here)
    assert sound.wrong == ()
    assert sound.line == "2 packages as pinned in constraints.txt; pinned for other extras: timm"
    found = audit.is_pinned("python", CONSTRAINTS, installed(Jinja2="3.0", six="1.0"))
    assert found.wrong == ("six 1.0 is not pinned", "jinja2 is 3.0, pinned is 3.1.6")


def test_the_projects_own_pins_are_read(audit: ModuleType) -> None:
    found = audit.pins((ROOT / "constraints.txt").read_text())
    assert found["typing-extensions"]
    assert found["pyyaml"]
    assert len(found) > 50


@pytest.mark.parametrize(
    ("licence", "package", "allowed"),
    [
        ("MIT", "rich", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", "numpy", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSL-1.0", "torch", True),
        ("Apache-2.0 OR BSD-2-Clause", "packaging", True),
        ("GPL-3.0-only OR MIT", "x", True),
        ("(GPL-3.0-only OR MIT) AND BSD-3-Clause", "x", True),
        ("MIT License; BSD License", "x", True),
        ("GPL-3.0-only", "x", False),
        ("MIT AND GPL-3.0-only", "x", False),
        ("MIT License; GNU General Public License v3 (GPLv3)", "x", False),
        ("UNKNOWN", "x", False),
        ("", "x", False),
        ("MPL-2.0", "hypothesis", True),
        ("MPL-2.0", "certifi", True),
        ("MPL-2.0", "numpy", False),
    ],
)
def test_licences(audit: ModuleType, licence: str, package: str, allowed: bool) -> None:
    assert audit.permitted(licence, package) is allowed


def test_a_licence_that_is_not_allowed_is_named(audit: ModuleType) -> None:
    listed = [{"Name": "good", "License": "MIT"}, {"Name": "other", "License": "AGPL-3.0"}]
    found = audit.may_be_used("python", Path("bin"), told(listed))
    assert found.wrong == ("other: licence 'AGPL-3.0' is not among those allowed",)


SOUND = {"name": "rich", "version": "15.0.0", "vulns": []}
WEAK = {"name": "torch", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.6"]}]}
UNTOLD = {"name": "timm", "skip_reason": "Dependency not found on PyPI"}


def weak(audit: ModuleType, folder: Path, output: object, code: int = 0, errors: str = ""):
    (folder / "constraints.txt").write_text(CONSTRAINTS)
    return audit.is_known_weak(folder / "constraints.txt", Path("bin"), told(output, code, errors))


def test_known_weaknesses_are_named(audit: ModuleType, tmp_path: Path) -> None:
    found = weak(audit, tmp_path, {"dependencies": [SOUND, WEAK]}, 1)
    assert found.wrong == ("torch 2.0: PYSEC-1, mended in 2.6",)
    assert found.line == "2 of 2 pins compared with known weaknesses (pip-audit)"
    assert found.untold == 0


def test_packages_that_no_answer_mentions_are_not_called_safe(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = weak(audit, tmp_path, {"dependencies": [SOUND, UNTOLD]})
    assert (found.untold, found.wrong) == (1, ())
    assert found.line.startswith("1 of 2 pins compared")
    assert "not told of the others: Dependency not found on PyPI" in found.line
    assert audit.report([found])
    assert capsys.readouterr().out.startswith("NOT ANSWERED: 1 of 2")


def test_a_service_that_cannot_be_reached_is_reported(audit: ModuleType, tmp_path: Path) -> None:
    found = weak(audit, tmp_path, "", 1, "ERROR: a\nERROR: no such host\n")
    assert (found.untold, found.wrong) == (3, ())
    assert found.line.startswith("0 of 3 pins compared with known weaknesses")
    assert found.line.endswith("ERROR: no such host")


def ended(audit: ModuleType, monkeypatch: pytest.MonkeyPatch, answers: dict, *options: str) -> int:
    for name in ("fits_together", "is_pinned", "may_be_used", "is_known_weak"):
        answer = answers.get(name, audit.Answer("sound"))
        monkeypatch.setattr(audit, name, lambda *given, answer=answer: answer)
    monkeypatch.setattr(sys, "argv", ["audit", "python", "bin", *options])
    code: int = audit.main()
    return code


def test_the_exit_code_says_it(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    untold = {"is_known_weak": audit.Answer("none compared", (), 5)}
    assert ended(audit, monkeypatch, {}) == 0
    assert ended(audit, monkeypatch, {"is_pinned": audit.Answer("pins", ("six is not",))}) == 1
    assert ended(audit, monkeypatch, untold) == 0
    assert ended(audit, monkeypatch, untold, "--online") == 1
    assert ended(audit, monkeypatch, {}, "--online") == 0


def test_the_text_of_the_apache_licence_stands_for_its_name(audit):
    text = (
        "Apache License\n      Version 2.0, January 2004\n   http://www.apache.org/licenses/\n\n   TERMS AND CONDITIONS"
    )
    assert audit.permitted(text)
    assert not audit.permitted("Apache License\n Version 3.0, January 2034\n")
    assert not audit.permitted("A License\n" + text)
