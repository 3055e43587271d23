import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.data import ResizedCrops
from preceptor.data.augmentation import _maps
from preceptor.errors import InputError
from preceptor.teachers.cache import CacheKey, Layout, open_cache
from preceptor.training import TrainingConfig
from tests.training_helpers import digits, make_student, same_bits, train, untrained_teacher, weights

RULE = ResizedCrops(draws=64)
CPU = torch.device("cpu")


def pictures(n: int = 5, height: int = 7, width: int = 9) -> torch.Tensor:
    return torch.randint(0, 256, (n, 2, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def by_hand(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Bilinear sampling of one channel, a pixel at a time; pixels are squares, their centers at half-integers."""
    height, width = image.shape
    result = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            x = (box[0, 0] * ((2 * column + 1) / width - 1) + box[0, 2] + 1) * width / 2 - 0.5
            y = (box[1, 1] * ((2 * row + 1) / height - 1) + box[1, 2] + 1) * height / 2 - 0.5
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            left, up = min(int(x), width - 2), min(int(y), height - 2)
            a, b = x - left, y - up
            top = (1 - a) * image[up, left] + a * image[up, left + 1]
            bottom = (1 - a) * image[up + 1, left] + a * image[up + 1, left + 1]
            result[row, column] = (1 - b) * top + b * bottom
    return result


@given(view=st.integers(0, 63))
def test_each_view_is_the_resized_rectangle(view):
    images = pictures(1)
    shown = RULE.apply(images, torch.tensor([view]))
    for channel in range(2):
        expected = by_hand(images[0, channel].double().numpy(), _maps(RULE, 7, 9, CPU)[view].double().numpy())
        assert np.abs(shown[0, channel].numpy() - expected).max() <= 0.5 + 1e-3


def test_view_0_is_the_image_and_a_view_depends_on_its_number_alone():
    images = pictures()
    assert torch.equal(RULE.apply(images, torch.zeros(5, dtype=torch.int64)), images)
    views = torch.tensor([3, 9, 3, 60, 9])
    together = RULE.apply(images, views)
    for place, view in enumerate(views.tolist()):
        assert torch.equal(RULE.apply(images[place : place + 1], torch.tensor([view])), together[place : place + 1])
    assert together.dtype == torch.uint8


def test_areas_shapes_and_places_are_as_configured():
    rule = ResizedCrops(draws=4096, least_area=0.2, widest=2.0)
    maps = _maps(rule, 20, 20, CPU)[1:].double()
    across, along = maps[:, 0, 0].abs(), maps[:, 1, 1]
    whole = (across < 1) & (along < 1)  # not cut off at the image
    area, shape = (across * along)[whole], (across / along)[whole].log()
    assert float(area.min()) >= 0.2 - 1e-6
    assert float(shape.abs().max()) <= math.log(2) + 1e-6
    assert float(shape.mean()) == pytest.approx(0, abs=0.05)
    assert float((maps[:, 0, 0] < 0).double().mean()) == pytest.approx(0.5, abs=0.03)
    assert bool((maps[:, 0, 2].abs() <= 1 - across + 1e-6).all())
    assert bool((maps[:, 1, 2].abs() <= 1 - along + 1e-6).all())


def test_seeds_differ_and_flipping_can_be_left_out():
    assert not torch.equal(_maps(RULE, 8, 8, CPU), _maps(ResizedCrops(draws=64, seed=1), 8, 8, CPU))
    assert bool((_maps(ResizedCrops(draws=64, flip=False), 8, 8, CPU)[:, 0, 0] > 0).all())


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"least_area": 0.0}, "least_area is 0.0"),
        ({"least_area": 1.5}, "least_area is 1.5"),
        ({"widest": 0.5}, "widest is 0.5"),
        ({"draws": 1}, "draws is 1"),
    ],
)
def test_what_is_not_allowed(given, complaint):
    with pytest.raises(InputError, match=f"resized crops: {complaint}"):
        ResizedCrops(**given)


def test_a_cache_keeps_the_logits_of_every_crop(tmp_path):
    data, rule = digits(), ResizedCrops(least_area=0.5, flip=False, draws=16)
    key = CacheKey.of("teacher", "digits", data.normalization, rule, data.class_names)
    layout = Layout(samples=len(data.train), views=rule.count, classes=10)
    training, students = TrainingConfig(epochs=2, batch_size=16), [make_student("kd"), make_student("kd")]
    for student, live in zip(students, (untrained_teacher(), None), strict=True):
        with open_cache(tmp_path / "cache", key, layout, live) as cache:
            train([student], training=training, teacher=cache, augmentation=rule)
    assert same_bits(weights(students[0].network), weights(students[1].network))
    other = CacheKey.of("teacher", "digits", data.normalization, ResizedCrops(draws=16), data.class_names)
    with pytest.raises(InputError, match="other augmentation"):
        open_cache(tmp_path / "cache", other)
