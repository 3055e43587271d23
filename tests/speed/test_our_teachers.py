import torch

from preceptor.speed import VARIANTS
from preceptor.speed.our_teachers import Teachers, filled_bank
from preceptor.speed.pairs import RULE
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import LogitCache
from tests.speed.tiny import CASE, TINY, tiny_bench


def test_variants_that_want_a_teacher_alike_share_it(tmp_path):
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


def test_a_live_teacher_is_folded_and_in_the_precision_asked_for(tmp_path):
    teachers = Teachers(tiny_bench(), tmp_path)
    fp32, bf16 = (teachers.of(VARIANTS[name]) for name in ("live-fp32", "live-bf16-teacher"))
    assert (fp32.report.folded, fp32.report.kept, fp32.report.bf16, fp32.report.compiled) == (9, 0, False, False)
    assert bf16.report.bf16
    assert not bf16.report.compiled
    images = tiny_bench().train.images[:3]
    assert fp32(images).shape == (3, TINY.classes)


def test_the_bank_is_as_large_as_the_data_set_and_full_where_images_are_shown(tmp_path):
    bench = tiny_bench()
    shown = bench.material.positions[: CASE.images]
    with filled_bank(bench, tmp_path) as cache:
        assert cache.layout.samples == TINY.size
        index, view = shown.repeat_interleave(RULE.count), torch.arange(RULE.count).repeat(len(shown))
        found = cache.lookup(index, view)
        assert bool(found.known.all())
        assert found.logits.isfinite().all()
        assert found.logits.std() > 0.9
        rest = bench.material.positions[CASE.images :]
        assert not bool(cache.lookup(rest, torch.zeros_like(rest)).known.any())
