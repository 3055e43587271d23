import pytest

from preceptor.compare.format import PER_CENT
from preceptor.compare.result import Measure, StudyResult
from preceptor.reports.summary import (
    Kind,
    best_contender,
    caveats,
    excludes_zero,
    kind_of,
    main_finding,
    overall_finding,
)
from tests.reports.conftest import study_row, study_rows, with_another_teacher

KD = (0.80, 0.82, 0.84)
BETTER = (0.90, 0.92, 0.95)
UNSURE = (0.78, 0.83, 0.88)
WORSE = (0.70, 0.72, 0.75)


def study(result: StudyResult, **accuracy: tuple[float, ...]) -> StudyResult:
    """A result with these recipes; underscores in a name stand for hyphens."""
    return result.model_copy(
        update={"rows": study_rows({name.replace("_", "-"): values for name, values in accuracy.items()})}
    )


def plain(text: str) -> str:
    return text.replace(PER_CENT, "%").replace("\N{MINUS SIGN}", "-")


def test_a_clear_gain(result: StudyResult) -> None:
    found = plain(main_finding(study(result, none=(0.7, 0.7, 0.7), kd=KD, ka_ps=BETTER, drop_wrong=KD)))
    assert found == (
        "ka-ps, the best correction, beat the baseline, kd: 92.33% against 82.00%, a paired difference of +10.33 "
        "points over 3 seeds (95% interval +8.90 to +11.77); labels alone reached 70.00% and merely dropping the wrong "
        "samples 82.00%."
    )


def test_an_interval_that_includes_zero_is_no_gain(result: StudyResult) -> None:
    found = plain(main_finding(study(result, kd=KD, ka_ps=UNSURE)))
    assert found.startswith("The best correction, ka-ps, cannot be told from the baseline, kd")
    assert found.endswith("and the 95% interval -6.45 to +8.45 includes zero.")
    assert "beat" not in found


def test_a_clear_loss(result: StudyResult) -> None:
    assert main_finding(study(result, kd=KD, ka_ps=WORSE)).startswith("Even the best correction, ka-ps, did worse")


def test_one_seed_has_no_verdict(result: StudyResult) -> None:
    found = main_finding(study(result, kd=(0.8,), ka_ps=(0.9,), none=(0.85,)))
    assert "on the only seed" in found
    assert "may be chance" in found
    assert "interval" not in found


def test_without_a_correction_it_says_so(result: StudyResult) -> None:
    found = plain(main_finding(study(result, none=KD, kd=KD)))
    assert found == "The study has no correction to compare; kd reached 82.00%; labels alone reached 82.00%."
    assert caveats(study(result, none=KD, kd=KD)) == []


@pytest.mark.parametrize(("control", "text"), [(BETTER, "more than ka-ps"), (UNSURE, "as much as ka-ps")])
def test_a_control_that_does_as_well_is_called_out(result: StudyResult, control: tuple[float, ...], text: str) -> None:
    assert f"({text})" in main_finding(study(result, kd=KD, ka_ps=UNSURE, drop_wrong=control))
    assert text not in main_finding(study(result, kd=KD, ka_ps=UNSURE, drop_wrong=WORSE))


def test_the_best_correction_is_neither_control_nor_baseline(result: StudyResult) -> None:
    best = best_contender(study(result, none=BETTER, kd=BETTER, drop_wrong=BETTER, ka_ps=WORSE, ka_lsr=UNSURE))
    assert best is not None
    assert best.arm == "ka-lsr"


def test_kinds(result: StudyResult) -> None:
    recipes = {row.arm: kind_of(row, result) for row in result.rows}
    assert recipes["kd"] is Kind.BASELINE
    assert recipes["none"] is Kind.LABELS_ONLY
    assert recipes["drop-wrong"] is Kind.CONTROL
    assert recipes["ka-ps"] is Kind.CONTENDER
    plain_one = study_row("ka-ps", KD).model_copy(update={"recipe": "kd"})
    assert kind_of(plain_one, result) is Kind.OTHER
    own = study_row("ka-ps", KD).model_copy(update={"arm": "mine", "baseline": "ka-ps"})
    held = result.model_copy(update={"rows": [*result.rows, own]})
    assert kind_of(result.row("ka-ps"), held) is Kind.CONTROL
    assert kind_of(own, held) is Kind.CONTENDER


