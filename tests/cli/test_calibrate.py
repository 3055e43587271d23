"""``preceptor calibrate`` from the command line, and what ``predict`` then does."""

import json
import re
import shutil

import numpy as np
import pytest

from preceptor.cli.main import main
from preceptor.models import load_student, save_student
from preceptor.run.history import DatasetCache, saved_run
from tests.cli.test_runs import only_json

LONGER = ["--validation", "0.3", "--epochs", "8", "--batch-size", "32", "--device", "cpu", "augment=false"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A student that learned enough to guarantee something; not to be changed."""
    folder = tmp_path_factory.mktemp("students") / "student"
    assert main(["train", "--model", "convnet8", *LONGER, "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def student(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "student")


def test_what_is_guaranteed_is_on_the_card_and_told(student, preceptor):
    done = preceptor("calibrate", student, "--max-risk", "0.1", "--confidence", "0.9")
    assert done.code == 0
    decision = load_student(student)[1].decision
    assert (decision.max_risk, decision.confidence, decision.calibrated_on.samples) == (0.1, 0.9, 404)
    assert done.out.splitlines() == [
        "calibrated on 404 held-out images of digits",
        "guaranteed: at most 10.00% errors among its answers, with 90.00% confidence",
        f"  it answers where softmax response is at least {decision.threshold:.6g}: {decision.coverage:.2%} of these "
        f"images, {decision.risk:.2%} of them wrongly",
        f"stored in {student / 'student.json'}",
    ]


def test_predict_answers_as_many_of_these_images_as_was_said(student, preceptor, tmp_path):
    preceptor("calibrate", student, "--max-risk", "0.05", "--score", "margin", "--sets", "aps", "--quiet")
    held_out = DatasetCache().held_out(saved_run(student))
    np.save(tmp_path / "held_out.npy", held_out.images[:, 0].numpy())
    done = preceptor("predict", student, tmp_path / "held_out.npy", "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    card = load_student(student)[1]
    answered = [row for row in rows if not row["abstained"]]
    assert len(answered) == round(card.decision.coverage * 404) < 404
    names = [card.class_names[label] for label in held_out.labels]
    errors = sum(row["label"] not in (None, name) for row, name in zip(rows, names, strict=True))
    assert errors / len(answered) == card.decision.risk
    inside = sum(name in row["set"] for row, name in zip(rows, names, strict=True))
    assert inside >= 0.9 * 404


def test_json_is_one_object(student, preceptor):
    first = only_json(preceptor("calibrate", student, "--max-risk", "0.1", "--sets", "lac", "--alpha", "0.2", "--json"))
    card = json.loads((student / "student.json").read_text())
    assert first["guaranteed"] is True
    assert (first["decision"], first["sets"]) == (card["decision"], card["sets"])
    assert first["before"] == {"decision": None, "sets": None}
    assert first["guarantee"]["covered"] == round(first["decision"]["coverage"] * 404)
    assert first["calibrated_on"] == card["sets"]["calibrated_on"]
    assert first["notes"] == []
    second = only_json(
        preceptor("calibrate", student, "--sets", "raps", "--penalty", "0.1", "--free-ranks", "1", "--json")
    )
    assert second["before"]["sets"] == first["sets"]
    assert (second["guarantee"], second["decision"]) == (None, first["decision"])
    assert (second["sets"]["penalty"], second["sets"]["free_ranks"]) == (0.1, 1)


def test_a_second_tells_what_it_replaced(student, preceptor):
    preceptor("calibrate", student, "--max-risk", "0.1", "--sets", "lac", "--alpha", "0.2")
    done = preceptor("calibrate", student, "--max-risk", "0.15", "--split", "test", "--sets", "aps")
    assert done.code == 0
    calibrated = "calibrated on 404 held-out images of digits"
    assert f"replaced: at most 10.00% errors among its answers, with 95.00% confidence; {calibrated}\n" in done.out
    assert "replaced: prediction sets (lac) that miss the class of at most 20.00%" in done.out
    assert "calibrated on 449 test images of digits\n" in done.out
    assert "note: the test set has decided something now" in done.out


def test_what_cannot_be_guaranteed_is_code_5_with_what_could_be(student, preceptor):
    preceptor("calibrate", student, "--max-risk", "0.1")
    before = (student / "student.json").read_bytes()
    done = preceptor("calibrate", student, "--max-risk", "0.02")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith(
        "preceptor: at most 2.00% errors with 95.00% confidence cannot be guaranteed on these 404 held-out images"
    )
    assert "this risk takes at least 525 images even without an error, not 404: add --data" in done.err
    possible = re.search(r"--max-risk (0\.\d+) can be guaranteed, answering at least", done.err)[1]
    assert done.err.count("\n") == 1
    assert (student / "student.json").read_bytes() == before
    told = preceptor("calibrate", student, "--max-risk", "0.02", "--json")
    assert told.code == 5
    content = json.loads(told.out)
    assert content["guaranteed"] is False
    assert content["guarantee"]["lowest_bound"] > 0.02
    assert content["decision"] == content["before"]["decision"]
    assert (student / "student.json").read_bytes() == before
    assert preceptor("calibrate", student, "--max-risk", possible).code == 0


def test_thresholds_by_class(student, preceptor):
    done = preceptor("calibrate", student, "--max-risk", "0.19", "--by-class", "--each", "--split", "test")
    assert done.code == 0, done.err
    card = load_student(student)[1]
    assert "with 95.00% confidence, for each class by itself\n" in done.out
    for name, limit in zip(card.class_names, card.decision.class_thresholds, strict=True):
        how = "never: " if limit is None else f"from {limit:.6g} on: "
        assert f"  {name}  {how}" in done.out
    refused = preceptor("calibrate", student, "--max-risk", "0.01", "--by-class", "--split", "test")
    assert refused.code == 5
    assert "can be guaranteed, for one of the classes, answering at least" in refused.err


def test_a_student_that_hardly_learned_is_told_what_would_help(teacher, preceptor):
    done = preceptor("calibrate", teacher, "--max-risk", "0.1")
    assert done.code == 5
    assert "calibrate on more images (--data), or train the student better; nothing was changed" in done.err


def test_forgetting(student, preceptor):
    plain = (student / "student.json").read_bytes()
    assert preceptor("calibrate", student, "--forget").out == "no guarantee to forget\n"
    preceptor("calibrate", student, "--max-risk", "0.1", "--sets", "lac")
    done = preceptor("calibrate", student, "--forget")
    assert done.out.startswith("forgotten: at most 10.00% errors among its answers, with 95.00% confidence; calibrated")
    assert done.out.splitlines()[1].startswith("forgotten: prediction sets (lac)")
    assert (student / "student.json").read_bytes() == plain
    preceptor("calibrate", student, "--max-risk", "0.1", "--quiet")
    forgotten = only_json(preceptor("calibrate", student, "--forget", "--json"))["forgotten"]
    assert (forgotten["decision"]["max_risk"], forgotten["sets"]) == (0.1, None)


def test_quiet_says_nothing_but_errors(student, preceptor):
    done = preceptor("calibrate", student, "--max-risk", "0.1", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert preceptor("calibrate", student, "--max-risk", "0.001", "--quiet").code == 5


def test_names_that_would_steer_the_terminal_are_escaped(student, preceptor):
    network, card = load_student(student)
    preceptor("calibrate", student, "--max-risk", "0.2")
    decision = load_student(student)[1].decision
    source = decision.calibrated_on.model_copy(update={"data": "arrays:\x1b[2J.npz"})
    decision = decision.model_copy(update={"calibrated_on": source})
    save_student(student, network, card.model_copy(update={"decision": decision}))
    assert "arrays:\\x1b[2J.npz" in preceptor("calibrate", student, "--forget").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no goal to calibrate for; give --max-risk 0.05 (a guarantee), --sets lac, or both"),
        (("--confidence", "0.9"), "go with --max-risk; add it"),
        (("--max-risk", "2"), "max_risk is 2.0; expected a number"),
        (("--max-risk", "nan"), "max_risk is nan"),
        (("--max-risk", "a few"), "argument --max-risk: invalid float value"),
        (("--max-risk", "0.1", "--confidence", "95"), "confidence is 95.0; expected a number"),
        (("--max-risk", "0.1", "--score", "margn"), "did you mean 'margin'"),
        (("--max-risk", "0.1", "--score", "max_logit_p_norm"), "p is missing"),
        (("--max-risk", "0.1", "--score", "margin", "--option", "p=3"), "unknown option of score margin 'p'"),
        (("--max-risk", "0.1", "--option", "p=three"), "--option p=three: expected a number"),
        (("--max-risk", "0.1", "--each"), "--each goes with --by-class"),
        (("--alpha", "0.1"), "--alpha goes with --sets"),
        (("--sets", "las"), "did you mean 'lac'"),
        (("--sets", "lac", "--free-ranks", "2"), "--penalty and --free-ranks go with --sets raps"),
        (("--max-risk", "0.1", "--split", "all"), "was trained on most of digits"),
        (("--max-risk", "0.1", "--data", "digits", "--split", "all"), "learned from"),
        (("--max-risk", "0.1", "--data", "nowhere"), "unknown data set"),
        (("--max-risk", "0.1", "--forget"), "--forget removes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(trained, preceptor, arguments, told):
    before = (trained / "student.json").read_bytes()
    done = preceptor("calibrate", trained, *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert (trained / "student.json").read_bytes() == before


def test_a_folder_without_a_student(tmp_path, preceptor):
    for arguments in (["--max-risk", "0.1"], ["--forget"]):
        done = preceptor("calibrate", tmp_path / "nothing", *arguments)
        assert done.code == 2
        assert "no such folder" in done.err
