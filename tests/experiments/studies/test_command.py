"""``python -m experiments.studies``: what there is, and a study run to its result file."""

import sys
from pathlib import Path

import pytest

from experiments.studies import STUDIES
from experiments.studies import __main__ as command
from experiments.studies.engine import load_result
from tests.experiments.studies.tiny import TINY


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["studies", *map(str, arguments)])
    command.main()


def test_studies_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch)
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in shown] == [[name, study.title] for name, study in STUDIES.items()]


def test_one_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(STUDIES, "tiny", TINY)
    run(monkeypatch, "tiny", "--out", tmp_path, "--seeds", 1, "--device", "cpu")
    result = load_result(tmp_path / "tiny.json")
    assert (result.study, result.seeds) == ("tiny", 1)
    assert "| recipe |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["corelation"], "invalid choice: 'corelation'"), (["correlation", "--seeds", "0"], "--seeds 0: at least 1")],
)
def test_slips_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