def test_caveats_compare_with_each_control_and_own_up_to_picking(result: StudyResult) -> None:
    text = [plain(caveat) for caveat in caveats(result)]
    assert (
        text[0]
        == "label-revision against labels alone: +2.59 points, 95% interval +1.54 to +3.64, which excludes zero."
    )
    assert (
        text[1] == "label-revision against drop-wrong: +0.55 points, 95% interval -0.13 to +1.24, which includes zero."
    )
    assert text[2] == (
        "Of 3 corrections, 3 (label-revision, ka-ps and ka-lsr) have an interval against kd above zero, 0 have one "
        "below zero."
    )
    assert "picked after the fact" in text[3]


def test_caveats_name_corrections_that_hurt(result: StudyResult) -> None:
    text = caveats(study(result, kd=KD, ka_ps=UNSURE, ka_lsr=WORSE))
    assert text[0] == "Of 2 corrections, 0 have an interval against kd above zero, 1 (ka-lsr) has one below zero."


def test_an_interval_that_touches_zero_does_not_exclude_it(result: StudyResult) -> None:
    assert not excludes_zero(study_row("ka-ps", KD, KD).accuracy.difference)
    assert not excludes_zero(None)
    assert excludes_zero(study_row("ka-ps", BETTER, KD).accuracy.difference)
    assert excludes_zero(study_row("ka-ps", WORSE, KD).accuracy.difference)


def with_control(result: StudyResult) -> StudyResult:
    """ka-ps is the best, and its baseline is ka-lsr, its control."""
    found = study(result, kd=KD, ka_lsr=UNSURE, ka_ps=BETTER)
    own = study_row("ka-ps", BETTER, UNSURE).model_copy(update={"baseline": "ka-lsr"})
    return found.model_copy(update={"rows": [*found.rows[:2], own], "noun": "selection"})


def test_an_arm_is_judged_by_what_it_is_with_control(result: StudyResult) -> None:
    found = plain(main_finding(with_control(result)))
    assert found.startswith("ka-ps, the best selection, beat its control, ka-lsr: 92.33% against 83.00%")
    text = [plain(caveat) for caveat in caveats(with_control(result))]
    assert text == ["ka-ps against kd: +10.33 points, 95% interval +8.90 to +11.77, which excludes zero."]


def test_over_several_teachers_every_verdict_is_stated(result: StudyResult) -> None:
    first = study(result, kd=KD, ka_ps=BETTER)
    several = with_another_teacher(first, {"kd": KD, "ka-ps": WORSE})
    assert overall_finding(several) == (
        "Over 2 kinds of teacher, the best correction, against the baseline, kd: did better with faulty (ka-ps); did "
        "worse with clean (ka-ps)."
    )
    assert overall_finding(first) == main_finding(first)
    assert "worse" in main_finding(several, several.teachers[1])
    assert "beat" in main_finding(several, several.teachers[0])


def test_a_reservation_is_judged_against_the_same_networks_probabilities(result: StudyResult) -> None:
    row = study_row("ka-ps", BETTER, KD)
    aurc = Measure.of([0.05, 0.06, 0.07], [0.06, 0.07, 0.08])
    able = row.model_copy(update={"measures": {**row.measures, "aurc_reservation": aurc}})
    text = plain(caveats(study(result, kd=KD).model_copy(update={"rows": [study_row("kd", KD), able]}))[-1])
    assert text == (
        "ka-ps, abstaining by reservation instead of by its class probabilities: AURC 6.00%, -1.00 points (lower is "
        "better), 95% interval -1.00 to -1.00, which excludes zero."
    )
