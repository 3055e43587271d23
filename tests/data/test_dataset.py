import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from preceptor.data import dataset as module
from preceptor.data.augmentation import CropFlip
from preceptor.data.dataset import Dataset, ImageSet, Normalization, check_dataset, image_digests
from preceptor.errors import InputError

CIFAR = Normalization((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def dataset(train: list[int], test: list[int] | None = None, /, **changes: object) -> Dataset:
    def image_set(labels: list[int]) -> ImageSet:
        return ImageSet(picture(len(labels), 1, 4, 5), torch.tensor(labels, dtype=torch.int64))

    made: dict[str, object] = {
        "name": "toys",
        "class_names": ("ball", "car", "doll"),
        "train": image_set(train),
        "test": None if test is None else image_set(test),
        "normalization": Normalization((0.5,), (0.5,)),
        "augmentation": CropFlip(1, False),
    }
    return Dataset(**(made | changes))  # type: ignore[arg-type]


def test_normalization_is_mean_and_deviation_of_scaled_pixels() -> None:
    images = picture(7, 3, 6, 5)
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (CIFAR.mean, CIFAR.std))
    expected = (images.double() / 255 - mean) / std
    out = CIFAR(images)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(CIFAR(images.float() / 255).double(), expected, rtol=0, atol=1e-6)
    assert CIFAR(images.half() / 255).dtype == torch.float32


def test_normalization_leaves_the_images_and_their_memory_format_alone() -> None:
    floats = picture(2, 3, 4, 4).float() / 255
    before = floats.clone()
    CIFAR(floats)
    assert torch.equal(floats, before)
    last = picture(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert CIFAR(last).is_contiguous(memory_format=torch.channels_last)
    assert CIFAR(picture(2, 3, 4, 4)).is_contiguous()


def test_normalization_compiles_whole() -> None:
    images = picture(4, 3, 5, 5)
    compiled = torch.compile(CIFAR.__call__, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images), CIFAR(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_normalization_on_cuda_never_waits() -> None:
    images = picture(4, 3, 5, 5).cuda()
    CIFAR(images)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = CIFAR(images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(out.cpu(), CIFAR(images.cpu()))


@settings(max_examples=25)
@given(n=st.integers(1, 9), channels=st.integers(1, 3), seed=st.integers(0, 1000))
def test_measured_normalization_makes_mean_0_and_deviation_1(n: int, channels: int, seed: int) -> None:
    images = picture(n, channels, 6, 5, seed=seed)
    scaled = images.double() / 255
    measured = Normalization.from_images(images)
    expected_std = scaled.transpose(0, 1).flatten(1).std(dim=1, correction=0)
    assert measured.mean == pytest.approx(scaled.mean(dim=(0, 2, 3)).tolist(), abs=1e-12)
    assert measured.std == pytest.approx(expected_std.tolist(), abs=1e-12)


def test_measuring_in_chunks_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    images = picture(50, 3, 4, 4)
    at_once = Normalization.from_images(images)
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert Normalization.from_images(images) == at_once


def test_a_constant_channel_is_normalized_to_zero() -> None:
    images = torch.full((3, 1, 2, 2), 51, dtype=torch.uint8)
    measured = Normalization.from_images(images)
    assert measured == Normalization((0.2,), (1.0,))
    torch.testing.assert_close(measured(images), torch.zeros(3, 1, 2, 2))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.0,), "values of at least 1e-12"),
        ((0.5,), (0.1, 0.2), "1 means and 2 deviations"),
        ((), (), "0 means"),
    ],
)
def test_impossible_normalizations(mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Normalization(mean, std)


def test_wrong_channels_and_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="images have 1 channels; the normalization is for 3"):
        CIFAR(picture(2, 1, 4, 4))
    with pytest.raises(InputError, match="no image"):
        Normalization.from_images(picture(0, 3, 4, 4))


def test_take_gives_images_and_labels_in_the_order_of_the_index() -> None:
    images = ImageSet(picture(5, 1, 2, 2), torch.tensor([4, 3, 2, 1, 0]))
    taken = images.take(torch.tensor([3, 0, 3]))
    assert len(taken) == 3
    assert taken.labels.tolist() == [1, 4, 1]
    assert torch.equal(taken.images, torch.stack([images.images[3], images.images[0], images.images[3]]))


