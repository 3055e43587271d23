import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from preceptor.data import Composition, CropFlip, NumberedTransform, ResizedCrops, named_augmentation
from preceptor.data.composition import augmentation_settings, check_names, steps_of
from preceptor.data.randomness import RandomStream, random_words
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache.metadata import data_parts

NAMED = ["randaugment:12", "color-jitter", "erasing", "randaugment+color-jitter+erasing"]


def pictures(n: int = 6, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, channels, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def shift(image: Tensor) -> Tensor:
    """Rolled by a drawn number of pixels."""
    return image.roll(int(torch.randint(1, 16, ())), dims=2)


@pytest.mark.parametrize("text", NAMED)
def test_the_same_number_shows_the_same_pixels_in_any_batch(torchvision_ops, text):
    rule, images = NumberedTransform(text, draws=64), pictures()
    views = torch.tensor([3, 9, 3, 60, 9, 1])
    together = rule.apply(images, views)
    assert together.dtype == torch.uint8
    assert not torch.equal(together, images)
    for place in torch.randperm(6, generator=torch.Generator().manual_seed(2)).tolist():
        alone = rule.apply(images[place : place + 1], views[place : place + 1])
        assert torch.equal(alone, together[place : place + 1])


@pytest.mark.parametrize("text", [*NAMED, "resized-crop+flip+randaugment", "crop-flip+erasing", "resized-crop", "flip"])
def test_the_identity_is_the_image_as_it_is(torchvision_ops, text):
    rule, images = named_augmentation(text), pictures()
    before = images.clone()
    assert torch.equal(rule.apply(images, torch.full((6,), rule.identity)), images)
    rule.apply(images, torch.arange(1, 7) % rule.count)
    assert torch.equal(images, before)


def test_it_is_torchvision_under_the_seed_of_the_number(torchvision_ops):
    v2 = importlib.import_module("torchvision.transforms.v2")
    by_hand = v2.Compose([v2.RandAugment(num_ops=2, magnitude=12), v2.RandomErasing()])
    rule, images = NumberedTransform("erasing + randaugment:12", seed=5), pictures()
    shown = rule.apply(images, torch.arange(100, 106))
    seeds = random_words(5, RandomStream.TRANSFORMS, 0, 1024)
    for place, image in enumerate(images):
        torch.manual_seed(int(seeds[100 + place]) // 2)
        assert torch.equal(by_hand(image), shown[place])


def test_torch_draws_on_as_if_nothing_had_been_drawn(torchvision_ops):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    NumberedTransform("randaugment").apply(pictures(), torch.arange(6))
    assert torch.equal(torch.rand(4), expected)


IN_A_PROCESS = """
import torch
from preceptor.data import NumberedTransform
from tests.data.test_transforms import pictures, shift
torch.rand(7)
print(NumberedTransform(shift).apply(pictures(), torch.arange(40, 46)).flatten().tolist())
"""


def test_another_process_shows_the_same_pixels():
    done = subprocess.run([sys.executable, "-c", IN_A_PROCESS], capture_output=True, text=True, check=True)
    shown = NumberedTransform(shift).apply(pictures(), torch.arange(40, 46))
    assert done.stdout.strip() == str(shown.flatten().tolist())


def test_draws_are_even(torchvision_ops):
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    image[..., 0] = 200
    flip = named_augmentation("flip")
    views = flip.draw(0, 0, torch.arange(4000))
    assert float(views.double().mean()) == pytest.approx(0.5, abs=0.03)
    white = torch.full((1023, 3, 8, 8), 255, dtype=torch.uint8)
    erased = (named_augmentation("erasing").apply(white, torch.arange(1, 1024)) == 0).flatten(1).any(dim=1)
    assert float(erased.double().mean()) == pytest.approx(0.5, abs=0.06)  # torchvision's default
    shifts = NumberedTransform(shift).apply(image.expand(1023, -1, -1, -1), torch.arange(1, 1024))
    places = torch.bincount(shifts[:, 0, 0].argmax(dim=1), minlength=8)
    assert float(places.double().std()) < 0.25 * float(places.double().mean())


@given(st.integers(1, 1023))
def test_a_composition_applies_its_parts_in_order(view):
    parts = (CropFlip(2, flip=True), NumberedTransform(shift, draws=32))
    rule, images = Composition(parts, seed=4), pictures(2)
    number = torch.tensor([view, view])
    (_, crops), (_, shifts) = steps_of(rule, number)
    assert torch.equal(rule.apply(images, number), parts[1].apply(parts[0].apply(images, crops), shifts))


def test_a_composition_draws_every_parts_views_evenly_and_independently():
    rule = Composition((CropFlip(0, flip=True), CropFlip(0, flip=True)), draws=4096)
    (_, first), (_, second) = steps_of(rule, torch.arange(1, 4096))
    for both in (first, second, first ^ second):
        assert float(both.double().mean()) == pytest.approx(0.5, abs=0.03)
    assert rule.count == 4096


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crop-flip", CropFlip(4, flip=True)),
        ("flip", CropFlip(0, flip=True)),
        ("resized-crop", ResizedCrops(flip=False)),
        ("flip + resized-crop", ResizedCrops()),
        ("erasing+randaugment", NumberedTransform("randaugment:9+erasing")),
        ("erasing+crop-flip", Composition((CropFlip(4, flip=True), NumberedTransform("erasing")))),
    ],
)
def test_names_are_read(text, expected):
    check_names(text)
    assert named_augmentation(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("randaugmint", "'randaugmint'.*did you mean 'randaugment'"),
        ("flip+", "unknown augmentation ''"),
        ("crop-flip+flip", "expected crop-flip, or resized-crop and flip, each once"),
        ("crop-flip+resized-crop", "each once"),
        ("flip+flip", "each once"),
        ("erasing+erasing", "erasing is named twice"),
        ("randaugment:31", "its magnitude from 0 to 30"),
        ("randaugment:-1", "its magnitude from 0 to 30"),
        ("erasing:3", "only randaugment takes a number"),
        ("flip:3", "'flip:3'"),
    ],
)
def test_names_that_are_refused(text, complaint):
    for read in (check_names, named_augmentation):
        with pytest.raises(InputError, match=complaint):
            read(text)


