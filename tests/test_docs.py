"""Every number in the docs comes from a committed result file."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def fill_tables():
    spec = importlib.util.spec_from_file_location("fill_tables", ROOT / "tools" / "fill_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["README.md"])
def test_tables_are_those_of_the_result_files(name):
    document = (ROOT / name).read_text(encoding="utf-8")
    module = fill_tables()
    assert module.MARKED.search(document), "the document names no result file"
    assert module.filled(document, ROOT) == document, "run: make tables"


def test_a_changed_number_is_noticed():
    document = (ROOT / "README.md").read_text(encoding="utf-8")
    tampered = document.replace("±", "+-", 1)
    assert fill_tables().filled(tampered, ROOT) != tampered
