"""Train, distill and evaluate from the command line: the chain a user walks."""

import csv
import json
import sys
from dataclasses import asdict

import numpy as np
import pytest
import yaml

from tests.cli.conftest import SMALL
from tests.measured import measure_student
from tests.training_helpers import digits


def only_json(outcome) -> dict:
    """One JSON object on standard output, and nothing else anywhere."""
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(outcome.out, parse_constant=refuse)


@pytest.fixture
def distilled(preceptor, teacher, tmp_path):
    folder = tmp_path / "student"
    return folder, preceptor("distill", "--teacher", teacher, "--recipe", "ka-ps", *SMALL, "--out", folder, "--json")


def test_train_distill_evaluate_agree(preceptor, teacher, distilled, tmp_path):
    trained = only_json(preceptor("train", "--model", "convnet4", *SMALL, "--out", tmp_path / "teacher", "--json"))
    assert trained["folder"] == str(tmp_path / "teacher")
    assert trained["teacher"] is None
    folder, outcome = distilled
    taught = only_json(outcome)
    assert taught["folder"] == str(folder)
    assert taught["training_images"] == taught["teacher"]["images"] == 60
    assert taught["teacher"]["wrong"] == 60 - round(60 * taught["teacher"]["accuracy"])
    measured = only_json(preceptor("evaluate", folder, "--json"))
    assert (measured["run"], measured["split"], measured["data"]) == (str(folder), "test", "digits")
    assert measured["accuracy"]["value"] == pytest.approx(taught["test"]["accuracy"])
    assert measured["calibration"]["nll"]["value"] == pytest.approx(taught["test"]["nll"])
    assert measured["n"] == len(digits().test)
    assert measured["agreement"]["teacher_accuracy"]["value"] == measure_student(teacher)[0].accuracy
    assert measured["page"] == str(folder / "evaluation.html")
    assert (folder / "evaluation.html").read_text().startswith("<!doctype html>")
    assert (measured["predictions"], measured["replaced"]) == (str(folder / "evaluation.csv"), [])
    with (folder / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == row["prediction"] for row in rows) == round(measured["accuracy"]["value"] * len(rows))
    assert measured["cost"]["parameters"] > measured["teacher_costs"][str(teacher)]["parameters"] > 0
    again = preceptor("evaluate", folder)
    assert again.code == 0
    assert "It has 3.69 times its teacher's parameters and takes" in again.out
    for name in ("page to look at: {}evaluation.html", "all predictions: {}evaluation.csv"):
        assert f"{name.format(f'{folder}/')} (in place of the earlier one)\n" in again.out


def test_what_people_see(preceptor, teacher, tmp_path):
    done = preceptor("distill", "--teacher", teacher, "--recipe", "kd", *SMALL, "--out", tmp_path / "student")
    assert done.code == 0
    found, _ = measure_student(tmp_path / "student")
    assert "right on the 60 training images, wrong on" in done.out
    assert "trained on 60 images, last epoch" in done.out
    assert "held-out training images: " in done.out
    assert f"test set, used once: {found.accuracy:.2%} of 449" in done.out
    assert f"run folder: {tmp_path / 'student'}" in done.out


def test_named_augmentations_and_mixing(preceptor, torchvision_ops, tmp_path):
    names = "resized-crop+flip+erasing"
    flags = ("--model", "convnet4", *SMALL, "--augment", names, "--quiet", "--out", tmp_path / "run")
    assert preceptor("train", *flags, "training.mixup=0.2").code == 0
    config = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["config"]
    assert (config["augment"], config["training"]["mixup"]) == (names, 0.2)
    unknown = preceptor("train", *SMALL, "--augment", "randaugmint", "--out", tmp_path / "other")
    assert unknown.code == 2
    assert "did you mean 'randaugment'?" in unknown.err
    assert preceptor("train", *SMALL, "--augment", "false", "--out", tmp_path / "plain", "--quiet").code == 0
    assert yaml.safe_load((tmp_path / "plain" / "run.yaml").read_text())["config"]["augment"] is False


