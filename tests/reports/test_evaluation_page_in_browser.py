"""The page of an evaluation where scripts run: in a headless Chromium, where there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from preceptor.reports.chart import label
from preceptor.reports.evaluation_page import write_evaluation_page
from tests.reports.browser import COMMAND, Browser, barriers
from tests.reports.evaluations import made_evaluation

pytestmark = pytest.mark.skipif(COMMAND is None, reason="no Chromium on the path")

NAMES = ["<script>alert(1)</script>", '"];alert(1)//', "'+alert(1)+'", "Größe \\ ☃ 😀", "long" * 30, *"abcdefg"]
CHARTS = 6
VISIBLE = "[...document.querySelectorAll('%s')].filter((one) => one.offsetParent).length"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    files = [f"test/{'long' * 20}/{number}.png" for number in range(500)]
    write_evaluation_page(made_evaluation(NAMES, 500, files=files, abstains=True), folder / "evaluation.html")
    with Browser(folder / "profile") as browser:
        browser.resize(1400)
        browser.open(folder / "evaluation.html")
        browser.wait_for(f"document.querySelectorAll('.drawing.drawn').length === {CHARTS}")
        yield browser


def test_it_draws_its_charts_and_complains_of_nothing(browser: Browser) -> None:
    assert browser.value("document.querySelectorAll('.live svg').length") == CHARTS
    assert browser.value(VISIBLE % ".fixed") == 0
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in browser.requests if url.startswith("file:")]) == 1


def test_names_stay_text(browser: Browser) -> None:
    labels = browser.value("[...document.querySelectorAll('.live svg text')].map((one) => one.textContent)")
    assert all(name in labels for name in NAMES if len(name) < 28)
    assert browser.value("document.scripts.length") == CHARTS + 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(browser: Browser, scheme: str) -> None:
    assert barriers(browser, scheme) == []


def test_it_fits_a_phone_and_a_wide_window(browser: Browser) -> None:
    for width in (390, 1400):
        browser.resize(width)
        browser.wait_for(f"innerWidth === {width}")
        assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        # Nothing is cut: no cell's text is wider than its cell.
        cells = "[...document.querySelectorAll('td, th, figcaption, dd')].filter((one) => one.offsetParent)"
        assert browser.value(f"{cells}.filter((one) => one.scrollWidth > one.clientWidth + 1).length") == 0
    assert browser.problems == []


def test_the_rows_of_a_table_are_cards_on_a_phone(browser: Browser) -> None:
    browser.resize(390)
    browser.wait_for("innerWidth === 390")
    assert browser.value("getComputedStyle(document.querySelector('.stacked td')).display") == "flex"
    assert browser.value("getComputedStyle(document.querySelector('.stacked td'), '::before').content") == '"images"'


def test_names_are_shortened_when_the_window_becomes_narrow(browser: Browser) -> None:
    labels = "[...document.querySelectorAll('.live svg text')].map((one) => one.textContent)"
    for width, letters in ((390, 17), (1400, 28)):
        browser.resize(width)
        browser.wait_for(f"{labels}.includes('{label(NAMES[4], letters)}')")


def test_without_scripts_everything_is_shown(browser: Browser) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(Path(browser.value("decodeURIComponent(location.pathname)")))
    assert browser.value(VISIBLE % ".fixed") == CHARTS
    assert browser.value(VISIBLE % ".live") == 0
    for width, shown in ((390, "narrow"), (1400, "wide")):
        browser.resize(width)
        browser.wait_for(f"innerWidth === {width}")
        assert browser.value(VISIBLE % ".chart") == browser.value(VISIBLE % f".chart.{shown}") == CHARTS
        # Nothing is cut: all text is within its chart, but for what fonts differ.
        beyond = (
            f"[...document.querySelectorAll('.{shown} text')].filter((one) => {{"
            "const text = one.getBoundingClientRect(), chart = one.closest('svg').getBoundingClientRect();"
            "return text.left < chart.left - 2 || text.right > chart.right + 2; }).map((one) => one.textContent)"
        )
        assert browser.value(beyond) == []
