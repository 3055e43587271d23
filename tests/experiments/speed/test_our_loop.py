import warnings
from dataclasses import replace

import pytest
import torch

from experiments.speed import our_loop
from experiments.speed.cases import AUGMENTATION, PAIRS, VARIANTS, Case
from experiments.speed.our_loop import RUN, OurLoop, Teachers, filled_cache
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import LogitCache
from preceptor.training import Callback, steps_in_epoch
from tests.experiments.speed.tiny import CASE, TINY, tiny_bench
from tests.training_helpers import same_bits, weights


@pytest.fixture
def fitted(monkeypatch):
    """The arguments of every trainer, which trains nothing."""
    calls = []

    def record(students, images, index, augmentation, normalization, config, **options):
        calls.append({"students": students, "index": index, "config": config, **options})
        assert augmentation is AUGMENTATION

    monkeypatch.setattr(our_loop, "trainer_of", record)
    return calls


def test_a_round_is_an_epoch_over_exactly_the_cases_batches(fitted):
    bench = tiny_bench()
    OurLoop(bench, VARIANTS["student-alone"], None)
    [call] = fitted
    assert len(call["index"]) == CASE.images
    assert steps_in_epoch(CASE.images, call["config"].batch_size) == CASE.batches
    assert torch.equal(call["index"], bench.data.index[: CASE.images])


def test_the_run_is_as_long_as_the_standard_one(fitted):
    bench = tiny_bench()
    OurLoop(bench, VARIANTS["student-alone"], None)
    steps = fitted[0]["config"].epochs * CASE.batches
    assert abs(steps - RUN.epochs * steps_in_epoch(TINY.size, CASE.batch_size)) < CASE.batches
    settings = fitted[0]["config"].model_dump(exclude={"epochs", "batch_size"})
    assert settings == RUN.model_dump(exclude={"epochs", "batch_size"})


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.source != "baseline"])
def test_a_variant_is_what_it_says(fitted, tmp_path, name):
    bench, variant = tiny_bench("auto"), VARIANTS[name]
    teachers = Teachers(bench, tmp_path)
    OurLoop(bench, variant, teachers.of(variant))
    teachers.close()
    [call] = fitted
    assert len(call["students"]) == variant.students
    assert (call["teacher"] is None) == (name == "student-alone")
    assert all(student.loss.uses_teacher == (name != "student-alone") for student in call["students"])
    assert (call["precision"], call["compile"]) == (
        ("fp32", "never") if "fp32" in name or "bf16" in name else ("auto", "auto")
    )


def test_each_round_trains_every_student_for_the_epoch_that_follows(tmp_path):
    bench, variant = tiny_bench(), replace(VARIANTS["live"], students=2)
    loop = OurLoop(bench, variant, Teachers(bench, tmp_path).of(variant))
    steps = Steps()
    loop._trainer.callbacks.insert(0, steps)
    before = [weights(student.student.network) for student in loop._trainer.students]
    for epoch in (0, 1):
        assert loop.round() > 0
        assert steps.taken == [(number // CASE.batches, number % CASE.batches) for number in range(2 * (epoch + 1))]
        after = [weights(student.student.network) for student in loop._trainer.students]
        assert not any(same_bits(one, other) for one, other in zip(before, after, strict=True))
        before = after
    assert loop.warnings == []
    assert loop.precision in ("fp32", "bf16")


class Steps(Callback):
    def __init__(self) -> None:
        self.taken = []

    def on_step_end(self, trainer, step) -> None:
        self.taken.append((step.epoch, step.number))


class Warns(Callback):
    def on_step_end(self, trainer, step) -> None:
        warnings.warn("student not compiled", stacklevel=1)


def test_a_warning_is_kept_once():
    loop = OurLoop(tiny_bench(), VARIANTS["student-alone"], None)
    loop._trainer.callbacks.insert(0, Warns())
    loop.round()
    loop.round()
    assert loop.warnings == ["student not compiled"]


def test_compiling_pays_by_the_rule_of_runs():
    from preceptor.models import build_model

    bench = tiny_bench("auto")
    network = build_model("resnet8", channels=1, classes=3)
    assert not bench.is_compiled("teacher", network)
    assert replace(bench, compile="always").is_compiled("student", network)
    assert not replace(bench, compile="never").is_compiled("student", network)


def test_a_standard_run_of_a_wide_pair_compiles_its_teacher(monkeypatch):
    from preceptor.models import build_model

    pair = PAIRS["resnet32x4:resnet8x4"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    bench = replace(tiny_bench("auto"), case=Case(pair, 64, 8))
    monkeypatch.setattr(type(bench), "steps", 240 * 782)
    assert bench.is_compiled("teacher", build_model(pair.teacher, channels=3, classes=100))


def test_variants_that_want_the_same_teacher_share_it(tmp_path):
    teachers = Teachers(tiny_bench(), tmp_path)
    live, eight, fp32 = (teachers.of(VARIANTS[name]) for name in ("live", "live-8", "live-fp32"))
    assert isinstance(live, NetworkTeacher)
    assert live is eight
    assert fp32 is not live
    assert teachers.of(VARIANTS["student-alone"]) is None
    cache = teachers.of(VARIANTS["cache"])
    assert isinstance(cache, LogitCache)
    assert teachers.of(VARIANTS["cache-fp32"]) is cache
    teachers.close()


def test_a_live_teacher_is_folded_and_in_the_variants_precision(tmp_path):
    teachers = Teachers(tiny_bench(), tmp_path)
    fp32, bf16 = (teachers.of(VARIANTS[name]) for name in ("live-fp32", "live-bf16-teacher"))
    assert (fp32.report.folded, fp32.report.kept, fp32.report.bf16, fp32.report.compiled) == (9, 0, False, False)
    assert bf16.report.bf16
    assert not bf16.report.compiled
    assert fp32(tiny_bench().train.images[:3]).shape == (3, TINY.classes)


def test_the_cache_is_as_large_as_the_data_set_and_filled_for_the_images_of_a_round(tmp_path):
    bench = tiny_bench()
    images = bench.data.index[: CASE.images]
    with filled_cache(bench, tmp_path) as cache:
        assert cache.layout.samples == TINY.size
        index, view = images.repeat_interleave(AUGMENTATION.count), torch.arange(AUGMENTATION.count).repeat(len(images))
        result = cache.lookup(index, view)
        assert bool(result.known.all())
        assert result.logits.isfinite().all()
        assert result.logits.std() > 0.9
        rest = bench.data.index[CASE.images :]
        assert not bool(cache.lookup(rest, torch.zeros_like(rest)).known.any())
