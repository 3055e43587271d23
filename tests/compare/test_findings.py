"""What a comparison shows, in sentences, from made-up results."""

import pytest

from preceptor.compare.comparison_result import ArmResult, ComparisonResult, FailedRun
from preceptor.compare.findings import overall, sentences, tables
from tests.compare.comparisons import made_arm, made_comparison, made_teacher

TEACHER = (
    "The teacher names the label of 93.1 % of the students' 270 labeled training images, with a mean confidence of "
    "97 %."
)


def told(result: ComparisonResult, place: int = 0) -> list[str]:
    return [one.replace("\N{NO-BREAK SPACE}", " ") for one in sentences(tables(result)[place], result)]


def test_all_there_is_to_tell():
    assert told(made_comparison()) == [
        "ka-ps scored highest: 92.00 % of the test set, mean of 3 seeds.",
        "Clearly better than kd: ka-ps (+3.00 points).",
        "These 3 seeds can't tell whether cmkd is better or worse than kd.",
        "Plain distillation (kd) is clearly better than labels alone (none), by 10.00 points.",
        TEACHER,
    ]


KD = made_arm("kd", (0.8, 0.82))
NONE = made_arm("none", (0.8, 0.82))
ONE = [made_arm("kd", (0.8,)), made_arm("ka-ps", (0.81,), (0.01, -0.01, 0.03))]
BROKEN = FailedRun(seed=1, message="non-finite")


@pytest.mark.parametrize(
    ("arms", "baseline", "expected"),
    [
        ([KD], "kd", ["kd scored 81.00 % of the test set, mean of 2 seeds."]),
        (
            ONE,
            "kd",
            [
                "ka-ps scored highest: 81.00 % of the test set, with one seed.",
                "No recipe is clearly better than kd.",
                "One seed can't tell whether ka-ps is better or worse than kd.",
            ],
        ),
        (
            [KD, made_arm("none", (0.9, 0.92), (0.1, 0.05, 0.15))],
            "kd",
            [
                "none scored highest: 91.00 % of the test set, mean of 2 seeds.",
                "Plain distillation (kd) is clearly worse than labels alone (none), by 10.00 points: used as it is, "
                "this teacher costs accuracy.",
            ],
        ),
        (
            [NONE, made_arm("kd", (0.81, 0.82), (0.005, -0.01, 0.02))],
            "none",
            [
                "kd scored highest: 81.50 % of the test set, mean of 2 seeds.",
                "It can't be told whether plain distillation (kd) is better than labels alone (none): +0.50 points, "
                "interval −1.00 to +2.00.",
            ],
        ),
        (
            [KD, *(made_arm(name, (0.7, 0.7), (-0.11, -0.2, -0.02)) for name in ("cmkd", "dist"))],
            "kd",
            [
                "kd scored highest: 81.00 % of the test set, mean of 2 seeds.",
                "No recipe is clearly better than kd.",
                "Clearly worse: cmkd (−11.00 points) and dist (−11.00 points).",
            ],
        ),
        (
            [KD, made_arm("cmkd", (0.81,), failed=[BROKEN])],
            "kd",
            [
                "kd and cmkd scored highest: 81.00 % of the test set, mean of 2 seeds.",
                "Not compared, as a run failed: cmkd.",
            ],
        ),
        (
            [made_arm("kd", (0.7,), failed=[BROKEN]), made_arm("cmkd", (0.81, 0.82))],
            "kd",
            [
                "cmkd scored highest: 81.50 % of the test set, mean of 2 seeds.",
                "A run of kd, the baseline, failed, so nothing is compared with it.",
            ],
        ),
    ],
)
def test_sentences_of(arms: list[ArmResult], baseline: str, expected: list[str]):
    assert told(made_comparison(arms, baseline=baseline)) == [*expected, TEACHER]


def test_recipes_with_settings_of_their_own_are_not_taken_for_plain_ones():
    arms = [made_arm("kd", (0.8, 0.82)), made_arm("none", (0.7, 0.7), (-0.11, -0.2, -0.02))]
    plan = {"recipes": {"kd": {"recipe": "kd", "training.epochs": 3}, "none": {"recipe": "none"}}, "seeds": [0, 1]}
    found = told(made_comparison(arms, plan=plan))
    assert "Clearly worse: none (−11.00 points)." in found
    assert not any("Plain" in one for one in found)


def test_labels_alone_under_a_second_teacher_are_not_set_beside_the_first():
    arms = [
        made_arm("none", (0.8, 0.82), (0.1, 0.05, 0.15)),
        made_arm("kd", (0.7, 0.72), teacher="a"),
        made_arm("kd", (0.9, 0.92), teacher="b"),
        made_arm("cmkd", (0.95, 0.97), (0.05, 0.02, 0.08), teacher="b"),
    ]
    result = made_comparison(arms, teachers=[made_teacher("a"), made_teacher("b")])
    first, second = tables(result)
    assert (first.heading, second.heading) == ("a", "b")
    assert [arm.recipe for arm in first.arms] == ["none", "kd"]
    assert [arm.recipe for arm in second.arms] == ["cmkd", "kd", "none"]
    under_first, under_second = first.arm("none"), second.arm("none")
    assert under_first == arms[0]
    assert under_second == arms[0].model_copy(update={"difference": None, "beside_teacher": None})
    assert any("labels alone (none)" in one for one in told(result, 0))
    assert not any("labels alone" in one for one in told(result, 1))
    text = overall(result, [first, second]).replace("\N{NO-BREAK SPACE}", " ")
    assert text == "cmkd (b) scored highest: 96.00 % of the test set, mean of 2 seeds."


def test_labels_alone_as_baseline_are_those_of_every_teacher():
    arms = [
        made_arm("none", (0.8, 0.82)),
        made_arm("gambler", (0.7, 0.7), (-0.11, -0.2, -0.02)),
        made_arm("kd", (0.9, 0.92), (0.1, 0.05, 0.15), teacher="a"),
        made_arm("kd", (0.9, 0.92), (0.1, 0.05, 0.15), teacher="b"),
    ]
    result = made_comparison(arms, teachers=[made_teacher("a"), made_teacher("b")], baseline="none")
    for place in range(2):
        assert "Clearly worse: gambler (−11.00 points)." in told(result, place)
        assert any("clearly better than labels alone" in one for one in told(result, place))


def test_a_table_for_each_choice_of_settings():
    arms = [
        made_arm(name, (0.8 + rate, 0.8), teacher=None, settings={"training.learning_rate": rate})
        for rate in (0.05, 0.1)
        for name in ("kd", "cmkd")
    ]
    found = tables(made_comparison(arms, teachers=[]))
    assert [table.heading for table in found] == ["training.learning_rate=0.05", "training.learning_rate=0.1"]
    assert [len(table.arms) for table in found] == [2, 2]
