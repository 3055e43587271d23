import pytest

from preceptor.studies.result import recipe_row
from preceptor.studies.table import cells, headings, markdown, mean_percent
from tests.studies.test_result import RESULT


def test_headings_name_the_baseline():
    assert headings(RESULT)[2] == "difference to kd, points [95 % interval]"
    assert "difference to none" in headings(RESULT.model_copy(update={"baseline": "none"}))[2]


def test_cells_by_hand():
    # 0.2 and 0.05 better: mean 0.125, deviation 0.10607, t = 12.706 at 1 degree of freedom, so ± 0.95297.
    assert cells(RESULT.row("ka-ps")) == ("ka-ps", "67.50 ± 3.54", "+12.50 [−82.80, +107.80]", "10 to 12")
    assert cells(RESULT.row("kd")) == ("kd", "55.00 ± 7.07", "–", "none")


@pytest.mark.parametrize(("touched", "told"), [(None, "none"), ([5, 5], "5"), ([1200, 7], "7 to 1,200"), ([0, 0], "0")])
def test_touched(touched, told):
    assert cells(recipe_row("r", "", [0.5, 0.5], None, touched))[3] == told


def test_one_seed_has_neither_deviation_nor_interval():
    assert cells(recipe_row("r", "", [0.5], [0.6], [3])) == ("r", "50.00", "−10.00", "3")


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert cells(recipe_row("r", "", [0.5], [0.50001], None))[2] == "+0.00"


def test_markdown_is_a_table_and_how_it_was_made():
    lines = markdown(RESULT.model_copy(update={"versions": {"torch": "2.13", "machine": "x86"}, "seconds": 90})).split(
        "\n"
    )
    assert [line.count("|") for line in lines[:4]] == [5] * 4
    assert set(lines[1]) == set("| -")
    assert lines[2].startswith("| kd | 55.00")
    assert lines[4] == ""
    made = "\n".join(lines[5:]).replace("\N{NO-BREAK SPACE}", " ")
    for told in (
        "over 2 seeds",
        "21.7 % on the test set",
        "50.0 % on the students' 40 images",
        "90 seconds",
        "torch 2.13",
        "x86",
    ):
        assert told in made
    assert "`preceptor reproduce tiny" in made


def test_a_percentage_is_the_mean_over_seeds():
    assert mean_percent([0.1, 0.2, 0.6]) == "30.0\N{NO-BREAK SPACE}%"
