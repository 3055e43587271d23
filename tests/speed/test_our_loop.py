import warnings
from dataclasses import replace

import pytest
import torch

from preceptor.speed import VARIANTS, our_loop
from preceptor.speed.our_loop import RUN, OurLoop, is_compiled
from preceptor.speed.our_teachers import Teachers
from preceptor.speed.pairs import PAIRS, RULE, Case
from preceptor.training import steps_in_epoch
from tests.speed.tiny import CASE, TINY, tiny_bench


@pytest.fixture
def fitted(monkeypatch):
    """What every call of ``fit`` was given; it trains nothing."""
    calls = []

    def record(pupils, train, positions, rule, normalize, training, **options):
        calls.append({"pupils": pupils, "positions": positions, "rule": rule, "training": training, **options})
        return iter([[]])

    monkeypatch.setattr(our_loop, "fit", record)
    return calls


def test_a_round_is_an_epoch_over_exactly_the_cases_batches(fitted):
    bench = tiny_bench()
    OurLoop(bench, VARIANTS["student-alone"], None)
    [call] = fitted
    assert len(call["positions"]) == CASE.images
    assert steps_in_epoch(CASE.images, call["training"].batch_size) == CASE.batches
    assert torch.equal(call["positions"], bench.material.positions[: CASE.images])
    assert call["rule"] is RULE


def test_the_run_is_as_long_as_the_standard_one(fitted):
    bench = tiny_bench()
    OurLoop(bench, VARIANTS["student-alone"], None)
    steps = fitted[0]["training"].epochs * CASE.batches
    assert abs(steps - RUN.epochs * steps_in_epoch(TINY.size, CASE.batch_size)) < CASE.batches
    settings = fitted[0]["training"].model_dump(exclude={"epochs", "batch_size"})
    assert settings == RUN.model_dump(exclude={"epochs", "batch_size"})


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.source != "peer"])
def test_a_variant_is_what_it_says(fitted, tmp_path, name):
    bench, variant = tiny_bench("auto"), VARIANTS[name]
    teachers = Teachers(bench, tmp_path)
    OurLoop(bench, variant, teachers.of(variant))
    teachers.close()
    [call] = fitted
    assert len(call["pupils"]) == variant.students
    assert (call["teacher"] is None) == (name == "student-alone")
    assert all(pupil.loss.uses_teacher == (name != "student-alone") for pupil in call["pupils"])
    assert (call["precision"], call["compile"]) == (
        ("fp32", "never") if "fp32" in name or "bf16" in name else ("auto", "auto")
    )


def test_rounds_train_every_student(tmp_path):
    bench, variant = tiny_bench(), replace(VARIANTS["live"], students=2)
    loop = OurLoop(bench, variant, Teachers(bench, tmp_path).of(variant))
    assert loop.round() > 0
    assert loop.round() > 0
    assert loop.warned == []
    assert loop.means == "fp32" or loop.means == "bf16"


def test_what_is_warned_of_meanwhile_is_kept_once(fitted):
    def epochs():
        while True:
            warnings.warn("student not compiled", stacklevel=1)
            yield []

    loop = OurLoop(tiny_bench(), VARIANTS["live"], None)
    loop._epochs = epochs()
    loop.round()
    loop.round()
    assert loop.warned == ["student not compiled"]


def test_compiling_pays_by_the_rule_of_runs():
    from preceptor.models import build_model

    bench = tiny_bench("auto")
    network = build_model("resnet8", channels=1, classes=3)
    assert not is_compiled(bench, "teacher", network)
    assert is_compiled(replace(bench, compile="always"), "student", network)
    assert not is_compiled(replace(bench, compile="never"), "student", network)


def test_a_standard_run_of_a_wide_pair_compiles_its_teacher(monkeypatch):
    from preceptor.models import build_model

    pair = PAIRS["resnet32x4:resnet8x4"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    bench = replace(tiny_bench("auto"), case=Case(pair, 64, 8))
    monkeypatch.setattr(type(bench), "steps", 240 * 782)
    assert is_compiled(bench, "teacher", build_model(pair.teacher, channels=3, classes=100))
