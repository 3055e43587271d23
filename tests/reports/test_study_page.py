import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from preceptor.compare.result import ExampleImage, StudyResult
from preceptor.compare.table import cells
from preceptor.errors import InputError, MachineError
from preceptor.reports import require_report_extra, study_page, write_study_page
from preceptor.reports.summary import main_finding, overall_finding
from tests.reports.conftest import ACCURACY, example, study_rows, with_another_teacher
from tests.reports.page import Page

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def html(result: StudyResult, examples: list[ExampleImage]) -> str:
    return study_page(result, examples)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def quick_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing is tested without drawing."""
    monkeypatch.setattr(sys.modules["preceptor.reports.study_page"], "study_page", lambda result, examples: "page")


def with_classes(result: StudyResult, errors: np.ndarray, names: tuple[str, ...] | None = None) -> StudyResult:
    teacher = result.teachers[0].model_copy(update={"error_by_class": errors.tolist()})
    names = names or tuple(f"class {number}" for number in range(errors.shape[1]))
    return result.model_copy(update={"teachers": [teacher], "class_names": names})


def one_seed(result: StudyResult) -> StudyResult:
    rows = study_rows({recipe: values[:1] for recipe, values in ACCURACY.items()})
    teacher = result.teachers[0]
    shortened = {key: value[:1] for key, value in dict(teacher).items() if isinstance(value, list)}
    return result.model_copy(update={"rows": rows, "teachers": [teacher.model_copy(update=shortened)]})


@pytest.fixture(scope="module")
def bare(result: StudyResult) -> Page:
    """Another study, with one seed and nothing to example."""
    return Page(study_page(one_seed(result).model_copy(update={"study": "fashion-mnist"}), []))


def test_every_row_is_there_with_every_cell(result: StudyResult, page: Page) -> None:
    shown = [data.strip() for tag, data in page.pieces if tag in ("td", "span")]
    for row in result.rows:
        name, *numbers = cells(row, result)
        assert name in shown
        assert row.about in shown
        start = shown.index(name)
        assert all(number in shown[start:] for number in numbers)
    assert len(page.all("tr", role="row")) == len(result.rows) + 1


def test_the_heading_of_the_table_names_the_best_whichever_it_is(result: StudyResult, page: Page) -> None:
    assert "Of 6 recipes, label-revision scored highest" in page.text
    unflattering = result.model_copy(update={"rows": study_rows({**ACCURACY, "none": (0.99, 0.99, 0.99)})})
    assert "Of 6 recipes, labels alone scored highest" in Page(study_page(unflattering, [])).text


def test_marks_the_baseline_and_the_controls_and_nothing_else(page: Page) -> None:
    kinds = [attributes["class"] for attributes in page.all("tr", role="row") if "class" in attributes]
    assert kinds == ["labels_only", "baseline", "contender", "contender", "contender", "control"]
    assert len(page.all("span", class_="mark")) == 3


def test_says_what_was_done_and_what_may_be_concluded(result: StudyResult, page: Page) -> None:
    for text in (result.title, result.setting, result.shows, result.does_not_show, *result.versions.values()):
        assert text in page.text
    assert "97 seconds" in page.text
    assert "rate: 0.4" in page.text


def test_asks_for_nothing_from_elsewhere(html: str, page: Page) -> None:
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert all(address.startswith("#") for address in page.values("href"))
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert not re.search(r"@import|@font-face|https?://|\bon\w+=", html)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_every_reference_finds_its_target(html: str, page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    pointed_at = [address[1:] for address in page.values("href")] + page.values("aria-labelledby")
    pointed_at += re.findall(r"url\(#([^)]+)\)", html)
    assert len(pointed_at) > 20
    assert set(pointed_at) <= set(ids)


def test_charts_and_images_have_text_in_their_place(page: Page) -> None:
    charts = page.all("svg")
    assert len(charts) == 4
    assert all(chart["role"] == "img" for chart in charts)
    assert sum("label-revision 95.09" in chart["aria-label"] for chart in charts) == 2
    assert sum("error rate by class" in chart["aria-label"] for chart in charts) == 2
    assert all("that the teacher took for" in image["alt"] for image in page.all("img"))


def test_names_cannot_become_markup(result: StudyResult) -> None:
    named = result.model_copy(
        update={
            "study": HOSTILE,
            "title": HOSTILE,
            "setting": HOSTILE,
            "class_names": (HOSTILE, '" onload="alert(1)', *result.class_names[2:]),
            "rows": [*result.rows, result.rows[2].model_copy(update={"arm": HOSTILE, "about": HOSTILE})],
            "versions": {HOSTILE: HOSTILE},
            "config": {HOSTILE: HOSTILE},
        }
    )
    probs = [0.2, 0.7, *[0.0125] * 8]
    shown = example(np.zeros((8, 8), np.uint8), 0, probs)
    shown = shown.model_copy(update={"corrected_probs": {HOSTILE: probs}})
    page = Page(study_page(named, [shown]))
    assert not page.all("script")
    assert not page.values("onload")
    assert page.text.count(HOSTILE) >= 12
    assert sum(HOSTILE in data for tag, data in page.pieces if tag == "text") == 2  # narrow charts shorten it


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def both(result: StudyResult) -> StudyResult:
    """Two kinds of teacher; with the clean one nothing is better than plain distillation."""
    return with_another_teacher(result, {**ACCURACY, "kd": (0.991, 0.992, 0.993)})


def test_every_kind_of_teacher_has_its_tables_charts_and_finding(
    both: StudyResult, examples: list[ExampleImage]
) -> None:
    shown = [examples[0].model_copy(update={"teacher": "clean"})]
    html = study_page(both, shown)
    page = Page(html)
    assert len(page.all("table", class_="recipes stacked")) == len(page.all("table", class_="classes")) == 2
    assert len(page.all("svg")) == 8
    assert len(page.values("id")) == len(set(page.values("id")))
    for teacher in both.teachers:
        assert words(main_finding(both, teacher)) in page.text
        assert teacher.about[1:] in page.text
    assert words(overall_finding(both)) in page.text
    assert "Teacher clean: of 6 recipes, kd scored highest" in page.text
    assert "Images on which the teacher (clean) was most confidently wrong" in page.text


def test_an_overview_holds_every_mean(both: StudyResult) -> None:
    page = Page(study_page(both, []))
    assert page.all("table", class_="overview")
    overview = [data for tag, data in page.pieces if tag == "td"][: 2 * len(ACCURACY)]
    means = [f"{100 * both.row(arm, teacher.name).accuracy.mean:.2f}" for arm in ACCURACY for teacher in both.teachers]
    assert overview == means


def test_many_measures_stand_below_each_other(result: StudyResult) -> None:
    columns = ("accuracy", "difference", "affected", "aurc", "temperature", "recovery")
    page = Page(study_page(result.model_copy(update={"columns": columns}), []))
    assert not page.all("table", class_="recipes stacked")
    heads = [data for tag, data in page.pieces if tag == "th"]
    start = heads.index("none")
    assert heads[start : start + 6] == list(ACCURACY)
    for row in result.rows:
        assert row.about in page.text
        for cell in cells(row, result)[1:]:
            assert cell in page.text


def test_columns_are_explained(result: StudyResult, page: Page) -> None:
    assert "Samples affected” counts" in page.text
    assert "AURC is" not in page.text
    explained = Page(study_page(result.model_copy(update={"columns": ("error_at_90", "recovery")}), [])).text
    assert "AURC is" in explained
    assert "The recovery ratio is" in explained


def test_one_seed_has_no_deviation_no_interval_and_says_so(page: Page, bare: Page) -> None:
    assert "±" in page.text
    assert "±" not in bare.text
    assert "no interval" in bare.text
    assert "may be chance" in bare.text


def test_without_examples_there_is_no_gallery(page: Page, bare: Page) -> None:
    assert "confidently wrong" in page.text
    assert "confidently wrong" not in bare.text
    assert not bare.all("img")


def test_with_many_classes_the_chart_shows_the_worst_and_the_table_all(result: StudyResult) -> None:
    errors = np.tile(np.linspace(0, 0.99, 100), (3, 1))
    page = Page(study_page(with_classes(result, errors), []))
    assert "The worst 30 of 100 classes" in page.text
    in_table = [data for tag, data in page.pieces if tag == "th" and data.startswith("class ")]
    assert in_table == [f"class {number}" for number in reversed(range(100))]
    in_charts = [data for tag, data in page.pieces if tag == "text" and data.startswith("class ")]
    assert in_charts == [f"class {number}" for number in range(99, 69, -1)] * 2


def test_a_class_without_images_is_named_but_not_called_the_worst(result: StudyResult) -> None:
    errors = np.array([[np.nan, 0.5, 0.1], [np.nan, 0.3, np.nan], [np.nan, 0.4, 0.3]])
    text = Page(study_page(with_classes(result, errors), [])).text
    assert "most often on class 1" in text
    assert "class 220.0 %10.0 %no image30.0 %" in text  # one row of the table
    assert "class 0no imageno imageno imageno image" in text


def test_a_teacher_without_errors_has_no_worst_class(result: StudyResult) -> None:
    assert "most often on" not in Page(study_page(with_classes(result, np.zeros((3, 4))), [])).text


def test_the_command_that_makes_it_again(page: Page, bare: Page) -> None:
    assert "preceptor reproduce demo" in page.text
    assert "preceptor reproduce fashion-mnist" in bare.text


def test_writes_over_an_older_page_and_leaves_nothing_else(
    result: StudyResult, examples: list[ExampleImage], html: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    write_study_page(result, examples, path)
    assert path.read_text(encoding="utf-8") == html
    assert list(tmp_path.iterdir()) == [path]


def test_makes_the_folders_above(result: StudyResult, tmp_path: Path, quick_page: None) -> None:
    path = tmp_path / "new" / "newer" / "report.html"
    write_study_page(result, [], path)
    assert path.read_text() == "page"


def test_a_page_that_cannot_be_made_leaves_the_older_one(result: StudyResult, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    bad = ExampleImage(
        pixels=np.zeros((2, 2, 4), np.uint8), label=0, teacher_probs=[0.0, 1.0, *[0.0] * 8], corrected_probs={}
    )
    with pytest.raises(InputError, match="example 0"):
        write_study_page(result, [bad], path)
    assert path.read_text() == "older"


@pytest.mark.parametrize("name", ["folder", "file/report.html"])
def test_a_place_that_cannot_be_written_is_one_clear_line(
    result: StudyResult, tmp_path: Path, name: str, quick_page: None
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MachineError, match=re.escape(f"{tmp_path / name}: cannot be written")):
        write_study_page(result, [], tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_class_names_that_utf8_lacks_do_not_stop_the_page(result: StudyResult, tmp_path: Path) -> None:
    named = result.model_copy(update={"class_names": ("caf\udce9", "a\x07b", *result.class_names[2:])})
    write_study_page(named, [], tmp_path / "report.html")
    assert "caf?" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(
    result: StudyResult, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MachineError, match=re.escape(f"{package}, which") + ".*" + re.escape("preceptor[report]")):
        study_page(result, [])
    with pytest.raises(MachineError):
        require_report_extra()


def test_importing_reports_imports_neither_matplotlib_nor_pillow() -> None:
    script = "import sys, preceptor.reports; print({'matplotlib', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
