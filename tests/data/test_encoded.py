"""Images decoded when they are needed, against Pillow itself and against the same images in memory."""

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image

from preceptor.data import Composition, CropFlip, NumberedTransform, ResizedCrops
from preceptor.data.composition import steps_of
from preceptor.data.encoded import EncodedImages
from preceptor.data.folder import FolderFiles
from preceptor.data.images import ImageSpec, read_pixels
from preceptor.data.lazy import joined, taken, views_of
from preceptor.errors import InputError
from preceptor.run.folder import fingerprint
from preceptor.training.batches import TrainingData
from tests.data.files import read_folder

SPEC = ImageSpec(3, 24, 24)
SIZES = [(64, 48), (30, 90), (25, 25), (200, 40), (31, 33), (500, 400), (24, 24), (48, 24), (90, 31)]
CROPS = ResizedCrops(draws=16, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photographs of nine sizes."""
    place = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        small = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(place / f"{number}.jpg")
    return place


@pytest.fixture
def images(folder: Path) -> EncodedImages:
    return EncodedImages(FolderFiles(folder, tuple(f"{number}.jpg" for number in range(len(SIZES)))), SPEC)


def by_pillow(path: Path, box: tuple[float, float, float, float], flipped: bool) -> torch.Tensor:
    with Image.open(path) as image:
        scaled = image.convert("RGB").resize((24, 24), Image.Resampling.BICUBIC, box=box)
        if flipped:
            scaled = scaled.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(scaled)).permute(2, 0, 1)


def test_indexing_decodes_as_a_tensor_would_be_indexed(images: EncodedImages, folder: Path) -> None:
    whole = torch.stack([read_pixels(folder / f"{number}.jpg", SPEC) for number in range(9)])
    assert images.shape == whole.shape
    assert len(images) == 9
    for index in (
        3,
        -1,
        slice(2, 7),
        slice(None),
        [4, 4, 0],
        torch.tensor([8, 1]),
        torch.tensor([], dtype=torch.int64),
    ):
        assert torch.equal(images[index], whole[index]), index
    parts = list(images.split(4))
    assert [len(part) for part in parts] == [4, 4, 1]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(taken(images, torch.tensor([5, 2]))[:], whole[[5, 2]])
    assert torch.equal(joined(images.take([1]), images.take([7, 1]))[:], whole[[1, 7, 1]])


def test_resized_crops_are_cut_out_of_the_whole_photograph(images: EncodedImages, folder: Path) -> None:
    """The rectangle by the definition of the augmentation, in fractions of each photograph's own sides."""
    index = torch.tensor([0, 1, 3, 4, 8, 2])
    view = torch.tensor([3, 9, 1, 15, 7, 11])
    shown = views_of(images, index, view, CROPS)
    flips = CROPS.flip_views(torch.arange(2).byte().expand(16, 1, 1, 2), torch.arange(16))[:, 0, 0, 0] == 1
    for row, (number, one) in enumerate(zip(index.tolist(), view.tolist(), strict=True)):
        box = CROPS.frame(one, *SIZES[number])
        share = (box[2] - box[0]) * (box[3] - box[1]) / (SIZES[number][0] * SIZES[number][1])
        assert 0 < share <= 1 + 1e-9
        assert torch.equal(shown[row], by_pillow(folder / f"{number}.jpg", box, bool(flips[one])))
    assert 0 < int(flips.sum()) < 16
    assert not bool(flips[CROPS.identity])


def reversed_colors(image: torch.Tensor) -> torch.Tensor:
    return 255 - image


def test_resized_crops_that_come_first_in_a_composition_are_too(images: EncodedImages) -> None:
    rule = Composition((CROPS, NumberedTransform(reversed_colors, draws=2)), draws=64)
    index, view = torch.tensor([0, 1, 3, 4, 8, 2]), torch.tensor([3, 9, 1, 60, 7, 0])
    (_, crops), (transform, own) = steps_of(rule, view)
    expected = transform.apply(views_of(images, index, crops, CROPS), own)
    assert torch.equal(views_of(images, index, view, rule), expected)
    assert own.unique().tolist() == [0, 1]
    assert torch.equal(views_of(images, index[5:], view[5:], rule), images[[2]])


def test_a_view_of_a_square_image_in_memory_shows_the_same_place() -> None:
    """The rectangles of both ways are one: where the image is a ramp, the mean of a view tells its place."""
    ramp = torch.arange(0, 250, 2, dtype=torch.uint8).expand(1, 1, 125, 125)
    views = torch.arange(1, 16)
    shown = CROPS.apply(ramp.expand(15, 1, 125, 125), views).double().mean(dim=(1, 2, 3))
    for view, mean in zip(views.tolist(), shown.tolist(), strict=True):
        left, _, right, _ = CROPS.frame(view, 125, 125)
        assert mean == pytest.approx(left + right - 1, abs=1.0)


def test_the_identity_view_is_the_center(images: EncodedImages) -> None:
    index = torch.tensor([1, 5])
    identity = torch.full((2,), CROPS.identity)
    assert torch.equal(views_of(images, index, identity, CROPS), images[index])


def test_training_batches_are_those_of_a_tensor(images: EncodedImages) -> None:
    """Order, views and labels, from the beginning and from the middle of an epoch."""
    labels, augmentation = torch.arange(9) % 2, CropFlip(padding=2, flip=True)
    lazily = TrainingData(images, labels, augmentation=augmentation)
    in_memory = TrainingData(images[:], labels, augmentation=augmentation)
    for first in (0, 2):
        plan = in_memory.plan(2, seed=1, epoch=3)
        pairs = list(zip(lazily.batches(plan, first=first), in_memory.batches(plan, first=first), strict=True))
        assert len(pairs) == 4 - first  # one left over joins the last
        for one, other in pairs:
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.label, other.label)
    assert torch.equal(lazily.probe(3), in_memory.probe(3))


