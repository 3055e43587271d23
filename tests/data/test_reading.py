"""The same images from every kind of place: the same pixels, labels, names of classes and batches."""

import csv
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from preceptor.data import Dataset, load_dataset
from preceptor.data import encoded as encoded_module
from preceptor.data.dataset import image_digests
from preceptor.data.encoded import EncodedImages
from preceptor.data.images import Framing
from preceptor.data.load import holds_encoded_images
from preceptor.errors import InputError, SkippedImages, ValidationSetUsed
from preceptor.training.batches import TrainingData

CLASSES = ("ant", "bee", "cat")
SETS = {"train": 12, "val": 3, "test": 6}

pytestmark = pytest.mark.filterwarnings("ignore::preceptor.errors.ValidationSetUsed")


def encoded(seed: int, side: tuple[int, int], kind: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    content = io.BytesIO()
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(content, kind, **({"exif": exif} if kind == "JPEG" else {}))
    return content.getvalue()


def samples(sides: Callable[[int], tuple[int, int]]) -> dict[str, list[tuple[str, int, bytes]]]:
    """Of each set: names, labels and encoded images, class by class as a folder is read."""
    made: dict[str, list[tuple[str, int, bytes]]] = {}
    seed = 0
    for split, count in SETS.items():
        made[split] = []
        for number in range(count):
            kind = ("JPEG", "PNG")[seed % 2]
            content = encoded(seed, sides(seed), kind)
            made[split].append((f"{seed:03}.{'jpg' if kind == 'JPEG' else 'png'}", number * 3 // count, content))
            seed += 1
    return made


Made = dict[str, list[tuple[str, int, bytes]]]


def as_folder(made: Made, place: Path) -> str:
    for split, rows in made.items():
        for name, label, content in rows:
            path = place / split / CLASSES[label] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return f"folder:{place}"


def as_list(made: Made, place: Path) -> str:
    as_folder(made, place)
    with (place / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["File_Name", "Target", "split"])
        for split, rows in made.items():
            writer.writerows([f"{split}/{CLASSES[label]}/{name}", CLASSES[label], split] for name, label, _ in rows)
    return f"list:{place / 'images.csv'}"


def as_listed_table(made: Made, place: Path) -> str:
    as_folder(made, place)
    rows = [(f"{split}/{CLASSES[n]}/{name}", CLASSES[n], split) for split, rows in made.items() for name, n, _ in rows]
    paths, labels, splits = zip(*rows, strict=True)
    pq.write_table(pa.table({"path": paths, "label": labels, "split": splits}), place / "images.parquet")
    return f"list:{place / 'images.parquet'}"


def as_parquet(made: Made, place: Path) -> str:
    """Structs with bytes and integer labels, as on the hub: two files for training, and its description."""
    features = '{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]}}}}'
    (place / "data").mkdir(parents=True)
    files = {"train-00000-of-2": made["train"][:5], "train-00001-of-2": made["train"][5:]}
    for name, rows in (files | {"validation": made["val"], "test": made["test"]}).items():
        images = [{"bytes": content, "path": path} for path, _, content in rows]
        table = pa.table({"image": images, "label": [label for _, label, _ in rows]})
        table = table.replace_schema_metadata({"huggingface": features})
        pq.write_table(table, place / "data" / f"{name}.parquet", row_group_size=2)
    return f"parquet:{place}"


def as_binary_parquet(made: Made, place: Path) -> str:
    """Mere bytes, and names of classes."""
    place.mkdir(parents=True)
    for name, rows in made.items():
        columns = {"img": [content for *_, content in rows], "class": [CLASSES[label] for _, label, _ in rows]}
        pq.write_table(pa.table(columns), place / f"{name}.parquet")
    return f"parquet:{place}/*.parquet"


def as_tars(made: Made, place: Path) -> str:
    place.mkdir(parents=True)
    (place / "classes.txt").write_text("\n".join(CLASSES))
    files = {"set-train-0": made["train"][:7], "set-train-1": made["train"][7:], "set-val-0": made["val"]}
    for archive, rows in (files | {"set-test-0": made["test"]}).items():
        with tarfile.open(place / f"{archive}.tar", "w") as tar:
            for name, label, content in rows:
                stem = name.partition(".")[0]
                json = b'{"label": %d}' % label
                members = {f"{stem}.cls": b"%d\n" % label} if label else {f"{stem}.json": json}
                for member, text in ({name: content, f"{stem}.txt": b"a caption"} | members).items():
                    header = tarfile.TarInfo(member)
                    header.size = len(text)
                    tar.addfile(header, io.BytesIO(text))
    return f"wds:{place}"


def as_saved_set(made: Made, place: Path) -> str:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    sets = {
        name: datasets.Dataset.from_dict(
            {
                "image": [{"bytes": content, "path": None} for *_, content in rows],
                "label": [label for _, label, _ in rows],
            },
            features=features,
        )
        for name, rows in made.items()
    }
    datasets.DatasetDict(sets).save_to_disk(place)
    return f"hf:{place}"


def as_hub_folder(made: Made, place: Path) -> str:
    pytest.importorskip("datasets")
    as_folder(made, place)
    return f"hf:{place}"


def as_hub_parquet(made: Made, place: Path) -> str:
    pytest.importorskip("datasets")
    as_saved_set(made, place / "saved")
    import datasets

    for name, rows in datasets.load_from_disk(place / "saved").items():
        rows.to_parquet(place / "set" / "data" / f"{name}-00000-of-00001.parquet")
    return f"hf:{place / 'set'}"


WRITERS = [
    as_folder,
    as_list,
    as_listed_table,
    as_parquet,
    as_binary_parquet,
    as_tars,
    as_saved_set,
    as_hub_folder,
    as_hub_parquet,
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``datasets`` prepares goes into the test's folder."""
    config = pytest.importorskip("datasets.config")
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")


def same(one: Dataset, other: Dataset) -> None:
    assert one.class_names == other.class_names == CLASSES
    for mine, theirs in ((one.train, other.train), (one.validation, other.validation), (one.test, other.test)):
        assert mine is not None
        assert theirs is not None
        assert torch.equal(mine.labels, theirs.labels)
        assert torch.equal(mine.images[:], theirs.images[:])
    assert one.normalization == other.normalization
    assert one.augmentation == other.augmentation


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_photographs_are_the_same_wherever_they_lie(write: Callable[[Made, Path], str], tmp_path: Path) -> None:
    made = samples(lambda seed: (20 + 3 * seed, 30 + seed % 5))
    reference = load_dataset(as_folder(made, tmp_path / "reference"), framing=Framing(16))
    spec = write(made, tmp_path / "other")
    assert holds_encoded_images(spec)
    dataset = load_dataset(spec, framing=Framing(16))
    assert isinstance(dataset.train.images, EncodedImages)
    same(dataset, reference)
    assert image_digests(dataset.train.images) == image_digests(reference.train.images)
    assert len(set(dataset.train.names or ())) == SETS["train"]
    untouched = load_dataset(spec, framing=Framing(16, exif=False))
    assert not torch.equal(untouched.train.images[:], dataset.train.images[:])


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_images_of_one_size_are_held_in_memory(write: Callable[[Made, Path], str], tmp_path: Path) -> None:
    made = samples(lambda seed: (12, 12))
    reference = load_dataset(as_folder(made, tmp_path / "reference"))
    spec = write(made, tmp_path / "other")
    dataset = load_dataset(spec)
    assert isinstance(dataset.train.images, torch.Tensor)
    same(dataset, reference)
    lazily = load_dataset(spec, most_in_memory=0)
    assert isinstance(lazily.train.images, EncodedImages)
    same(lazily, reference)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_bad_images_are_left_out_and_named(write: Callable[[Made, Path], str], tmp_path: Path) -> None:
    """One cut short, and a test image that is in the training set too, which goes."""
    made = samples(lambda seed: (12, 12))
    name, label, content = made["train"][1]
    made["train"][1] = name, label, content[: len(content) // 2]
    made["train"][2] = made["train"][2][0], 0, made["test"][0][2]
    spec = write(made, tmp_path / "other")
    with pytest.raises(InputError, match=r"; 2 files cannot be used; --skip-bad-images goes on without"):
        load_dataset(spec)
    with pytest.warns(SkippedImages, match="left out 2 of 21 images"):
        dataset = load_dataset(spec, skip_bad_images=True)
    kept = [*made["train"][:1], *made["train"][3:]]
    assert dataset.train.labels.tolist() == [label for _, label, _ in kept]
    reference = load_dataset(as_folder(made | {"train": kept}, tmp_path / "reference"))
    same(dataset, reference)
    assert any("cannot be decoded" in line for line in dataset.skipped)
    assert any("the same image as" in line and "of the test set" in line for line in dataset.skipped)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets how many threads decode."""

    def use(count: int) -> None:
        encoded_module._threads.cache_clear()
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(count)), raising=False)

    yield use
    encoded_module._threads.cache_clear()


@pytest.mark.parametrize("write", [as_folder, as_parquet, as_tars, as_saved_set], ids=lambda write: write.__name__)
def test_a_resumed_epoch_has_the_same_batches_with_other_threads(
    write: Callable[[Made, Path], str], tmp_path: Path, threads: Callable[[int], None]
) -> None:
    spec = write(samples(lambda seed: (20 + 3 * seed, 30 + seed % 5)), tmp_path / "data")
    batches = []
    for count, first in ((1, 0), (5, 0), (3, 2)):
        threads(count)
        train = load_dataset(spec, framing=Framing(16))
        data = TrainingData(train.train.images, train.train.labels, augmentation=train.augmentation)
        batches.append([(one.inputs, one.label) for one in data.batches(data.plan(4, seed=1, epoch=2), first=first)])
    whole, other, resumed = batches
    assert len(whole) == 3
    for (inputs, label), (others, labels) in zip([*whole, *whole[2:]], [*other, *resumed], strict=True):
        assert torch.equal(inputs, others)
        assert torch.equal(label, labels)


def test_own_validation_images_are_announced(tmp_path: Path) -> None:
    spec = as_tars(samples(lambda seed: (12, 12)), tmp_path / "tars")
    with pytest.warns(ValidationSetUsed, match="its own 3 validation images are held out"):
        load_dataset(spec)
