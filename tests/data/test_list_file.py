"""Lists of paths and labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from preceptor.data import load_dataset
from preceptor.data.list_file import list_file
from preceptor.data.reading import read_images
from preceptor.errors import InputError
from preceptor.run.config import resolve
from preceptor.run.set_up import split
from tests.data.encoded_files import save_png


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eight images in a folder below the list's."""
    for seed in range(8):
        save_png(tmp_path / "images" / f"{seed}.png", seed)
    return tmp_path


def written(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def test_names_are_classes_in_their_order(images: Path) -> None:
    file = written(images, "path,label", "images/3.png,dog", "images/1.png,ant", "", 'images/0.png," dog "')
    data = read_images(list_file(file))
    assert data.class_names == ("ant", "dog")
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.train.names == ("images/3.png", "images/1.png", "images/0.png")
    assert (data.validation, data.test, data.train.groups) == (None, None, None)


def test_numbers_stay_numbers_and_an_empty_label_is_none(images: Path) -> None:
    file = written(images, "image,class", "images/3.png,2", "images/1.png,0", "images/0.png,", "images/2.png,1")
    listing = list_file(file)
    assert listing.class_names is None
    assert listing.labels.tolist() == [2, 0, -1, 1]
    dataset = load_dataset(f"list:{file}")
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.labels.tolist() == [2, 0, -1, 1]


def test_other_names_of_columns_sets_and_a_mark_at_the_beginning(images: Path) -> None:
    file = written(
        images,
        "Notes,FILENAME,Target,Split,patient",
        "x,images/0.png,a,Training,p",
        "x,images/1.png,b,,q",
        "x,images/2.png,b,DEV,",
        "x,images/3.png,a,testing,r",
        encoding="utf-8-sig",
    )
    data = read_images(list_file(file))
    assert data.validation is not None
    assert data.test is not None
    assert [one.labels.tolist() for one in (data.train, data.validation, data.test)] == [[0, 1], [1], [0]]
    assert data.train.groups is not None
    assert data.train.groups.tolist() == [0, 1]


def test_no_path_leads_out_of_the_folder(images: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = save_png(tmp_path_factory.mktemp("elsewhere") / "secret.png", 9)
    (images / "images" / "link.png").symlink_to(outside)
    (images / "images" / "places").symlink_to(outside.parent, target_is_directory=True)
    inside = [f"{images}/images/0.png", "images/../images/1.png"]
    refused = [str(outside), f"../{outside.parent.name}/secret.png", "images/link.png", "images/places/secret.png"]
    file = written(images, "path,label", *(f"{path},{n % 2}" for n, path in enumerate([*inside, *refused])))
    data = read_images(list_file(file), skip_bad_images=True)
    expected = read_images(list_file(written(images, "path,label", "images/0.png,0", "images/1.png,1")))
    assert torch.equal(data.train.images[:], expected.train.images[:])
    assert len(data.skipped) == 4
    assert all("outside the list's folder; put the list above its images" in line for line in data.skipped)


def test_a_parquet_list_of_numbers_and_nulls(images: Path) -> None:
    table = pa.table(
        {"file": [f"images/{n}.png" for n in range(4)], "label": [1.0, None, 0.0, 1.0], "group": [7, 7, 8, None]}
    )
    pq.write_table(table, images / "list.parquet")
    listing = list_file(images / "list.parquet")
    assert listing.labels.tolist() == [1, -1, 0, 1]
    assert listing.groups is not None
    assert listing.groups.tolist() == [0, 0, 1, 2]


def test_a_missing_file_is_a_bad_image(images: Path) -> None:
    lines = ["path,label", "images/0.png,a", "images/gone.png,a", "images/1.png,b", "images,b", ",b"]
    file = written(images, *lines)
    with pytest.raises(InputError, match=r"gone\.png: listed, but no file is there; .*3 files cannot be used"):
        read_images(list_file(file))
    data = read_images(list_file(file), skip_bad_images=True)
    assert data.train.names == ("images/0.png", "images/1.png")
    assert len(data.skipped) == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,kind", "images/0.png,a"], r"no column 'label' among 'file', 'kind'; name one so, or labels, class"),
        (["photo,label", "images/0.png,a"], r"no column 'path' among 'photo', 'label'"),
        (["path;label", "images/0.png;a"], r"no column 'path' among 'path;label'; its columns are separated by ';'"),
        ([], r"no column 'path' among none"),
        (["path,label,split", "images/0.png,a,trial"], r"image 1 is of the set 'trial'; expected train, training"),
        (["path,label,split", "images/0.png,a,test"], r"no training image; list some"),
        (["path,label"], r"no training image; list some"),
        (["path,label,split", "images/0.png,a,", "images/1.png,,val"], r"image 2 \(images/1\.png\) has no label"),
        (["path,label,split", "images/0.png,a,", "images/1.png,b,test"], r"image 2 is of class 'b', which no training"),
        (["path,label", "images/0.png,a\x1b[2J"], r"labels of .*: the class name 'a\\x1b\[2J' holds a control"),
    ],
)
def test_what_is_no_list_of_images(images: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list_file(written(images, *lines))


def test_files_that_are_no_tables(images: Path) -> None:
    for name, content, message in (
        ("bad.csv", b"path,label\n\xff\xfe,a\n", r"bad\.csv: cannot be read as CSV"),
        ("bad.parquet", b"path,label\n", r"bad\.parquet: not a readable Parquet file"),
    ):
        (images / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            list_file(images / name)
    for name in ("gone.csv", "gone.parquet"):
        with pytest.raises(InputError, match="gone"):
            list_file(images / name)
    with pytest.raises(InputError, match=r"images: cannot be read: a directory"):
        list_file(images / "images")


def test_groups_are_held_out_together(images: Path) -> None:
    """Also with a copy of an image in another group, which ties the two."""
    (images / "images" / "copy.png").write_bytes((images / "images" / "0.png").read_bytes())
    patients = ["p", "p", "q", "q", "r", "r", "s", ""]
    lines = [f"images/{n}.png,{n % 2},{patient}" for n, patient in enumerate(patients)]
    file = written(images, "path,label,group", *lines, "images/copy.png,0,s")
    tied = [0, 0, 1, 1, 2, 2, 0, 3, 0]
    for settings in ({"validation": 0.5}, {"validation": 0.25}, {"folds": 3, "fold": 1}, {"folds": 3, "fold": 2}):
        for seed in range(3):
            config = resolve({"data": f"list:{file}", "split_seed": seed} | settings)
            index, held_out = split(config, load_dataset(config.data))
            assert len(held_out) > 0
            inside, outside = ({tied[n] for n in part.tolist()} for part in (held_out, index))
            assert not inside & outside
    assert np.array_equal(sorted([*index.tolist(), *held_out.tolist()]), np.arange(9))
