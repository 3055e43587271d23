import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.data import CropFlip, ImageSet, epoch_order
from preceptor.training import Batch, TrainingData, steps_in_epoch

RULE = CropFlip(padding=1, flip=True)
N = 60


def image_set() -> ImageSet:
    """Every image is another: its pixels tell its position."""
    images = torch.arange(N).repeat_interleave(9).reshape(N, 1, 3, 3) * 4 + torch.arange(9).reshape(3, 3) % 4
    return ImageSet(images.to(torch.uint8), torch.arange(N) % 7)


def epoch(positions: torch.Tensor, batch_size: int, seed: int = 0, number: int = 0) -> list[Batch]:
    data = TrainingData.of_images(image_set(), positions, RULE)
    return list(data.batches(data.plan(batch_size, seed, number)))


def joined(batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images = torch.cat([batch.inputs for batch in batches])
    return images, torch.cat([batch.label for batch in batches]), torch.cat([batch.index for batch in batches])


drawn_positions = st.lists(st.integers(0, N - 1), min_size=2, max_size=N, unique=True).map(torch.tensor)


@given(positions=drawn_positions, batch_size=st.integers(2, 70), seed=st.integers(0, 2**40), number=st.integers(0, 300))
def test_every_position_comes_exactly_once(positions, batch_size, seed, number):
    batches = epoch(positions, batch_size, seed, number)
    _, label, index = joined(batches)
    assert sorted(index.tolist()) == sorted(positions.tolist())
    assert torch.equal(label, image_set().labels[index])


@given(samples=st.integers(2, N), batch_size=st.integers(2, 70))
def test_a_single_sample_left_over_joins_the_batch_before(samples, batch_size):
    sizes = [len(batch.index) for batch in epoch(torch.arange(samples), batch_size)]
    assert min(sizes) > 1
    assert len(sizes) == steps_in_epoch(samples, batch_size)
    full, left = divmod(samples, batch_size)
    expected = [batch_size] * full + [left] * (left > 0)
    if left == 1 and full:
        expected = [*expected[:-2], batch_size + 1]
    assert sizes == expected


@pytest.mark.parametrize(
    ("samples", "steps"), [(2, 1), (16, 1), (17, 1), (18, 2), (32, 2), (33, 2), (34, 3), (48, 3), (50, 4)]
)
def test_steps_in_an_epoch_counted_by_hand(samples, steps):
    assert steps_in_epoch(samples, 16) == steps


@given(first=st.integers(2, 70), second=st.integers(2, 70), number=st.integers(0, 5))
def test_the_batch_size_changes_neither_order_nor_views(first, second, number):
    positions = torch.arange(0, N, 2)
    sizes = (joined(epoch(positions, size, 3, number)) for size in (first, second))
    assert all(torch.equal(one, other) for one, other in zip(*sizes, strict=True))


def views_by_position(positions: torch.Tensor, seed: int = 0, number: int = 0) -> dict[int, torch.Tensor]:
    images, _, index = joined(epoch(positions, 16, seed, number))
    return dict(zip(index.tolist(), images, strict=True))


def test_a_sample_has_the_same_views_whatever_the_others_are():
    everyone, few = views_by_position(torch.arange(N)), views_by_position(torch.tensor([3, 58, 20, 21]))
    assert all(torch.equal(image, everyone[position]) for position, image in few.items())


def test_images_are_the_views_of_the_rule():
    positions = torch.arange(5, 45)
    images, _, index = joined(epoch(positions, 16, seed=9, number=4))
    assert torch.equal(index, positions[epoch_order(9, 4, len(positions))])
    assert torch.equal(images, RULE.apply(image_set().images[index], RULE.draw(9, 4, index)))


@pytest.mark.parametrize(("seed", "number"), [(0, 1), (1, 0)])
def test_another_epoch_or_seed_has_another_order_and_other_views(seed, number):
    positions = torch.arange(N)
    (_, _, index), (_, _, other_index) = joined(epoch(positions, 16)), joined(epoch(positions, 16, seed, number))
    assert not torch.equal(index, other_index)
    before, after = views_by_position(positions), views_by_position(positions, seed, number)
    assert sum(torch.equal(before[position], after[position]) for position in range(N)) < N / 2


def test_torchs_own_generator_has_no_part_in_it():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = joined(epoch(torch.arange(N), 16))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = joined(epoch(torch.arange(N), 16))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_data_set_is_left_alone():
    data = image_set()
    shown = TrainingData.of_images(data, torch.arange(N), RULE)
    list(shown.batches(shown.plan(16, 0, 0)))
    assert torch.equal(data.images, image_set().images)


def test_index_and_view_are_on_the_cpu_too():
    for batch in epoch(torch.arange(20), 8):
        assert torch.equal(batch.own_index, batch.index)
        assert torch.equal(RULE.apply(image_set().images[batch.own_index], batch.view), batch.inputs)


def test_batches_follow_the_plan_and_may_begin_in_its_middle():
    data = TrainingData.of_images(image_set(), torch.arange(20), RULE)
    plan = data.plan(8, seed=3, epoch=2)
    whole, late = list(data.batches(plan)), list(data.batches(plan, first=1))
    assert len(late) == len(whole) - 1
    for batch, same in zip(whole[1:], late, strict=True):
        assert torch.equal(batch.inputs, same.inputs)
    for batch, (start, end) in zip(whole, plan.bounds, strict=True):
        assert torch.equal(batch.own_index, plan.index[start:end])
        assert torch.equal(batch.view, plan.view[start:end])


def test_the_rows_to_query_the_teacher_on_are_on_both_devices():
    queried = torch.arange(N) % 3 == 0
    data = TrainingData.of_images(image_set(), torch.arange(20), RULE)
    for batch in data.batches(data.plan(8, seed=3, epoch=2), queried=queried):
        rows, rows_cpu = batch.queried
        assert torch.equal(rows, rows_cpu)
        assert batch.own_index[rows_cpu].tolist() == [index for index in batch.own_index.tolist() if index % 3 == 0]