def test_properties() -> None:
    toys = dataset([0, 1, 2])
    assert (toys.classes, toys.channels, toys.size) == (3, 1, (4, 5))


def test_sound_data_sets_pass() -> None:
    check_dataset(dataset([0, 1, 2, -1], [2, 2]))
    check_dataset(dataset([2, 1, 0]))


@pytest.mark.parametrize(
    ("train", "test", "changes", "message"),
    [
        ([0, 1, 2, 3], [0], {}, r"'toys': train label 3 at index 3 is out of range; expected 0 to 2, or -1"),
        ([0, -2, 1, 9], [0], {}, r"train label -2 at index 1 "),
        ([0, 1, 2], [0, 3], {}, r"test label 3 at index 1 is out of range; expected 0 to 2$"),
        ([0, 1, 2], [0, -1], {}, r"test label -1 at index 1 "),
        ([0, 2, 0], [0], {}, r"no training image of class 'car' \(label 1\)"),
        ([0, -1], None, {}, r"'car' \(label 1\), 'doll' \(label 2\)"),
        ([0, 1, 2], [], {}, r"test set is empty"),
        ([0, 0], None, {"class_names": ("ball",)}, r"1 class; a classifier needs at least 2"),
        (
            [0, 1, 2],
            None,
            {"test": ImageSet(picture(2, 1, 4, 4), torch.tensor([0, 1]))},
            r"test images have shape 1 x 4 x 4 .* training images 1 x 4 x 5",
        ),
        (
            [0, 1, 2],
            None,
            {"train": ImageSet(picture(4, 1, 4, 5), torch.tensor([0, 1, 2]))},
            r"4 train images but 3 train labels",
        ),
        (
            [0, 1, 2],
            None,
            {"test": ImageSet(picture(1, 1, 4, 5), torch.tensor([0, 1]))},
            r"1 test images but 2 test labels",
        ),
        (
            [0, 1, 2],
            None,
            {"validation": ImageSet(picture(2, 1, 4, 4), torch.tensor([0, 1]))},
            r"validation images have shape 1 x 4 x 4",
        ),
        (
            [0, 1, 2],
            None,
            {"validation": ImageSet(picture(1, 1, 4, 5), torch.tensor([-1]))},
            r"validation label -1 at index 0",
        ),
    ],
)
def test_unsound_data_sets_are_refused(
    train: list[int], test: list[int] | None, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_dataset(dataset(train, test, **changes))


def test_validation_images_follow_the_training_images() -> None:
    toys = dataset([0, 1, 2])
    assert toys.train_and_validation() is toys.train
    validation = ImageSet(picture(2, 1, 4, 5) + 1, torch.tensor([2, 0]))
    both = dataclasses.replace(toys, validation=validation).train_and_validation()
    assert both.labels.tolist() == [0, 1, 2, 2, 0]
    assert torch.equal(both.images[:3], toys.train.images)
    assert torch.equal(both.images[3:], validation.images)
    assert both.names is None


def test_names_go_with_their_images() -> None:
    train, validation = (
        ImageSet(picture(2, 1, 4, 5), torch.tensor([0, 1]), names) for names in (("a", "b"), ("c", "d"))
    )
    both = dataclasses.replace(dataset([0, 1]), train=train, validation=validation).train_and_validation()
    assert both.names == ("a", "b", "c", "d")
    assert both.take(torch.tensor([3, 0])).names == ("d", "a")


def test_only_equal_pixels_have_equal_digests() -> None:
    images = picture(3, 3, 4, 5)
    images[2] = images[0]
    images[1, 2, 3, 4] ^= 1
    first, second, third = image_digests(images.contiguous(memory_format=torch.channels_last))
    assert first == third != second
    assert image_digests(images) == [first, second, third]


def test_many_empty_classes_are_summed_up() -> None:
    names = tuple(f"c{label}" for label in range(20))
    with pytest.raises(InputError, match=r"'c7' \(label 7\) and 12 more"):
        check_dataset(dataset([0, 1, 2], class_names=names))