def test_evaluate_shows_every_class(preceptor, teacher):
    done = preceptor("evaluate", teacher, "--no-page")
    found, card = measure_student(teacher)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"accuracy {found.accuracy:.2%} of 449 images\n")
    said = done.out.replace("\N{NO-BREAK SPACE}", " ")
    assert f"{100 * found.top5_accuracy:.2f} % (" in said
    for name, accuracy in zip(card.class_names, found.per_class_accuracy, strict=True):
        row = next(line for line in said.splitlines() if line.startswith(f"│ {name} "))
        assert f" {100 * accuracy:.2f} % (" in row
    assert "Not compared with a teacher: the run names no teacher." in said


def test_evaluate_compares_with_the_teacher_that_is_named(preceptor, teacher, distilled, tmp_path):
    folder, _ = distilled
    named = only_json(preceptor("evaluate", folder, "--teacher", folder, "--no-page", "--json"))
    assert named["agreement"]["same_answer"]["value"] == 1
    assert named["page"] is None
    alone = only_json(preceptor("evaluate", folder, "--no-teacher", "--no-page", "--json"))
    assert alone["agreement"] is None
    assert not list(folder.glob("evaluation.*"))


def test_evaluate_replaces_nothing_but_its_own(preceptor, teacher, tmp_path):
    (tmp_path / "page.csv").write_text("mine\n")
    outcome = preceptor("evaluate", teacher, "--page", tmp_path / "page.html")
    assert (outcome.code, outcome.out) == (2, "")
    assert "page.csv: exists and is no table of predictions; name another with --page, or remove it" in outcome.err
    assert [file.name for file in tmp_path.iterdir()] == ["page.csv"]


def test_evaluate_fits_a_terminal_of_80_columns(preceptor, tmp_path):
    draw, names = np.random.default_rng(0), [f"class_{number}_{'long' * 20}" for number in range(12)]
    images, labels = draw.integers(0, 256, (240, 8, 8), np.uint8), np.arange(240) % 12
    arrays = {
        f"{part}_{what}": own for part in ("train", "test") for what, own in (("images", images), ("labels", labels))
    }
    arrays["test_images"] = 255 - images
    np.savez(tmp_path / "made.npz", **arrays, class_names=np.array(names))
    run = ["train", "--data", f"arrays:{tmp_path}/made.npz", "--model", "convnet4", "--epochs", "1", "--device", "cpu"]
    assert preceptor(*run, "--quiet", "--out", tmp_path / "run").code == 0
    shown = preceptor("evaluate", tmp_path / "run", "--no-page", "--resamples", "5").out
    assert max(map(len, shown.splitlines())) <= 80
    rows = [line for line in shown.splitlines() if line.startswith("│ class_")]
    assert len(rows) == 12
    assert "In brackets: 95 % intervals over the images" in shown
    assert "A calibration error adds up the noise" in " ".join(shown.split())


