"""Several kinds of teacher, arms with settings of their own, students that abstain, selections that are fitted."""

from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.studies.engine import Arm, Study, StudyResult, TeacherKind, arms_of, run_study
from experiments.studies.engine import seed as seed_module
from experiments.studies.engine.result import ArmRow
from preceptor.data import swap_pairs
from preceptor.errors import InputError
from preceptor.metrics import paired_difference
from preceptor.metrics.selective import Ranking, samples_kept
from preceptor.training import Student, Trainer
from tests.experiments.studies.tiny import SEVERAL, TINY
from tests.training_helpers import digits, same_bits, weights

Call = dict[str, Any]
KINDS = ("clean", "faulty", "stopped")


class Images:
    def __init__(self) -> None:
        self.planned = self.seen = 0

    def start(self, name: str, images: int) -> None:
        self.planned = images

    def advance(self, images: int) -> None:
        self.seen += images


def observed_run(study: Study, progress: Images | None = None) -> tuple[StudyResult, list[Call]]:
    """The result, and every training."""
    calls: list[Call] = []

    def spy(students, teacher, data, config, *arguments, **options):
        initial = {student.name: weights(student.network) for student in students}
        calls.append({"students": students, "data": data, "epochs": config.epochs, "initial": initial})
        return Trainer(students, teacher, data, config, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_module, "Trainer", spy)
        result = run_study(study, progress=progress, jobs=1, device="cpu")
    return result, calls


@pytest.fixture(scope="module")
def images() -> Images:
    return Images()


@pytest.fixture(scope="module")
def several(images) -> tuple[StudyResult, list[Call]]:
    """Per seed, a teacher is trained and then its students, kind by kind."""
    return observed_run(SEVERAL, images)


@pytest.fixture(scope="module")
def result(several) -> StudyResult:
    return several[0]


def students(several, kind: str, seed: int = 0) -> dict[str, Student]:
    call = several[1][6 * seed + 2 * KINDS.index(kind) + 1]
    return {student.name: student for student in call["students"]}


def logits(student: Student) -> Tensor:
    with torch.no_grad():
        return student.network.eval()(digits().test.images)


def test_there_is_a_row_for_every_arm_and_teacher_in_order(result):
    assert [teacher.name for teacher in result.teachers] == list(KINDS)
    assert [(row.teacher, row.arm) for row in result.rows] == [(k, a.name) for k in KINDS for a in SEVERAL.arms]


def test_every_kind_of_teacher_is_made_as_it_says(several):
    result, calls = several
    for seed in (0, 1):
        for place, kind in enumerate(SEVERAL.teachers):
            call = calls[6 * seed + 2 * place]
            swapped = swap_pairs(digits().train.labels, SEVERAL.pairs, kind.rate, seed)
            assert torch.equal(call["data"].labels, swapped)
            assert call["epochs"] == (kind.epochs or SEVERAL.teacher_training.epochs)
    assert [teacher.wrong_labels[0] > 0 for teacher in result.teachers] == [False, True, False]


def test_students_of_every_teacher_begin_alike_and_have_the_same_images(several):
    first, *others = [several[1][2 * place + 1] for place in range(3)]
    for other in others:
        assert torch.equal(other["data"].index, first["data"].index)
        assert all(same_bits(other["initial"][name], first["initial"][name]) for name in other["initial"])


def test_a_recipe_without_a_teacher_is_trained_once_a_seed(several):
    assert "none" in students(several, "clean")
    assert "none" not in students(several, "faulty")
    assert "none" not in students(several, "stopped", seed=1)
    assert {"kd", "ka-ps", "ka-ps-1", "gambler"} == set(students(several, "faulty"))


def test_its_numbers_stand_under_every_teacher(result):
    def values(arm: str, kind: str) -> dict[str, list[float]]:
        return {name: measure.values for name, measure in result.row(arm, kind).measures.items()}

    assert values("none", "clean") == values("none", "faulty") == values("none", "stopped")
    assert values("kd", "clean") != values("kd", "faulty")


def test_progress_counts_the_images_of_every_teacher_and_its_students(several, images):
    assert images.seen == images.planned == 2 * (135 * (4 + 4 + 1) + 3 * 40)


