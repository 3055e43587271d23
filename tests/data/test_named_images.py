"""CINIC-10, Tiny ImageNet and ImageNet in their official layouts, made small."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from preceptor.data.augmentation import CropFlip, ResizedCrops
from preceptor.data.dataset import Dataset, Normalization
from preceptor.data.encoded import EncodedImages
from preceptor.data.images import Framing
from preceptor.data.load import holds_encoded_images, load_dataset
from preceptor.errors import InputError, ValidationSetUsed
from tests.data.encoded_files import save_png

WORDNET = ("n01443537", "n01629819", "n01641577")
"""In their order; the official lists have them in another."""


def picture(path: Path, seed: int, side: int = 6) -> None:
    """A PNG in a file that may be called .JPEG, as one of ImageNet's is."""
    save_png(path, seed, side)


def pixels(dataset: Dataset, name: str) -> torch.Tensor:
    for images in (dataset.train, dataset.validation, dataset.test):
        if images is not None and images.names is not None and name in images.names:
            return images.images[images.names.index(name)]
    raise AssertionError(f"{name} is in no set")


@pytest.fixture
def cinic(tmp_path: Path) -> Path:
    for part, split in enumerate(("train", "valid", "test")):
        for label, name in enumerate(("airplane", "automobile", "bird")):
            for number in range(2):
                picture(
                    tmp_path / "CINIC-10" / split / name / f"cifar10-{number}.png", 100 * part + 10 * label + number
                )
    return tmp_path


