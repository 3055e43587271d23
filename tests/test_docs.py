"""Every number in the docs comes from a committed result file."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def fill_tables():
    spec = importlib.util.spec_from_file_location("fill_tables", ROOT / "tools" / "fill_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_is_shown_as_what_it_is(fill_tables, tmp_path):
    """Whatever it is called: by its kind."""
    from experiments.speed.result import save_speed
    from experiments.speed.table import speed_markdown
    from tests.experiments.speed.tiny import case_result, row, speed_result

    result = speed_result(case_result(row("live", 2.5)))
    save_speed(result, tmp_path / "on-a-gpu.json")
    assert fill_tables.table_of(tmp_path / "on-a-gpu.json") == speed_markdown(result)
    ranks = json.loads((ROOT / "results" / "bench" / "soft_rank.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({"kind": "soft_rank", **ranks}))
    assert "| window |" in fill_tables.table_of(tmp_path / "other.json")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_those_of_the_result_files(fill_tables, path):
    document = path.read_text(encoding="utf-8")
    assert fill_tables.filled(document) == document, "run: make tables"


def test_the_readme_shows_the_demos_table(fill_tables):
    document = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "results/bench/demo.json" in [mark["file"] for mark in fill_tables.MARKED.finditer(document)]


def test_the_demo_shows_what_the_readme_says_of_it():
    from preceptor.compare.comparison_result import ComparisonResult
    from preceptor.result_files import read_result

    arms = {arm.recipe: arm for arm in read_result(ComparisonResult, ROOT / "results" / "bench" / "demo.json").arms}
    assert arms["kd"].difference.high < 0
    assert arms["safe"].difference.low > 0
    assert arms["corrected-cmkd"].difference.low > 0
    meets = arms["kd"].beside_teacher
    assert meets["copied"] > (meets["mended"] + meets["other_mistake"])


def test_every_result_file_is_shown_and_is_that_of_a_study(fill_tables):
    from experiments.studies import STUDIES

    shown = {mark["file"] for path in DOCUMENTS for mark in fill_tables.MARKED.finditer(path.read_text())}
    files = sorted((ROOT / "results").glob("*.json"))
    assert files
    assert {f"results/{path.name}" for path in files} <= shown
    assert {path.stem for path in files} <= set(STUDIES)


def test_every_measurement_of_speed_and_memory_is_shown(fill_tables):
    shown = {mark["file"] for path in DOCUMENTS for mark in fill_tables.MARKED.finditer(path.read_text())}
    files = sorted((ROOT / "results" / "bench").glob("*.json"))
    assert files
    assert {f"results/bench/{path.name}" for path in files} <= {file.partition("#")[0] for file in shown}


def test_a_changed_number_is_noticed(fill_tables):
    document = (ROOT / "README.md").read_text(encoding="utf-8")
    tampered = document.replace("±", "+-", 1)
    assert fill_tables.filled(tampered) != tampered


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("results/abstention.json", "python -m experiments.studies abstention --out results"),
        ("results/bench/speed.json", "preceptor bench --all --rounds 9 --out results/bench/speed.json"),
        ("results/bench/losses.json", "python -m experiments.bench.losses"),
        ("results/bench/unreliable-supervision.json", "python -m experiments.unreliable --out FOLDER"),
    ],
)
def test_a_result_file_that_is_not_there_yet_is_said_how_to_make(fill_tables, tmp_path, file, command):
    document = f"before\n<!-- table: {file} -->\nold\n<!-- end of table -->\nafter\n"
    made = fill_tables.filled(document, tmp_path)
    assert f"`{command}`" in made
    assert "old" not in made
    assert fill_tables.filled(made, tmp_path) == made
    assert made.startswith("before\n")
    assert made.endswith("after\n")
