"""The entries themselves on a few made-up images: teacher, cache, students, checks and tuning, run on the CPU."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.gpu import cache, check, checks, distill, losses, parts, teacher, training_checks, tuning
from benchmarks.gpu.entries import RECIPES, UNFINISHED
from benchmarks.gpu.job import Clock, Job

from preceptor.models import load_student
from preceptor.recipes import recipe_names
from preceptor.registry import find_component
from preceptor.teachers.cache import info, open_readonly

CPU = torch.device("cpu")
TRAINING = ("--epochs", "3", "--unit", "2", "--batch-size", "4", "--precision", "fp32")


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> tuple[str, ...]:
    """The options of every entry on a machine without a GPU, with ten images of two classes."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"class_names": np.array(["dark", "bright"])}
    for split, images in (("train", 10), ("test", 6)):
        labels = np.arange(images, dtype=np.uint8) % 2
        pixels = generator.integers(0, 100, (images, 32, 32, 3)) + 150 * labels[:, None, None, None]
        arrays |= {f"{split}_images": pixels.astype(np.uint8), f"{split}_labels": labels}
    np.savez(folder / "cifar100.npz", **arrays)
    return ("--device", "cpu", "--data", str(folder / "cifar100.npz"))


def answered(main, folder: Path, *words: str) -> dict:
    """Call an entry, as often as it wants to be called, with no time at all."""
    out = folder / "answer.json"
    for _ in range(10):
        status = main(["--folder", str(folder), "--out", str(out), "--seconds", "0", *words])
        if status != UNFINISHED:
            assert status == 0
            return json.loads(out.read_text())
        assert not out.exists()
    raise AssertionError("it never ends")


def test_from_the_teacher_by_way_of_its_bank_to_students(tmp_path, given, monkeypatch):
    monkeypatch.setattr(cache, "SECONDS_TO_LOOK", -1.0)
    taught = answered(teacher.main, tmp_path / "teacher", *given, *TRAINING, "--architecture", "resnet8")
    assert taught["settings"]["training"]["epochs"] == 3
    assert [epoch[0]["epoch"] for epoch in taught["epochs"]] == [1, 2, 3]
    assert taught["test"]["images"] == 6
    assert load_student(tmp_path / "teacher")[1].class_names == ("dark", "bright")

    filled = answered(cache.main, tmp_path / "cache", *given, "--teacher", str(tmp_path / "teacher"))
    assert filled["cells"] == filled["asked"] == 10 * 162
    assert filled["damaged"] == 0
    assert filled["planned_bytes"] == 10 * 162 * 12
    assert filled["on_the_training_images"]["images"] == 10
    assert filled["on_the_test_images"]["same_class"] == 1

    where = ("--teacher", str(tmp_path / "teacher"), "--cache", str(tmp_path / "cache" / "cache"))
    told = ("--student", "resnet8", "--recipes", "none,kd")
    found = answered(distill.main, tmp_path / "distill", *given, *TRAINING, *where, *told)
    assert list(found["students"]) == found["settings"]["pupils"] == ["none", "kd"]
    assert all(one["published"] is None for one in found["students"].values()), "of another pair of networks"
    for name in ("none", "kd"):
        assert load_student(tmp_path / "distill" / name)[1].architecture == "resnet8"


def test_a_bank_is_filled_in_as_many_calls_as_it_takes(tmp_path, given, monkeypatch):
    """Interrupted after every batch, and looked at only when it is full."""
    words = (*TRAINING, "--architecture", "resnet8", "--epochs", "1")
    answered(teacher.main, tmp_path / "teacher", *given, *words)
    monkeypatch.setattr(cache, "SECONDS_TO_LOOK", 1e9)
    call = [*given, "--folder", str(tmp_path / "cache"), "--out", str(tmp_path / "out.json")]
    call += ["--teacher", str(tmp_path / "teacher"), "--batch-size", "600"]
    filled = []
    for _ in range(4):
        assert cache.main(call) == UNFINISHED
        filled.append(info(open_readonly(tmp_path / "cache" / "cache")).filled)
    assert 0 < filled[0] < filled[1] < filled[2] == filled[3] == 1620
    monkeypatch.setattr(cache, "SECONDS_TO_LOOK", 0)
    assert cache.main(call) == 0
    assert json.loads((tmp_path / "out.json").read_text())["asked"] == 1620


def test_the_data_file_goes_by_its_name(tmp_path, given):
    from preceptor.errors import InputError

    job = Job(CPU, tmp_path, tmp_path / "other.npz", Clock(1), tmp_path / "out.json")
    with pytest.raises(InputError, match=r"give cifar100\.npz, as pack_cifar100\.py unpack writes it"):
        job.dataset()


def test_recipes_and_published_figures_are_of_recipes_that_exist():
    assert set(RECIPES.split(",")) <= set(recipe_names())
    assert set(distill.PUBLISHED) <= set(recipe_names())


@pytest.mark.parametrize(
    "one",
    [
        checks.views_are_the_same_bits,
        checks.bank_says_what_the_teacher_said,
        checks.a_fast_teacher_says_the_same,
    ],
    ids=lambda one: one.__name__,
)
def test_checks_hold_here_too(one):
    assert one(CPU)


