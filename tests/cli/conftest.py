from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from preceptor.cli.main import main

SMALL = ["--train-images", "60", "--epochs", "2", "--batch-size", "32", "--device", "cpu"]
"""Flags of a run on digits that takes a fraction of a second."""


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def preceptor(capsys) -> Command:
    """Runs a command in this process."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def teacher(tmp_path_factory) -> Path:
    """The run folder of a small teacher on digits, better than chance; not to be changed."""
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    longer = ["--train-images", "60", "--epochs", "10", "--batch-size", "16", "--device", "cpu"]
    assert main(["train", "--model", "convnet4", *longer, "--seed", "1", "--quiet", "--out", str(folder)]) == 0
    return folder