def test_a_teacher_that_no_student_needs_is_not_counted():
    alone = SEVERAL.model_copy(update={"arms": arms_of("none"), "baseline": "none"})
    assert alone.images_trained_on(digits()) == 2 * (135 * (4 + 4 + 1) + 40)


def test_overrides_of_an_arm_reach_its_loss(several):
    trained = students(several, "faulty")
    assert trained["ka-ps-1"].loss.temperature.temperature == 1
    assert trained["ka-ps"].loss.temperature.temperature == 4
    assert trained["gambler"].loss.correction is None
    row = several[0].row("ka-ps-1", "faulty")
    assert (row.recipe, row.measures["temperature"].values) == ("ka-ps", [1, 1])
    assert several[0].row("gambler").about == "may abstain"
    assert "swap probabilities" in row.about


def test_differences_are_to_the_arm_named_under_the_same_teacher(result):
    for kind in KINDS:
        own, other, base = (result.row(name, kind) for name in ("ka-ps-1", "ka-ps", "kd"))
        assert (own.baseline, other.baseline, base.baseline) == ("ka-ps", "kd", None)
        for name in ("accuracy", "aurc", "error_at_80", "corrected"):
            values = own.measures[name].values
            assert own.measures[name].difference == paired_difference(values, other.measures[name].values)
        assert other.accuracy.difference == paired_difference(other.accuracy.values, base.accuracy.values)
        assert base.accuracy.difference is None


def test_recovery_ratios_are_those_of_the_accuracies(result):
    def mean(arm: str, kind: str) -> float:
        return result.row(arm, kind).accuracy.mean

    assert all(row.recovery is None for row in result.rows if row.teacher == "clean" or row.arm == "kd")
    for kind in ("faulty", "stopped"):
        lost = mean("kd", "clean") - mean("kd", kind)
        for arm in ("none", "ka-ps"):
            found = result.row(arm, kind).recovery
            assert (found is None) == (lost <= 0)
            if found is not None:
                assert found.ratio == pytest.approx((mean(arm, kind) - mean("kd", kind)) / lost)


def test_an_abstaining_student_has_one_output_more_and_begins_from_its_own_seed(several):
    trained = students(several, "clean")
    assert logits(trained["gambler"]).shape[1] == 11
    assert logits(trained["kd"]).shape[1] == 10
    initial = several[1][1]["initial"]
    shared = [name for name, value in initial["kd"].items() if value.shape == initial["gambler"][name].shape]
    assert len(shared) >= len(initial["kd"]) - 2
    assert any(initial["kd"][name].numel() > 100 and name in shared for name in initial["kd"])


def test_what_is_measured_of_an_abstaining_student(several, result):
    labels = digits().test.labels
    outputs = logits(students(several, "faulty")["gambler"])
    wrong = outputs[:, :10].argmax(dim=1) != labels
    measures = {name: measure.values[0] for name, measure in result.row("gambler", "faulty").measures.items()}
    assert measures["accuracy"] == pytest.approx(1 - wrong.double().mean().item())
    kept = outputs.softmax(dim=1)[:, -1]
    assert measures["reservation"] == pytest.approx(kept.mean().item(), abs=1e-6)
    response = outputs[:, :10].softmax(dim=1).amax(dim=1)
    by_response, by_reservation = (Ranking.of(each.double(), wrong) for each in (response, -kept))
    for coverage in (95, 90, 85, 80, 70):
        count = [samples_kept(len(labels), coverage / 100)]
        assert measures[f"error_at_{coverage}"] == pytest.approx(by_response.error_among(count).item(), abs=1e-3)
        expected = by_reservation.error_among(count).item()
        assert measures[f"error_at_{coverage}_reservation"] == pytest.approx(expected, abs=1e-3)


def test_a_reservation_is_compared_with_softmax_response_on_the_same_networks(result):
    measures = result.row("gambler", "faulty").measures
    expected = paired_difference(measures["aurc_reservation"].values, measures["aurc"].values)
    assert measures["aurc_reservation"].difference == expected
    assert not any("reservation" in name for name in result.row("kd").measures)


