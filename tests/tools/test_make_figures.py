"""The figures of the docs show what the result files hold."""

import re
from pathlib import Path

import pytest

from tools import make_figures

ROOT = Path(__file__).parents[2]
TEXT = re.compile(r"<text[^>]*>([^<]*)</text>")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    make_figures.write(folder)
    return folder


@pytest.mark.parametrize("name", make_figures.FIGURES)
def test_a_figure_shows_the_numbers_of_its_result_file(made: Path, name: str) -> None:
    """Compared by their texts, every number among them: coordinates may differ between versions of Vega."""
    committed = (ROOT / "docs" / "img" / f"{name}.svg").read_text(encoding="utf-8")
    texts = TEXT.findall(committed)
    assert len(texts) > 20
    assert texts == TEXT.findall((made / f"{name}.svg").read_text(encoding="utf-8")), "run: make figures"


def test_another_result_is_another_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_figures.result("correlation")
    content["rows"][0]["measures"]["accuracy"]["mean"] = 0.5
    monkeypatch.setattr(make_figures, "result", lambda name: content)
    assert make_figures.correlation()["data"]["values"][0]["number"].startswith("50.0 ")


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "img").glob("*.svg")), ids=lambda path: path.name)
def test_a_figure_is_used_by_a_page(path: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(path.name in page.read_text(encoding="utf-8") for page in pages)
