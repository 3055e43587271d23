import pytest
import torch

from preceptor.errors import InputError
from preceptor.models import build_model
from preceptor.speed.pairs import BATCHES_ON_CUDA, PAIRS, RULE, Case, find_pair, made_up, usual_batches
from tests.speed.tiny import CASE, CPU, TINY


@pytest.mark.parametrize("name", PAIRS)
def test_the_networks_of_a_pair_take_its_images(name):
    pair = find_pair(name)
    assert name == f"{pair.teacher}:{pair.student}"
    images = torch.zeros(2, pair.channels, pair.side, pair.side)
    for network in (pair.teacher, pair.student):
        assert build_model(network, channels=pair.channels, classes=pair.classes)(images).shape == (2, pair.classes)


def test_an_unknown_pair_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resnet56:resnet20'"):
        find_pair("resnet56-resnet20")


def test_made_up_images_are_of_the_shape_of_the_data_set_and_the_same_each_time():
    first, second = made_up(CASE), made_up(CASE)
    assert first.train.images.shape == (TINY.size, 1, 8, 8)
    assert first.train.images.dtype == torch.uint8
    assert set(first.train.labels.tolist()) == set(range(TINY.classes))
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.positions, second.positions)


def test_positions_are_a_round_and_a_batch_and_none_is_there_twice():
    positions = made_up(CASE).positions.tolist()
    assert len(set(positions)) == len(positions) == CASE.images + CASE.batch_size
    assert max(positions) < TINY.size


def test_a_round_larger_than_the_data_set_gets_a_larger_one():
    large = Case(TINY, batch_size=8, batches=10)
    assert len(made_up(large).train) == 88


def test_a_round_has_as_many_images_at_every_batch_size():
    pair = find_pair("resnet32x4:resnet8x4")
    assert [usual_batches(pair, size, CPU) for size in (64, 128, 512, 4096)] == [8, 4, 2, 2]
    assert usual_batches(pair, 64, torch.device("cuda")) == BATCHES_ON_CUDA
    assert usual_batches(pair, 4096, torch.device("cuda")) == pair.size // 4096


def test_the_views_are_those_of_cifar():
    assert RULE.count == 162
