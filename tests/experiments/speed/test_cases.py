import pytest
import torch

from experiments.speed import cases
from experiments.speed.cases import (
    AUGMENTATION,
    BATCHES_ON_CUDA,
    PAIRS,
    VARIANTS,
    Case,
    default_batches,
    find_pair,
    find_variants,
    random_data,
)
from preceptor.errors import InputError
from preceptor.models import build_model
from tests.experiments.speed.tiny import CASE, CPU, TINY


@pytest.mark.parametrize("name", PAIRS)
def test_the_networks_of_a_pair_take_its_images(name):
    pair = find_pair(name)
    assert name == f"{pair.teacher}:{pair.student}"
    images = torch.zeros(2, pair.channels, pair.side, pair.side)
    for network in (pair.teacher, pair.student):
        assert build_model(network, channels=pair.channels, classes=pair.classes)(images).shape == (2, pair.classes)


def test_an_unknown_name_is_offered_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resnet56:resnet20'"):
        find_pair("resnet56-resnet20")
    with pytest.raises(InputError, match="did you mean 'student-alone'"):
        find_variants(["student"])


def test_random_data_has_the_shape_of_the_data_set_and_is_the_same_each_time():
    first, second = random_data(CASE), random_data(CASE)
    assert first.train.images.shape == (TINY.size, 1, 8, 8)
    assert first.train.images.dtype == torch.uint8
    assert set(first.train.labels.tolist()) == set(range(TINY.classes))
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.index, second.index)
    index = first.index.tolist()
    assert len(set(index)) == len(index) == CASE.images + CASE.batch_size
    assert max(index) < TINY.size
    assert len(random_data(Case(TINY, batch_size=8, batches=10)).train) == 88  # larger than the data set


def test_a_round_has_as_many_images_at_every_batch_size():
    pair = find_pair("resnet32x4:resnet8x4")
    assert [default_batches(pair, size, CPU) for size in (64, 128, 512, 4096)] == [8, 4, 2, 2]
    assert default_batches(pair, 64, torch.device("cuda")) == BATCHES_ON_CUDA
    assert default_batches(pair, 4096, torch.device("cuda")) == pair.size // 4096


def test_the_views_are_those_of_cifar():
    assert AUGMENTATION.count == 162


def test_the_baseline_is_always_measured_and_first():
    assert [variant.name for variant in find_variants(["cache", "live"])] == ["baseline", "live", "cache"]
    assert [variant.name for variant in find_variants([])] == ["baseline"]
    assert find_variants(VARIANTS) == list(VARIANTS.values())


@pytest.mark.parametrize("lack", [None, "this CPU has no units"])
def test_what_needs_bf16_is_left_out_where_there_are_no_units(monkeypatch, lack):
    monkeypatch.setattr(cases, "bf16_unsupported_reason", lambda device: lack)
    reasons = {name: variant.reason_to_leave_out(CPU) for name, variant in VARIANTS.items()}
    left_out = {name for name, reason in reasons.items() if reason}
    assert left_out == ({"live-bf16-teacher", "cache-fp32"} if lack else set())
    assert set(reasons.values()) <= {lack, None}
