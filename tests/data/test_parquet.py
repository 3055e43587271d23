"""Images inside Parquet files."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from preceptor.data import encoded, parquet
from preceptor.data.parquet import list_parquet
from preceptor.data.reading import read_images
from preceptor.errors import InputError
from tests.data.encoded_files import png


def table(count: int, first: int = 0, **columns: Any) -> pa.Table:
    images = [{"bytes": png(first + n), "path": f"{n}.png"} for n in range(count)]
    return pa.table({"image": images, "label": [n % 2 for n in range(count)]} | columns)


def test_any_image_is_read_by_itself_from_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, with a cache that holds two row groups of five."""
    pq.write_table(table(10), tmp_path / "train-0.parquet", row_group_size=2)
    pq.write_table(table(7, 10), tmp_path / "train-1.parquet", row_group_size=3)
    monkeypatch.setattr(parquet, "MOST_CACHED", 600)
    source = list_parquet(tmp_path).source
    assert len(source) == 17
    for position in [*torch.randperm(17, generator=torch.Generator().manual_seed(0)).tolist(), 0, 16]:
        path, content = source.open(position)
        assert content is not None
        assert content.read() == png(position)
        assert path == tmp_path / (
            f"train-0.parquet:{position}" if position < 10 else f"train-1.parquet:{position - 10}"
        )
    assert isinstance(source, parquet.ParquetImages)
    assert 1 <= len(source._groups) <= 3


def test_class_names_of_the_hub_and_labels_that_are_kept_secret(tmp_path: Path) -> None:
    features = {"info": {"features": {"kind": {"_type": "ClassLabel", "names": ["no", "yes", "maybe"]}}}}
    for name, labels in (("train", [2, 0, 1]), ("test", [-1, -1, -1])):
        one = pa.table({"image": [png(n) for n in range(3)], "kind": labels, "label": [9, 9, 9]})
        pq.write_table(one.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / f"{name}.parquet")
    data = read_images(list_parquet(tmp_path))
    assert data.class_names == ("no", "yes", "maybe")
    assert data.train.labels.tolist() == [2, 0, 1]
    assert data.test is None
    assert data.skipped == ()


def test_a_single_file_is_a_whole_set(tmp_path: Path) -> None:
    """Its labels may be categories of pandas."""
    categories = pa.array(["b", "a", "b", "c"]).dictionary_encode()
    pq.write_table(table(4, label=categories), tmp_path / "test.parquet")
    data = read_images(list_parquet(tmp_path / "test.parquet"))
    assert (data.class_names, data.train.labels.tolist()) == (("a", "b", "c"), [1, 0, 1, 2])


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"info": {"features": 3}}', b'{"info": {"features": {"label": 1}}}']
)
def test_a_damaged_description_is_none(tmp_path: Path, metadata: bytes) -> None:
    pq.write_table(table(2).replace_schema_metadata({b"huggingface": metadata}), tmp_path / "a.parquet")
    assert list_parquet(tmp_path / "a.parquet").class_names is None


def test_what_holds_no_labeled_images(tmp_path: Path) -> None:
    def refused(one: pa.Table) -> str:
        pq.write_table(one, tmp_path / "a.parquet")
        with pytest.raises(InputError) as caught:
            list_parquet(tmp_path / "a.parquet")
        return str(caught.value)

    assert "columns that may hold encoded images: none; expected one" in refused(pa.table({"label": [1]}))
    two = pa.table({"left": [b"1"], "right": [b"2"], "label": [1]})
    assert "columns that may hold encoded images: 'left', 'right'; expected one, or one called image" in refused(two)
    assert "no column 'label' among 'kind'" in refused(pa.table({"image": [b"1"], "kind": ["a"]}))


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file or folder; give a file, a folder or a pattern"):
        list_parquet(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no \.parquet file"):
        list_parquet(tmp_path)
    pq.write_table(table(2), tmp_path / "val-0.parquet")
    pq.write_table(table(2), tmp_path / "val-1.parquet")
    with pytest.raises(InputError, match=r"no file of training images among val-0\.parquet, val-1\.parquet"):
        list_parquet(tmp_path)
    pq.write_table(table(2, more=["x", "y"]), tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"val-0\.parquet: other columns than .*train\.parquet"):
        list_parquet(tmp_path)
    (tmp_path / "a-train.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(InputError, match=r"a-train\.parquet: not a readable Parquet file"):
        list_parquet(tmp_path)


def test_a_row_without_an_image_and_a_file_that_changed(tmp_path: Path) -> None:
    images = [{"bytes": png(0), "path": None}, {"bytes": None, "path": None}, {"bytes": png(2), "path": None}]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1]}), tmp_path / "a.parquet")
    data = read_images(list_parquet(tmp_path / "a.parquet"), skip_bad_images=True)
    assert data.train.labels.tolist() == [0, 1]
    assert data.skipped == (f"{tmp_path / 'a.parquet:1'}: no image in this row; remove it",)
    pq.write_table(table(4), tmp_path / "b.parquet")
    source = list_parquet(tmp_path / "b.parquet").source
    (tmp_path / "b.parquet").write_bytes(bytes(50))
    with pytest.raises(InputError, match=r"b\.parquet: not a readable Parquet file"):
        encoded.digests(source, torch.arange(4).numpy())