def key(rule) -> dict:
    return data_parts("images", rule, ("a", "b"))["views"]


def test_a_caches_key_changes_with_the_magnitude_and_with_every_part():
    texts = ["randaugment", "randaugment:10", "randaugment+erasing", "flip+randaugment", "resized-crop+randaugment"]
    keys = [key(named_augmentation(text)) for text in texts]
    keys += [key(NumberedTransform("randaugment", seed=1)), key(NumberedTransform("randaugment", draws=64))]
    assert len({str(one) for one in keys}) == len(keys)
    assert key(named_augmentation("randaugment:9")) == keys[0]
    assert keys[0]["library"] == importlib.metadata.version("torchvision").partition("+")[0]
    assert augmentation_settings(CropFlip(4, flip=True)) == {"rule": "CropFlip", "padding": 4, "flip": True}


def test_a_callable_is_known_by_its_name(torchvision_ops):
    assert key(NumberedTransform(shift))["transform"] == "tests.data.test_transforms.shift"
    assert key(NumberedTransform(shift, name="shift 2"))["transform"] == "shift 2"
    blur = importlib.import_module("torchvision.transforms.v2").GaussianBlur(3)
    assert key(NumberedTransform(blur))["transform"] == "GaussianBlur(kernel_size=(3, 3), sigma=[0.1, 2.0])"
    with pytest.raises(InputError, match=r"nothing tells it from others .* give name="):
        NumberedTransform(lambda image: image)


def test_what_is_not_allowed():
    with pytest.raises(InputError, match="draws is 1"):
        NumberedTransform("erasing", draws=1)
    with pytest.raises(InputError, match="composition of 0 augmentations"):
        Composition(())
    with pytest.raises(InputError, match="takes images of 1 or 3 channels, these have 2"):
        NumberedTransform("erasing").apply(pictures(channels=2), torch.arange(6))
    with pytest.raises(InputError, match=r"made torch.float32 of shape \(3, 12, 16\)"):
        NumberedTransform(torch.Tensor.float, name="float").apply(pictures(), torch.arange(6))


def test_without_torchvision_the_extra_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    check_names("resized-crop+randaugment")
    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(MachineError, match=r"pip install 'preceptor\[vision\]'"):
        named_augmentation("resized-crop+randaugment")
    assert named_augmentation("resized-crop+flip") == ResizedCrops()


def test_every_named_transform_takes_gray_images(torchvision_ops):
    rule, images = named_augmentation("randaugment+color-jitter+erasing"), pictures(256, channels=1)
    shown = rule.apply(images, torch.arange(256))
    assert shown.shape == images.shape
    assert float(np.mean([torch.equal(a, b) for a, b in zip(shown, images, strict=True)])) < 0.1
