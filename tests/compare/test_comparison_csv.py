"""The students of a comparison as CSV."""

import csv

from preceptor.compare.comparison_csv import COLUMNS, save_students, students_csv
from tests.compare.comparisons import made_arm, made_comparison


def test_a_line_a_student_with_the_numbers_of_the_result(tmp_path):
    result = made_comparison()
    path = save_students(result, tmp_path)
    assert path == tmp_path / "compare.csv"
    with path.open(encoding="utf-8", newline="") as file:
        heading, *lines = csv.reader(file)
    assert tuple(heading) == COLUMNS
    expected = [
        [
            *(arm.recipe, arm.teacher or "", "", str(seed)),
            *(repr(one.values[place]) for one in measures),
            *(f"{arm.cost.queried.values[place]:.0f}", arm.folders[place]),
        ]
        for arm in result.arms
        for place, seed in enumerate(arm.seeds)
        for measures in [(arm.accuracy, arm.held_out, arm.nll, arm.ece, arm.aurc, arm.cost.seconds)]
    ]
    assert lines == expected


def test_what_is_not_known_is_empty_and_a_name_is_no_formula():
    arm = made_arm("=1+1", (0.5,), settings={"training.learning_rate": 0.1, "seed_": 2}, held_out=False)
    _, line = students_csv(made_comparison([arm], baseline="=1+1")).splitlines()
    assert line.startswith('\'=1+1,big,"training.learning_rate=0.1, seed_=2",0,0.5,,1.0,')
