import pytest
import torch

from preceptor.audit.verdicts import DEPTHS, judge
from preceptor.context import VERDICTS
from preceptor.errors import InputError
from tests.audit.situations import NAMES, situations


@pytest.mark.parametrize("name", NAMES)
def test_with_the_teachers_accuracy_nine_of_ten_verdicts_are_right(name: str) -> None:
    situation = situations()[name]
    verdicts = judge(
        situation.teacher, [situation.opinion], situation.labels, teacher_accuracy=situation.teacher_accuracy
    )
    right, _, untold = situation.shares(verdicts)
    assert right >= 0.9
    assert untold <= 0.2
    assert verdicts.base_rate.low == verdicts.base_rate.high
    assert torch.equal(verdicts.label_wrong_low, verdicts.label_wrong_high)
    assert float(verdicts.label_wrong.mean()) == pytest.approx(verdicts.base_rate.low, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_without_it_a_verdict_is_rarely_wrong_and_the_bounds_hold_the_truth(name: str) -> None:
    situation = situations()[name]
    verdicts = judge(situation.teacher, [situation.opinion], situation.labels)
    _, wrong, _ = situation.shares(verdicts)
    assert wrong <= 0.1
    label_wrong = (situation.teacher.argmax(dim=1) == situation.truth)[verdicts.index]
    assert verdicts.base_rate.low - 0.1 <= float(label_wrong.double().mean()) <= verdicts.base_rate.high + 0.1
    assert bool((verdicts.label_wrong_low <= verdicts.label_wrong_high).all())


def test_exchanged_classes_are_found_to_be_systematic() -> None:
    situation = situations()["exchanged classes, clean labels"]
    verdicts = judge(situation.teacher, [situation.opinion], situation.labels)
    assert float(verdicts.systematic.double().mean()) > 0.8


def test_the_same_seed_gives_the_same_verdicts_whatever_is_unlabeled_beside() -> None:
    situation = situations()["good teacher, noisy labels"]
    verdicts = judge(situation.teacher, [situation.opinion], situation.labels, teacher_accuracy=0.97)
    rows = torch.full((3, 10), 0.1, dtype=torch.float64)
    more = judge(
        torch.cat([rows, situation.teacher]),
        [torch.cat([rows, situation.opinion])],
        torch.cat([torch.full((3,), -1), situation.labels]),
        teacher_accuracy=0.97,
    )
    assert torch.equal(more.index - 3, verdicts.index)
    assert torch.equal(more.label_wrong, verdicts.label_wrong)


def test_deeper_verdicts_are_some_of_the_others() -> None:
    situation = situations()["both noisy"]
    verdicts = judge(situation.teacher, [situation.opinion], situation.labels, teacher_accuracy=0.9)
    sure, likely = (verdicts.at(depth) for depth in DEPTHS)
    told = sure != VERDICTS.index("ambiguous")
    assert 0 < int(told.sum()) < int((likely != VERDICTS.index("ambiguous")).sum())
    assert torch.equal(sure[told], likely[told])


def test_an_interval_of_the_accuracy_is_less_certain_than_its_ends() -> None:
    situation = situations()["good teacher, noisy labels"]
    arguments = (situation.teacher, [situation.opinion], situation.labels)
    verdicts = judge(*arguments, teacher_accuracy=(0.8, 0.97))
    ends = [judge(*arguments, teacher_accuracy=end).label_wrong for end in (0.8, 0.97)]
    assert torch.equal(verdicts.label_wrong_low, torch.minimum(*ends))
    assert torch.equal(verdicts.label_wrong_high, torch.maximum(*ends))


@pytest.mark.parametrize("disagreements", [0, 1, 9])
def test_few_disagreements_get_the_base_rate(disagreements: int) -> None:
    labels = torch.arange(60) % 3
    teacher = torch.nn.functional.one_hot(labels, 3).double()
    labels[:disagreements] = (labels[:disagreements] + 1) % 3
    verdicts = judge(teacher, [teacher], labels)
    assert len(verdicts.index) == disagreements
    assert verdicts.label_wrong_low.tolist() == [0.0] * disagreements
    assert verdicts.label_wrong_high.tolist() == [1.0] * disagreements
    assert set(verdicts.at("likely").tolist()) <= {VERDICTS.index("ambiguous")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opinions": []}, "no second opinion"),
        ({"opinions": [torch.full((19, 3), 1 / 3)]}, r"\[19, 3\]; expected \[20, 3\]"),
        ({"teacher": torch.full((20, 3), -1.0)}, "give probabilities, not logits"),
        ({"labels": torch.full((20,), 3)}, "expected 0 to 2, or -1"),
        ({"teacher_accuracy": 91.7}, "expected a share from 0 to 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    fitting = {
        "teacher": torch.full((20, 3), 1 / 3),
        "opinions": [torch.full((20, 3), 1 / 3)],
        "labels": torch.zeros(20, dtype=torch.long),
    }
    with pytest.raises(InputError, match=message):
        judge(**{**fitting, **change})  # type: ignore[arg-type]
