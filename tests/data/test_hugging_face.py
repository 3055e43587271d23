"""Data sets through the library ``datasets``, all from disk; the network is not touched."""

import json
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preceptor.data.hugging_face import list_hugging_face
from preceptor.data.load import load_dataset
from preceptor.data.reading import read_images
from preceptor.errors import InputError
from tests.data.encoded_files import png, save_png

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub-cache")


def rows(count: int = 4, first: int = 0, **columns: Any) -> Any:
    images = [{"bytes": png(first + n), "path": None} for n in range(count)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])}
        | {name: datasets.Value("int64") for name in columns}
    )
    return datasets.Dataset.from_dict(
        {"image": images, "label": [n % 2 for n in range(count)]} | columns, features=features
    )


def test_without_download_the_network_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(InputError, match=r"hf:nobody/nothing cannot be loaded \(.*or fetch it with --download"):
        load_dataset("hf:nobody/nothing")
    assert not datasets.config.HF_HUB_OFFLINE


def test_with_download_the_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name reaches ``datasets`` with its configuration, and the hub may be asked."""
    seen = []

    def load(*arguments: object) -> Any:
        seen.append((*arguments, datasets.config.HF_HUB_OFFLINE))
        return datasets.DatasetDict({"train": rows()})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    dataset = load_dataset("hf:owner/name:large", download=True)
    assert dataset.class_names == ("no", "yes")
    load_dataset("hf:owner/name")
    assert seen == [("owner/name", "large", False), ("owner/name", None, True)]


def test_a_single_saved_set_and_a_chosen_part_of_it(tmp_path: Path) -> None:
    """Of a set that was shuffled and selected from, as ``datasets`` keeps it."""
    rows(6).select([4, 1, 0]).save_to_disk(tmp_path / "set")
    listing = list_hugging_face(str(tmp_path / "set"))
    assert listing.labels.tolist() == [0, 1, 0]
    assert listing.source.open(0)[1].read() == png(4)  # type: ignore[union-attr]


def test_sets_by_name(tmp_path: Path) -> None:
    sets = {"test": rows(2, 20), "train": rows(), "validation": rows(2, 30), "unsupervised": rows(2, 40)}
    datasets.DatasetDict(sets).save_to_disk(tmp_path / "sets")
    data = read_images(list_hugging_face(str(tmp_path / "sets")))
    assert data.validation is not None
    assert data.test is not None
    assert data.train.names == tuple(f"train:{n}" for n in range(4))
    assert (data.validation.names, data.test.names) == (("validation:0", "validation:1"), ("test:0", "test:1"))
    datasets.DatasetDict(sets | {"dev": rows(2)}).save_to_disk(tmp_path / "two")
    with pytest.raises(InputError, match=r"has the sets 'validation' and 'dev'; keep one validation set"):
        list_hugging_face(str(tmp_path / "two"))
    datasets.DatasetDict({"test": rows(2), "unsupervised": rows(2)}).save_to_disk(tmp_path / "none")
    with pytest.raises(InputError, match=r"no training set among test, unsupervised; call one 'train'"):
        list_hugging_face(str(tmp_path / "none"))


def test_an_image_folder_with_metadata(tmp_path: Path) -> None:
    for seed in range(3):
        save_png(tmp_path / "photos" / "train" / f"{seed}.png", seed)
    lines = ["file_name,label", "0.png,b", "1.png,a", "2.png,b"]
    (tmp_path / "photos" / "train" / "metadata.csv").write_text("\n".join(lines) + "\n")
    listing = list_hugging_face(str(tmp_path / "photos"))
    path, content = listing.source.open(1)
    assert (path.name, content) == ("1.png", None)
    data = read_images(listing)
    assert (data.class_names, data.train.labels.tolist()) == (("a", "b"), [1, 0, 1])


def test_columns_that_do_not_fit(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(InputError, match=r"columns of images: none; expected one, or one called image"):
        list_hugging_face(str(tmp_path / "texts"))
    rows(2, kind=[0, 1]).remove_columns("label").save_to_disk(tmp_path / "unlabeled")
    with pytest.raises(InputError, match=r"no column 'label' among 'kind'"):
        list_hugging_face(str(tmp_path / "unlabeled"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty cannot be loaded"):
        list_hugging_face(str(tmp_path / "empty"))


def test_a_row_without_an_image(tmp_path: Path) -> None:
    gone = save_png(tmp_path / "gone.png", 3)
    images = [{"bytes": png(n), "path": None} for n in range(2)] + [None, {"bytes": None, "path": str(gone)}]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    one = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 1, 1]}, features=features)
    datasets.Dataset(one.data, info=one.info).save_to_disk(tmp_path / "set")
    data = read_images(list_hugging_face(str(tmp_path / "set")), skip_bad_images=True)
    assert data.train.labels.tolist() == [0, 1, 1]
    assert data.skipped == (f"{tmp_path / 'set' / 'train:2'}: no image in this row; remove it",)


def test_a_file_outside_the_data_set_is_not_opened(tmp_path: Path) -> None:
    """A Parquet file may name any path of the machine in place of an image."""
    secret = save_png(tmp_path / "secret.png", 3)
    images = [{"bytes": png(0), "path": None}, {"bytes": png(1), "path": None}, {"bytes": None, "path": str(secret)}]
    (tmp_path / "set").mkdir()
    table = pa.table({"image": images, "label": ["a", "b", "a"]})
    features = {"image": {"_type": "Image"}, "label": {"dtype": "string", "_type": "Value"}}
    described = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(described, tmp_path / "set" / "train.parquet")
    data = read_images(list_hugging_face(str(tmp_path / "set")), skip_bad_images=True)
    assert data.train.labels.tolist() == [0, 1]
    assert f"train:2: names the file {secret}, outside the data set" in data.skipped[0]