def test_evaluate_without_the_report_extra_measures_all_the_same(preceptor, teacher, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = preceptor("evaluate", teacher, "--quiet")
    assert done.code == 0
    assert "no page: a page needs jinja2" in done.err
    assert (teacher / "evaluation.csv").exists()
    asked = preceptor("evaluate", teacher, "--quiet", "--page", tmp_path / "page.html")
    assert (asked.code, asked.out) == (3, "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--page", "x.html", "--no-page"), "--page and --no-page"),
        (("--page", "x.csv"), "--page x.csv: is where the predictions go; name the page .html"),
        (("--teacher", "x", "--no-teacher"), "--teacher and --no-teacher"),
        (("--score", "softmax_respons"), "softmax_response"),
        (("--resamples", "0"), "resamples is 0; expected a whole number at least 1"),
    ],
    ids=["page", "csv", "teacher", "score", "resamples"],
)
def test_evaluate_says_what_is_wrong_with_its_options(preceptor, teacher, options, told):
    outcome = preceptor("evaluate", teacher, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err


def test_evaluate_on_the_training_images(preceptor, teacher):
    assert only_json(preceptor("evaluate", teacher, "--split", "train", "--json"))["n"] == len(digits().train)


def test_quiet_says_nothing_but_what_was_asked_for(preceptor, teacher, tmp_path):
    done = preceptor("train", "--model", "convnet4", *SMALL, "--quiet", "--out", tmp_path / "run")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = preceptor("evaluate", teacher, "--quiet", "--no-page")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"accuracy {measure_student(teacher)[0].accuracy:.2%} of 449 images\n"


def test_a_student_no_better_than_chance_is_told(preceptor, tmp_path):
    """Also of classes of unequal size, where always the same answer is right on more than one in so many."""
    diverged = ["train", "--model", "convnet4", *SMALL, "--lr", "1e-9"]
    loud = preceptor(*diverged, "--out", tmp_path / "loud")
    assert (loud.code, loud.err.count("\n")) == (0, 1)
    assert loud.err.startswith("preceptor: warning: the network cannot be told from chance on 449 images (")
    warnings = only_json(preceptor(*diverged, "--json", "--out", tmp_path / "json"))["warnings"]
    assert [line.split(" (")[0] for line in warnings] == ["the network cannot be told from chance on 449 images"]


def test_a_student_that_learned_is_not_warned_of(preceptor, tmp_path):
    run = ["train", "--model", "convnet4", "--epochs", "3", "--device", "cpu", "--json", "--out", tmp_path / "run"]
    assert only_json(preceptor(*run))["warnings"] == []


def settings(folder) -> dict:
    return yaml.safe_load((folder / "run.yaml").read_text())["config"]


def test_flags_and_overrides_reach_the_run(preceptor, teacher, tmp_path):
    out = tmp_path / "student"
    done = preceptor(
        *("distill", "recipe.correction.eta=0.5", "--teacher", teacher, "--student", "convnet4"),
        *("--recipe", "label-revision-kl", "--train-images", "50", "training.momentum=0.8", "--epochs", "1"),
        *("--lr", "0.01", "--batch-size", "25", "--seed", "4", "--validation", "0.2", "--precision", "bf16"),
        *("--device", "cpu", "--out", out, "--quiet", "recipe.temperature.temperature=2", "augment=false"),
    )
    assert (done.code, done.err) == (0, "")
    config = settings(out)
    assert config["recipe"]["correction"] == {"name": "label_revision", "eta": 0.5}
    assert config["recipe"]["temperature"]["temperature"] == 2
    training = config["training"]
    assert (training["momentum"], training["epochs"], training["learning_rate"]) == (0.8, 1, 0.01)
    assert (training["batch_size"], config["seed"], config["validation"]) == (25, 4, 0.2)
    assert (config["precision"], config["augment"], config["student"]) == ("bf16", False, "convnet4")


def test_a_run_is_run_again_to_the_same_bits(preceptor, distilled, tmp_path):
    first, outcome = distilled
    again = preceptor("distill", "--config", first / "run.yaml", "--out", tmp_path / "again", "--json")
    for key in ("test", "validation", "teacher", "training_images"):
        assert only_json(again)[key] == only_json(outcome)[key]
    weights = [(folder / "student.safetensors").read_bytes() for folder in (first, tmp_path / "again")]
    assert weights[0] == weights[1]


def test_flags_win_over_the_file_and_the_file_over_the_defaults(preceptor, distilled, tmp_path):
    first, _ = distilled
    out = tmp_path / "again"
    done = preceptor("distill", "--config", first / "run.yaml", "--seed", "1", "training.epochs=1", "--out", out)
    assert done.code == 0
    changed, before = settings(out), settings(first)
    assert (changed["seed"], changed["training"]["epochs"]) == (1, 1)
    assert changed["recipe"] == before["recipe"]
    assert changed["train_images"] == 60


def test_a_recipe_of_ones_own(preceptor, teacher, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("correction: probability_shift\nterms:\n  far: {loss: squared_error_logits, weight: 0.5}\n")
    done = preceptor("distill", "--teacher", teacher, "--recipe", path, *SMALL, "--out", tmp_path / "student", "--json")
    assert only_json(done)["teacher"]["images"] == 60
    line = json.loads((tmp_path / "student" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["losses"].keys() == {"far"}


def test_train_is_by_labels_alone(preceptor, tmp_path):
    preceptor("train", *SMALL, "--model", "convnet4", "--out", tmp_path / "run", "--quiet")
    config = settings(tmp_path / "run")
    assert list(config["recipe"]["terms"]) == ["ce"]
    assert "teacher" not in config


def test_the_json_of_a_run_is_the_librarys_result(preceptor, distilled):
    folder, outcome = distilled
    assert only_json(outcome)["test"] == asdict(measure_student(folder)[0])