def test_every_check_is_on_the_list():
    functions = [one for room in (checks, training_checks) for one in vars(room).values() if callable(one)]
    returning = {one for one in functions if getattr(one, "__annotations__", {}).get("return") == checks.Numbers}
    assert {one for one in returning if not one.__name__.startswith("_")} == set(check.CHECKS)


def test_every_stage_that_breaks_is_named_with_the_place(monkeypatch):
    monkeypatch.setattr(
        checks, "components", lambda: [find_component("loss", "kl"), find_component("label_loss", "cross_entropy")]
    )

    def look(subject: checks.Subject) -> None:
        if subject.info.kind == "loss":
            subject.info.cls(no_such_option=1)
        subject.loss()(torch.zeros(2, 3), None, torch.zeros(3))

    with pytest.raises(checks.Broken) as broken:
        checks._each_stage(look)
    one, other = str(broken.value).split("; ", 1)
    assert one.startswith("match kl: ")
    assert other.startswith("truth cross_entropy: ")
    assert " at checks.py:" in other


def test_a_check_that_breaks_is_kept_and_stops_no_other(tmp_path, monkeypatch, capsys):
    def good(device: torch.device) -> checks.Numbers:
        """it holds"""
        return {"apart": 0.0}

    def broken(device: torch.device) -> checks.Numbers:
        """it does not"""
        checks.require(device.type == "cuda", "not on a CPU")
        return {}

    def crashing(device: torch.device) -> checks.Numbers:
        """it crashes"""
        raise RuntimeError("out of order")

    monkeypatch.setattr(check, "CHECKS", (broken, crashing, good))
    out = tmp_path / "out.json"
    assert check.main(["--device", "cpu", "--folder", str(tmp_path), "--out", str(out)]) == 1
    found = json.loads(out.read_text())
    assert found["failed"] == ["broken", "crashing"]
    assert found["checks"]["broken"]["error"] == "not on a CPU"
    assert found["checks"]["crashing"]["error"] == "RuntimeError: out of order"
    assert found["checks"]["good"]["found"] == {"apart": 0.0}


def test_a_difference_is_relative_and_never_hidden_by_nan():
    assert checks.apart(torch.tensor([1.0, 101.0]), torch.tensor([1.0, 100.0])) == pytest.approx(0.01)
    assert checks.apart(torch.tensor([float("nan")]), torch.tensor([1.0])) == float("inf")


def test_tuning_measures_a_group_against_its_usual_setting(tmp_path, monkeypatch):
    usual = tuning.DatasetKey(batch_size=8)
    graphs = {"usual": usual, "rows": replace(usual, rows=True), "graph": replace(usual, compile="graph")}
    monkeypatch.setattr(tuning, "GROUPS", {"graphs and rows": graphs, "usual alone": {"usual": usual}})
    words = ("--device", "cpu", "--teacher", "resnet8", "--student", "resnet8", "--images", "16", "--rounds", "2")
    found = answered(tuning.main, tmp_path, *words, "--groups", "graphs and rows,usual alone")["groups"]
    assert found["usual alone"]["usual"]["ratio_to_usual"] == {"median": 1, "least": 1, "most": 1}
    ratio = found["graphs and rows"]["rows"]["ratio_to_usual"]
    assert 0 < ratio["least"] <= ratio["median"] <= ratio["most"]
    assert found["graphs and rows"]["graph"]["error"].startswith("MachineError: compile = graph: cpu")


def test_every_group_of_the_tuning_has_a_usual_setting_and_others():
    for group in tuning.GROUPS.values():
        assert next(iter(group)) == "usual"
        assert len(set(group.values())) == len(group) > 1


def test_parts_are_measured_once_and_the_first_of_a_call_always(tmp_path):
    asked: list[str] = []

    def measure(name: str) -> int:
        asked.append(name)
        return len(asked)

    def call(seconds: float) -> dict | None:
        job = Job(CPU, tmp_path, None, Clock(seconds), tmp_path / "out.json")
        return parts.in_parts(job, ["a b", "c", "d"], measure, seconds=60)

    assert call(0) is None
    assert asked == ["a b"]
    assert call(1000) == {"a b": 1, "c": 2, "d": 3}
    assert call(0) == {"a b": 1, "c": 2, "d": 3}
    assert asked == ["a b", "c", "d"]


def test_losses_are_measured_shape_by_shape(tmp_path, monkeypatch):
    asked = []

    def measure(shape: tuple[int, int], rounds: int, device: torch.device) -> dict:
        asked.append((shape, rounds, device))
        return {"shape": list(shape), "cases": {}}

    monkeypatch.setattr(losses.losses, "measure", measure)
    found = answered(losses.main, tmp_path, "--device", "cpu")
    assert [tuple(each["shape"]) for each in found["shapes"]] == list(losses.losses.SHAPES)
    assert asked == [(shape, losses.losses.ROUNDS, CPU) for shape in losses.losses.SHAPES]
