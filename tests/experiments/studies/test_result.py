import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.studies.engine import ArmRow, StudyResult, TeacherRow, load_result, save_result
from experiments.studies.engine.result import PairedMeasure, Recovery
from preceptor.errors import InputError, MachineError


def arm_row(arm, accuracy, baseline=None, affected=None, **settings) -> ArmRow:
    """A row with these accuracies; ``baseline`` holds those of kd."""
    content = {
        "teacher": "faulty",
        "arm": arm,
        "recipe": arm,
        "about": f"about {arm}",
        "baseline": None if baseline is None else "kd",
        "measures": {"accuracy": PairedMeasure.paired(accuracy, baseline)},
        "affected": affected,
        **settings,
    }
    return ArmRow(**content)


RESULT = StudyResult(
    study="tiny",
    title="Größe",
    setting="s",
    shows="t",
    does_not_show="u",
    config={"rate": 0.4, "pairs": [[1, 7]]},
    class_names=("a", "b"),
    training_images=40,
    baseline="kd",
    teachers=[
        TeacherRow(
            name="faulty",
            about="40 % wrong",
            images=100,
            wrong_labels=[3, 4],
            accuracy=[0.1, 1 / 3],
            accuracy_on_training_images=[0.5, 0.5],
            error_by_class=[[0.1, None], [0.25, 0.3]],
        )
    ],
    rows=[arm_row("kd", [0.5, 0.6]), arm_row("ka-ps", [0.7, 0.65], [0.5, 0.6], [10, 12])],
    versions={"torch": "2"},
    seconds=12.5,
)

accuracies = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=8)


@given(pairs=accuracies)
def test_a_row_says_what_scipy_says(pairs):
    values, baseline = (np.array(column) / 1000 for column in zip(*pairs, strict=True))
    row = PairedMeasure.paired(values, baseline)
    assert row.mean == pytest.approx(values.mean())
    assert row.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    difference = values - baseline
    reach = stats.t.ppf(0.975, len(pairs) - 1) * stats.sem(difference)
    assert row.difference.mean == pytest.approx(difference.mean(), abs=1e-12)
    assert row.difference.low == pytest.approx(difference.mean() - reach, abs=1e-9)
    assert row.difference.high == pytest.approx(difference.mean() + reach, abs=1e-9)
    assert row.difference.n == len(pairs)


def test_one_seed_has_no_deviation_and_no_interval():
    row = PairedMeasure.paired([0.7], [0.5])
    assert row.deviation is None
    assert (row.difference.mean, row.difference.low, row.difference.high) == (pytest.approx(0.2), None, None)


def test_what_is_compared_with_nothing_has_no_difference():
    assert PairedMeasure.paired([0.7, 0.8]).difference is None


def test_a_row_is_found_by_its_arm_and_its_teacher():
    other = arm_row("ka-ps", [0.1, 0.2], affected=[1, 2], teacher="worse")
    result = RESULT.model_copy(update={"rows": [*RESULT.rows, other]})
    assert result.row("ka-ps").affected == [10, 12]
    assert result.row("ka-ps", "worse").affected == [1, 2]
    assert result.rows_of(RESULT.teachers[0]) == RESULT.rows


def test_the_recovery_ratio_by_hand():
    # It gains 0.1 and 0.2 of the 0.2 and 0.4 that were lost.
    found = Recovery.of(arm=[0.7, 0.8], baseline=[0.6, 0.6], clean=[0.8, 1.0])
    assert found is not None
    assert found.ratio == pytest.approx(0.3 / 0.6)
    assert found.values == pytest.approx([0.5, 0.5])


def test_the_recovery_ratio_is_of_the_means_and_not_the_mean_of_ratios():
    found = Recovery.of(arm=[0.62, 0.7], baseline=[0.6, 0.6], clean=[0.61, 1.0])
    assert found is not None
    assert found.values == pytest.approx([2.0, 0.25])
    assert found.ratio == pytest.approx(0.12 / 0.41)


def test_a_seed_under_which_nothing_was_lost_has_no_ratio_of_its_own():
    found = Recovery.of(arm=[0.7, 0.8], baseline=[0.6, 0.7], clean=[0.8, 0.7])
    assert found is not None
    assert found.ratio == pytest.approx(1.0)
    assert found.values == [pytest.approx(0.5), None]


@pytest.mark.parametrize("clean", [[0.6, 0.6], [0.7, 0.4]])
def test_there_is_nothing_to_recover_when_the_bad_teacher_cost_nothing(clean):
    assert Recovery.of(arm=[0.7, 0.8], baseline=[0.6, 0.6], clean=clean) is None


def test_a_saved_result_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "new" / "result.json"
    save_result(RESULT, path)
    assert load_result(path) == RESULT
    assert isinstance(load_result(path).row("kd"), ArmRow)
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_the_file_is_plain_json(tmp_path):
    path = tmp_path / "result.json"
    save_result(RESULT, path)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["title"] == "Größe"
    assert content["teachers"][0]["error_by_class"] == [[0.1, None], [0.25, 0.3]]


def test_every_class_has_an_error_rate():
    wrong = RESULT.teachers[0].model_copy(update={"error_by_class": [[0.1], [0.2]]})
    with pytest.raises(ValueError, match="one value for each of 2 classes"):
        StudyResult.model_validate({**RESULT.model_dump(), "teachers": [wrong.model_dump()]})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b'{"study": "demo"'])
def test_a_damaged_file(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"result\.json: not a readable result file"):
        load_result(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.json: not a readable result file"):
        load_result(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainng_images": 3}, "'trainng_images': did you mean 'training_images'"),
        ({"seconds": -1}, "seconds"),
        ({"rows": 3}, "rows"),
        ({"teachers": []}, "teachers"),
    ],
)
def test_a_file_that_is_no_result(tmp_path, change, message):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(RESULT.model_dump_json()), **change}))
    with pytest.raises(InputError, match=message) as caught:
        load_result(path)
    assert str(path) in str(caught.value)


def test_a_list_is_no_result(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object, found list"):
        load_result(path)


def test_a_full_disk_keeps_the_result_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    save_result(RESULT, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match=r"result\.json: cannot be written: No space left"):
        save_result(RESULT, path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"result.json": before}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file/result\.json: cannot be written"):
        save_result(RESULT, tmp_path / "file" / "result.json")
