import pytest

from experiments.studies.engine.columns import COLUMNS
from experiments.studies.engine.result import PairedMeasure, Recovery, StudyResult
from experiments.studies.engine.table import cells, headings, lines, markdown, mean_percent
from tests.experiments.studies.test_result import RESULT, arm_row


def with_columns(*columns: str) -> StudyResult:
    return RESULT.model_copy(update={"columns": columns})


def with_baseline(arm: str) -> StudyResult:
    """kd is compared with this arm, the baseline."""
    rows = [RESULT.rows[0].model_copy(update={"baseline": arm})]
    return RESULT.model_copy(update={"baseline": arm, "rows": rows})


def test_headings_name_the_baseline():
    assert headings(RESULT)[2] == "difference to kd, points [95 % interval]"
    assert "difference to none" in headings(with_baseline("none"))[2]


def test_cells_by_hand():
    # 0.2 and 0.05 better: mean 0.125, deviation 0.10607, t = 12.706 at 1 degree of freedom, so ± 0.95297.
    assert cells(RESULT.row("ka-ps"), RESULT) == ("ka-ps", "67.50 ± 3.54", "+12.50 [−82.80, +107.80]", "10 to 12")
    assert cells(RESULT.row("kd"), RESULT) == ("kd", "55.00 ± 7.07", "–", "none")


@pytest.mark.parametrize(
    ("affected", "text"), [(None, "none"), ([5, 5], "5"), ([1200, 7], "7 to 1,200"), ([0, 0], "0")]
)
def test_affected(affected, text):
    assert cells(arm_row("r", [0.5, 0.5], None, affected), RESULT)[3] == text


def test_one_seed_has_neither_deviation_nor_interval():
    assert cells(arm_row("r", [0.5], [0.6], [3]), RESULT) == ("r", "50.00", "−10.00", "3")


def test_a_difference_to_another_arm_names_it():
    own = arm_row("best", [0.7, 0.65], [0.5, 0.6]).model_copy(update={"baseline": "random"})
    result = RESULT.model_copy(update={"rows": [*RESULT.rows, own]})
    assert headings(result)[2] == "difference to kd or to the one named, points [95 % interval]"
    assert cells(own, result)[2] == "+12.50 [−82.80, +107.80] to random"
    assert cells(RESULT.row("ka-ps"), result)[2] == "+12.50 [−82.80, +107.80]"


def test_other_measures_by_hand():
    row = arm_row(
        "ka-ps",
        [0.7, 0.65],
        measures={
            "accuracy": PairedMeasure.paired([0.7, 0.65]),
            "error_at_90": PairedMeasure.paired([0.1, 0.2]),
            "aurc_reservation": PairedMeasure.paired([0.05, 0.05], [0.02, 0.04]),
            "temperature": PairedMeasure.paired([3.0, 4.0]),
        },
    )
    result = with_columns("error_at_90", "aurc", "aurc_reservation_difference", "temperature")
    assert headings(result)[1:] == (
        "error at 90 % coverage, %",
        "AURC, %",
        "AURC by reservation: difference to softmax response, points [95 % interval]",
        "mean temperature",
    )
    # The differences 3 and 1 points: mean 2, deviation 1.4142, so ± 12.706.
    assert cells(row, result)[1:] == ("15.00 ± 7.07", "–", "+2.00 [−10.71, +14.71]", "3.50 ± 0.71")


@pytest.mark.parametrize(
    ("recovery", "text"),
    [
        (None, "–"),
        (Recovery(ratio=0.5, values=[0.25, 0.75]), "0.50 (0.25 to 0.75)"),
        (Recovery(ratio=-0.123, values=[-0.2, 0.004]), "−0.12 (−0.20 to 0.00)"),
        (Recovery(ratio=0.5, values=[0.25, None]), "0.50"),
        (Recovery(ratio=-0.001, values=[-0.001]), "0.00"),
    ],
)
def test_recovery_ratios(recovery, text):
    assert cells(arm_row("r", [0.5, 0.5], recovery=recovery), with_columns("recovery"))[1] == text


def test_every_column_can_be_shown():
    for column in COLUMNS:
        for row in RESULT.rows:
            assert all(cells(row, with_columns(column)))


def test_many_measures_are_put_below_each_other():
    few, many = with_columns("accuracy"), with_columns("accuracy", *["affected"] * 5)
    assert lines(RESULT.rows, few) == [("recipe", "accuracy, %"), ("kd", "55.00 ± 7.07"), ("ka-ps", "67.50 ± 3.54")]
    assert lines(RESULT.rows, many)[:2] == [("recipe", "kd", "ka-ps"), ("accuracy, %", "55.00 ± 7.07", "67.50 ± 3.54")]


def test_several_teachers_have_a_table_each():
    clean = RESULT.teachers[0].model_copy(update={"name": "clean", "about": "every label right", "accuracy": [1, 1]})
    better = arm_row("ka-ps", [0.9, 0.9], [0.5, 0.6], teacher="clean")
    several = RESULT.model_copy(
        update={
            "teachers": [*RESULT.teachers, clean],
            "rows": [*RESULT.rows, better],
            "versions": {"torch": "2.13", "machine": "x86"},
        }
    )
    first, second = markdown(several).split("**Teacher: every label right.**")
    assert first.startswith("**Teacher: 40 % wrong.** 21.7")
    assert first.count("| recipe |") == second.count("| recipe |") == 1
    assert "| ka-ps | 67.50" in first
    assert "| ka-ps | 90.00" in second
    assert "100.0" in second.split("\n")[0]
    assert "Teacher: " not in second


def test_a_difference_that_rounds_to_nothing_has_no_minus():
    assert cells(arm_row("r", [0.5], [0.50001]), RESULT)[2] == "+0.00"


def test_markdown_is_a_table_and_how_it_was_made():
    lines = markdown(RESULT.model_copy(update={"versions": {"torch": "2.13", "machine": "x86"}, "seconds": 90})).split(
        "\n"
    )
    assert [line.count("|") for line in lines[:4]] == [5] * 4
    assert set(lines[1]) == set("| -")
    assert lines[2].startswith("| kd | 55.00")
    assert lines[4] == ""
    made = "\n".join(lines[5:]).replace("\N{NO-BREAK SPACE}", " ")
    for text in (
        "over 2 seeds",
        "21.7 % on the test set",
        "50.0 % on the students' 40 images",
        "90 seconds",
        "torch 2.13",
        "x86",
    ):
        assert text in made
    assert "`python -m experiments.studies tiny" in made


def test_a_percentage_is_the_mean_over_seeds():
    assert mean_percent([0.1, 0.2, 0.6]) == "30.0\N{NO-BREAK SPACE}%"