def test_cinic10_has_three_sets(cinic: Path) -> None:
    with pytest.warns(ValidationSetUsed):
        dataset = load_dataset("cinic10", root=cinic)
    assert dataset.class_names == ("airplane", "automobile", "bird")
    assert dataset.validation is not None
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (6, 6, 6)
    assert dataset.normalization == Normalization((0.4789, 0.4723, 0.4305), (0.2421, 0.2383, 0.2587))
    assert dataset.augmentation == CropFlip(4, True)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_copies_in_a_published_set_are_part_of_it(cinic: Path) -> None:
    folder = cinic / "CINIC-10"
    copy = folder / "test" / "bird" / "cifar10-0.png"
    copy.write_bytes((folder / "train" / "airplane" / "cifar10-0.png").read_bytes())
    with pytest.warns(ValidationSetUsed):
        dataset = load_dataset("cinic10", root=cinic)
    assert torch.equal(pixels(dataset, "test/bird/cifar10-0.png"), pixels(dataset, "train/airplane/cifar10-0.png"))
    with pytest.raises(InputError, match="the same image as"):
        load_dataset(f"folder:{folder}")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    place = tmp_path / "tiny-imagenet-200"
    for label, name in enumerate(WORDNET):
        for number in range(3):
            picture(place / "train" / name / "images" / f"{name}_{number}.JPEG", 10 * label + number)
        (place / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t5\t5\n")
    lines = []
    for number, name in enumerate((WORDNET[2], WORDNET[0], WORDNET[2])):
        picture(place / "val" / "images" / f"val_{number}.JPEG", 200 + number)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t32\t44\t62\n")
    (place / "val" / "val_annotations.txt").write_text("".join(lines))
    picture(place / "test" / "images" / "test_0.JPEG", 300)
    (place / "wnids.txt").write_text("\n".join(reversed(WORDNET)))
    (place / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\n")
    return tmp_path


def test_tiny_imagenet_tests_on_the_annotated_validation_images(tiny: Path) -> None:
    dataset = load_dataset("tiny-imagenet", root=tiny)
    assert dataset.class_names == WORDNET
    assert dataset.validation is None
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == [2, 0, 2]
    assert dataset.test.names == tuple(f"val/images/val_{number}.JPEG" for number in range(3))
    assert dataset.train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert dataset.train.names is not None
    assert dataset.train.names[3] == "train/n01629819/images/n01629819_0.JPEG"
    assert dataset.normalization == Normalization.from_images(dataset.train.images)
    expected = load_dataset(f"folder:{tiny / 'tiny-imagenet-200' / 'train'}")
    assert torch.equal(torch.as_tensor(dataset.train.images[:]), torch.as_tensor(expected.train.images[:]))


def test_tiny_imagenet_whose_validation_images_were_sorted(tiny: Path) -> None:
    val = tiny / "tiny-imagenet-200" / "val"
    for number, name in enumerate((WORDNET[2], WORDNET[0], WORDNET[2])):
        (val / name).mkdir(exist_ok=True)
        (val / "images" / f"val_{number}.JPEG").rename(val / name / f"val_{number}.JPEG")
    (val / "images").rmdir()
    dataset = load_dataset("tiny-imagenet", root=tiny)
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == [0, 2, 2]
    assert dataset.validation is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_0.JPEG n01443537\n", r"val_annotations\.txt: a line without a tab"),
        ("val_0.JPEG\tn99999999\t0\t0\t1\t1\n", "n99999999 are no training classes; there are n01443537"),
        ("val_9.JPEG\tn01443537\t0\t0\t1\t1\n", r"val/images/val_9\.JPEG: listed, but no file is there"),
        ("../../../secret.JPEG\tn01443537\t0\t0\t1\t1\n", "secret.JPEG: outside the list's folder"),
    ],
)
def test_annotations_that_do_not_fit(tiny: Path, line: str, message: str) -> None:
    picture(tiny / "secret.JPEG", 1)
    (tiny / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text(line)
    with pytest.raises(InputError, match=message):
        load_dataset("tiny-imagenet", root=tiny)


def test_tiny_imagenet_without_annotations(tiny: Path) -> None:
    (tiny / "tiny-imagenet-200" / "val" / "val_annotations.txt").unlink()
    with pytest.raises(InputError, match=r"val_annotations\.txt: cannot be read as text"):
        load_dataset("tiny-imagenet", root=tiny)


VAL = (WORDNET[1], WORDNET[1], WORDNET[0], WORDNET[2])


def imagenet(place: Path, flat: bool) -> None:
    """Photographs of two sizes."""
    for label, name in enumerate(WORDNET):
        for number in range(3):
            picture(place / "train" / name / f"{name}_{number}.JPEG", 10 * label + number, side=6 + number)
    for number, name in enumerate(VAL, start=1):
        folder = place / "val" / ("" if flat else name)
        picture(folder / f"ILSVRC2012_val_{number:08d}.JPEG", 100 + number, side=7)


def devkit(folder: Path) -> None:
    """The table has the classes in another order than their ids, and inner nodes behind them."""
    folder.mkdir(parents=True)
    order = (WORDNET[2], WORDNET[0], WORDNET[1], "n00001740")
    synsets = np.zeros((4, 1), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")])
    for row, name in enumerate(order):
        synsets[row, 0] = (np.array([[row + 1]]), np.array([name]), np.array(["words"]), np.array([[row == 3]]))
    scipy.io.savemat(folder / "meta.mat", {"synsets": synsets})
    numbers = "".join(f"{order.index(name) + 1}\n" for name in VAL)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(numbers)


def kaggle(folder: Path) -> None:
    rows = [f"ILSVRC2012_val_{number:08d},{name} 1 2 3 4 " for number, name in enumerate(VAL, start=1)]
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(rows)]) + "\n")


def check_imagenet(dataset: Dataset) -> None:
    assert dataset.class_names == WORDNET
    assert dataset.normalization == Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert isinstance(dataset.augmentation, ResizedCrops)
    assert isinstance(dataset.train.images, EncodedImages)
    assert dataset.validation is None
    assert dataset.test is not None
    assert dataset.test.names is not None
    by_number = {
        int(name[-13:-5]): WORDNET[label] for name, label in zip(dataset.test.names, dataset.test.labels, strict=True)
    }
    assert by_number == dict(enumerate(VAL, start=1))
    assert dataset.train.images[:2].shape == (2, 3, 8, 8)


