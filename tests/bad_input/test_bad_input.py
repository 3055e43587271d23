"""Whatever is wrong with what is handed in: one line that names it and the way out, and nothing left behind."""

import re
from pathlib import Path

import pytest

from tests.bad_input import arrays, images, settings, teachers
from tests.bad_input.document import document
from tests.bad_input.workbench import Row, Workbench
from tests.cli.conftest import Command

ROWS = [*images.ROWS, *arrays.ROWS, *teachers.ROWS, *settings.ROWS]


@pytest.fixture
def bench(tmp_path: Path, teacher: Path) -> Workbench:
    return Workbench(tmp_path, teacher)


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file and folder, and what the files hold."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def as_documented(said: str, bench: Workbench) -> str:
    here = said.replace(f"{bench.folder}/", "").replace(str(bench.folder), ".")
    return here.replace(str(bench.sound_teacher), "teacher")


def pattern(says: str) -> str:
    return ".+".join(re.escape(part) for part in says.split("…"))


@pytest.mark.parametrize("row", ROWS, ids=[row.wrong for row in ROWS])
def test_one_line_that_helps_and_nothing_left_behind(row: Row, bench: Workbench, preceptor: Command) -> None:
    command = row.command(bench)
    with row.during(bench):
        before = contents(bench.folder)
        outcome = preceptor(*command)
        assert contents(bench.folder) == before
    assert outcome.code == row.code, outcome.err
    assert outcome.out == ""
    assert re.fullmatch(pattern(f"preceptor: {row.says}\n"), as_documented(outcome.err, bench)), outcome.err


def test_every_row_is_another() -> None:
    assert len(ROWS) >= 40
    assert len({row.wrong for row in ROWS}) == len(ROWS)


def test_the_table_in_the_docs_is_that_of_the_tests() -> None:
    path = Path(__file__).parents[2] / "docs" / "bad-input.md"
    assert path.read_text(encoding="utf-8") == document(), "run: python -m tests.bad_input.document"