def test_measures_are_those_that_apply(result):
    def also(row: ArmRow) -> set[str]:
        return {name for name in row.measures if not name.startswith(("accuracy", "error_at", "aurc", "augrc", "ece"))}

    assert also(result.row("none")) == set()
    assert also(result.row("kd")) == {"temperature"}
    assert also(result.row("ka-ps")) == {"temperature", "corrected"}
    assert also(result.row("gambler")) == {"temperature", "reservation"}


SELECTING = TINY.model_copy(
    update={
        "arms": (
            *arms_of("none", "kd", "dtd-flsw"),
            Arm(name="best", recipe="lr-ds", overrides={"selection.keep": 0.5}, baseline="random"),
            Arm(
                name="worst",
                recipe="lr-ds",
                overrides={"selection.keep": 0.5, "selection.ascending": True},
                baseline="random",
            ),
            Arm(name="random", recipe="lr-ds", overrides={"selection": {"name": "random", "keep": 0.5}}),
        ),
        "seeds": (0,),
    }
)


@pytest.fixture(scope="module")
def selecting() -> tuple[StudyResult, list[Call], list[tuple[Tensor, Tensor]]]:
    """A study with selections, and the images that each selection was fitted on."""
    fitted = []
    collect = seed_module.collect_selection_data

    def spy(teacher, train, index, held_out, **options):
        fitted.append((index, held_out))
        return collect(teacher, train, index, held_out, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_module, "collect_selection_data", spy)
        result, calls = observed_run(SELECTING)
    return result, calls, fitted


def test_selections_are_fitted_once_on_the_training_images_and_what_is_held_out(selecting):
    _, (of_teacher, of_students), fitted = selecting
    [(index, held_out)] = fitted
    assert torch.equal(index, of_students["data"].index)
    assert len(held_out) == len(digits().train) - len(of_teacher["data"].index)
    assert set(held_out.tolist()).isdisjoint(of_teacher["data"].index.tolist())


def test_half_of_the_training_images_are_taught_and_the_two_directions_share_none(selecting):
    result, (_, of_students), _ = selecting
    index = of_students["data"].index
    losses = {student.name: student.loss for student in of_students["students"]}
    chosen = {name: set(index[losses[name].teacher_mask(index)].tolist()) for name in ("best", "worst", "random")}
    assert all(len(some) == 20 for some in chosen.values())
    assert chosen["best"].isdisjoint(chosen["worst"])
    assert chosen["random"] not in (chosen["best"], chosen["worst"])
    for name in chosen:
        assert result.row(name).measures["taught"].values == [0.5]
        assert result.row(name).affected[0] >= 20
    assert "taught" not in result.row("kd").measures


def test_a_dynamic_temperature_is_measured(selecting):
    measures = selecting[0].row("dtd-flsw").measures
    assert 1 <= measures["temperature"].mean <= 4.5
    assert 0 <= measures["clamped"].mean <= 1
    assert "clamped" not in selecting[0].row("kd").measures


def changed(**settings) -> Study:
    return Study.model_validate({**SEVERAL.model_dump(), **settings})


CLEAN = TeacherKind(name="clean", about="every label right")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arms": arms_of("kd", "kd")}, "two arms share a name"),
        ({"teachers": (CLEAN, CLEAN)}, "two teachers share a name"),
        (
            {"recovery": "claen"},
            "unknown teacher for the recovery ratio of study several 'claen': did you mean 'clean'",
        ),
        ({"columns": ("acuracy",)}, "unknown column in study several 'acuracy': did you mean 'accuracy'"),
        ({"arms": (*arms_of("kd"), Arm(name="a", recipe="ka-ps", baseline="kdd"))}, "unknown baseline of arm a 'kdd'"),
        ({"arms": (Arm(name="kd", recipe="kd", baseline="kd"),)}, "unknown baseline of arm kd 'kd'"),
        ({"arms": (Arm(name="kd", recipe="kd", overrides={"temperature.temprature": 1}),)}, "temprature"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_trained(settings, message):
    with pytest.raises(InputError, match=message):
        changed(**settings).check()