@pytest.mark.parametrize("place", ["imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_in_class_folders_is_decoded_when_needed(tmp_path: Path, place: str) -> None:
    imagenet(tmp_path / place, flat=False)
    check_imagenet(load_dataset("imagenet", root=tmp_path, framing=Framing(8)))


@pytest.mark.parametrize("kit", ["imagenet/ILSVRC2012_devkit_t12/data", "ILSVRC2012_devkit_t12/data", "imagenet"])
def test_imagenet_with_the_development_kit(tmp_path: Path, kit: str) -> None:
    imagenet(tmp_path / "imagenet", flat=True)
    if kit == "imagenet":
        devkit(tmp_path / "kit")
        for file in (tmp_path / "kit").iterdir():
            file.rename(tmp_path / kit / file.name)
    else:
        devkit(tmp_path / kit)
    check_imagenet(load_dataset("imagenet", root=tmp_path, framing=Framing(8)))


def test_imagenet_from_kaggle(tmp_path: Path) -> None:
    imagenet(tmp_path / "ILSVRC" / "Data" / "CLS-LOC", flat=True)
    kaggle(tmp_path)
    check_imagenet(load_dataset("imagenet", root=tmp_path, framing=Framing(8)))


def test_imagenet_without_validation_images(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", flat=False)
    (tmp_path / "imagenet" / "val").rename(tmp_path / "elsewhere")
    assert load_dataset("imagenet", root=tmp_path, framing=Framing(8)).test is None


def test_a_class_of_validation_images_alone(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", flat=False)
    picture(tmp_path / "imagenet" / "val" / "n09999999" / "a.JPEG", 1)
    with pytest.raises(InputError, match="imagenet/val: n09999999 are no training classes"):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))


def test_flat_validation_images_need_a_list(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", flat=True)
    with pytest.raises(
        InputError, match=r"val: has no class folders, and neither ILSVRC2012_devkit_t12/data/.* nor LOC_"
    ):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ILSVRC2012_validation_ground_truth.txt", "1\n99\n", "99 are no ILSVRC2012_ID of .*meta.mat"),
        ("ILSVRC2012_validation_ground_truth.txt", "4\n", "n00001740 are no training classes"),
        ("meta.mat", "not a table", "meta.mat: not a readable .mat file"),
    ],
)
def test_a_kit_that_does_not_fit(tmp_path: Path, file: str, content: str, message: str) -> None:
    imagenet(tmp_path / "imagenet", flat=True)
    devkit(tmp_path / "imagenet" / "data")
    (tmp_path / "imagenet" / "data" / file).write_text(content)
    with pytest.raises(InputError, match=message):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))


def test_half_a_kit(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", flat=True)
    devkit(tmp_path / "imagenet" / "data")
    (tmp_path / "imagenet" / "data" / "meta.mat").unlink()
    with pytest.raises(InputError, match=r"meta\.mat: no such file; it tells the classes"):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))
    scipy.io.savemat(tmp_path / "imagenet" / "data" / "meta.mat", {"other": np.zeros(2)})
    with pytest.raises(InputError, match="no table 'synsets'"):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))
    synsets = np.zeros((1, 1), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])
    synsets[0, 0] = (np.array([1, 2]), np.array(["n01443537"]))
    scipy.io.savemat(tmp_path / "imagenet" / "data" / "meta.mat", {"synsets": synsets})
    with pytest.raises(InputError, match="a class with several ids, or none"):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))


def test_a_damaged_table_of_kaggle(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", flat=True)
    table = tmp_path / "LOC_val_solution.csv"
    table.write_text("ImageId,PredictionString\nILSVRC2012_val_00000001\n")
    with pytest.raises(InputError, match="expected the columns ImageId and PredictionString"):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))
    table.write_bytes(b"ImageId,PredictionString\n\xff\xfe\n")
    with pytest.raises(InputError, match=r"LOC_val_solution\.csv: cannot be read as text"):
        load_dataset("imagenet", root=tmp_path, framing=Framing(8))


@pytest.mark.parametrize(
    ("name", "places"), [("cinic10", "CINIC-10/train/"), ("imagenet", "imagenet/train/"), ("tiny-imagenet", "tiny-")]
)
def test_a_missing_set_names_where_it_is_published(tmp_path: Path, name: str, places: str) -> None:
    assert holds_encoded_images(name)
    with pytest.raises(
        InputError, match=rf"'{name}' is not under .* \(looked for {places}.*unpack the archive of http"
    ):
        load_dataset(name, root=tmp_path)


def test_a_misspelled_name_is_offered_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'tiny-imagenet'"):
        load_dataset("tinyimagenet", root=tmp_path)