def test_a_bad_image_names_its_file_and_leaves_the_others(images: EncodedImages, folder: Path, tmp_path: Path) -> None:
    whole = (folder / "5.jpg").read_bytes()
    (tmp_path / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.jpg").write_bytes(whole)
    torn = EncodedImages(FolderFiles(tmp_path, ("whole.jpg", "torn.jpg")), SPEC)
    with pytest.raises(InputError, match=r"torn\.jpg: image cannot be decoded"):
        torn[:]
    assert torch.equal(torn[0], images[5])


def test_digests_tell_files_apart_and_copies_together(images: EncodedImages, folder: Path, tmp_path: Path) -> None:
    digests = images.digests()
    assert len(set(digests)) == 9
    for name, content in {
        "copy": (folder / "3.jpg").read_bytes(),
        "other": (folder / "3.jpg").read_bytes() + b".",
    }.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    copy, other = EncodedImages(FolderFiles(tmp_path, ("copy.jpg", "other.jpg")), SPEC).digests()
    assert copy == digests[3] != other
    smaller = EncodedImages(images.source, ImageSpec(3, 16, 16))
    assert fingerprint({"images": images}) != fingerprint({"images": smaller})
    assert fingerprint({"images": images}) != fingerprint({"images": images.take([1, 0])})


class InMemory:
    """Encoded images that are no files of their own."""

    def __init__(self, folder: Path) -> None:
        self._contents = [(folder / f"{number}.jpg").read_bytes() for number in range(9)]

    def __len__(self) -> int:
        return len(self._contents)

    def open(self, position: int) -> tuple[Path, BinaryIO]:
        return Path(f"table.parquet row {position}"), BytesIO(self._contents[position])


def test_a_source_may_hold_images_that_are_no_files(images: EncodedImages, folder: Path) -> None:
    held = EncodedImages(InMemory(folder), SPEC)
    assert torch.equal(held[:], images[:])
    assert held.digests() == images.digests()


def test_a_large_photograph_is_decoded_smaller_and_looks_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    small = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    small.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=95)
    shown = read_pixels(tmp_path / "large.jpg", SPEC).double()
    with Image.open(tmp_path / "large.jpg") as image:
        image.load()  # at its full size: what is decoded cannot be reduced any more
        box = ((1600 - 1200) / 2, 0, (1600 + 1200) / 2, 1200)
        full = torch.from_numpy(np.array(image.resize((24, 24), Image.Resampling.BICUBIC, box=box))).permute(2, 0, 1)
    assert float((shown - full.double()).abs().mean()) < 1.0


def test_a_picture_shows_the_whole_in_its_own_shape(images: EncodedImages, folder: Path) -> None:
    for number, side, shape in ((5, 100, (3, 80, 100)), (3, 100, (3, 20, 100)), (1, 100, (3, 90, 30))):
        shown = images.picture(number, side)
        assert shown.shape == shape
        with Image.open(folder / f"{number}.jpg") as image:
            image.load()
            whole = image.resize((shape[2], shape[1]), Image.Resampling.BICUBIC)
        difference = shown.double() - torch.from_numpy(np.array(whole)).permute(2, 0, 1).double()
        assert float(difference.abs().mean()) < 2.0


def test_memory_decides_how_images_of_one_size_are_kept(tmp_path: Path) -> None:
    """The same pixels and labels either way."""
    generator = np.random.default_rng(2)
    for split in ("train", "val"):
        for name in ("a", "b"):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for number in range(3):
                pixels = generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    in_memory, lazily = read_folder(tmp_path), read_folder(tmp_path, most_in_memory=1e-6)
    assert in_memory.validation is not None
    assert lazily.validation is not None
    for one, other in ((in_memory.train, lazily.train), (in_memory.validation, lazily.validation)):
        assert isinstance(one.images, torch.Tensor)
        assert isinstance(other.images, EncodedImages)
        assert torch.equal(one.images, other.images[:])
        assert torch.equal(one.labels, other.labels)
        assert one.names == other.names
