import pytest

from preceptor.reports.finding import Kind, best_correction, caveats, excludes_zero, kind_of, main_finding
from preceptor.studies.result import StudyResult
from preceptor.studies.wording import PER_CENT
from tests.reports.conftest import study_row, study_rows

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


@pytest.mark.parametrize(("control", "said"), [(BETTER, "more than ka-ps"), (UNSURE, "as much as ka-ps")])
def test_a_control_that_does_as_well_is_called_out(result: StudyResult, control: tuple[float, ...], said: str) -> None:
    assert f"({said})" in main_finding(study(result, kd=KD, ka_ps=UNSURE, drop_wrong=control))
    assert said not in main_finding(study(result, kd=KD, ka_ps=UNSURE, drop_wrong=WORSE))


def test_the_best_correction_is_neither_control_nor_baseline(result: StudyResult) -> None:
    best = best_correction(study(result, none=BETTER, kd=BETTER, drop_wrong=BETTER, ka_ps=WORSE, ka_lsr=UNSURE))
    assert best is not None
    assert best.recipe == "ka-lsr"


def test_kinds(result: StudyResult) -> None:
    recipes = {row.recipe: kind_of(row, result) for row in result.rows}
    assert recipes["kd"] is Kind.BASELINE
    assert recipes["none"] is Kind.LABELS_ONLY
    assert recipes["drop-wrong"] is Kind.CONTROL
    assert recipes["ka-ps"] is Kind.CORRECTION
    uncorrected = study_row("ka-ps", KD).model_copy(update={"recipe": "dkd", "touched": None})
    assert kind_of(uncorrected, result) is Kind.OTHER


def test_caveats_compare_with_each_control_and_own_up_to_picking(result: StudyResult) -> None:
    said = [plain(caveat) for caveat in caveats(result)]
    assert (
        said[0]
        == "label-revision against labels alone: +2.59 points, 95% interval +1.54 to +3.64, which excludes zero."
    )
    assert (
        said[1] == "label-revision against drop-wrong: +0.55 points, 95% interval -0.13 to +1.24, which includes zero."
    )
    assert said[2] == (
        "Of 3 corrections, 3 (label-revision, ka-ps and ka-lsr) have an interval against kd above zero, 0 have one "
        "below zero."
    )
    assert "picked after the fact" in said[3]


def test_caveats_name_corrections_that_hurt(result: StudyResult) -> None:
    said = caveats(study(result, kd=KD, ka_ps=UNSURE, ka_lsr=WORSE))
    assert said[0] == "Of 2 corrections, 0 have an interval against kd above zero, 1 (ka-lsr) has one below zero."


def test_an_interval_that_touches_zero_does_not_exclude_it(result: StudyResult) -> None:
    assert not excludes_zero(study_row("ka-ps", KD, KD).difference)
    assert not excludes_zero(None)
    assert excludes_zero(study_row("ka-ps", BETTER, KD).difference)
    assert excludes_zero(study_row("ka-ps", WORSE, KD).difference)
