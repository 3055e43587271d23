"""WebDataset archives, read at random."""

import io
import tarfile
from pathlib import Path

import pytest

from preceptor.data.reading import read_images
from preceptor.data.webdataset import list_webdataset
from preceptor.errors import InputError
from tests.data.encoded_files import png


def archive(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def test_members_of_one_name_are_a_sample(tmp_path: Path) -> None:
    """Wherever they stand in the archive; what belongs to no image is passed by."""
    members = {
        "b/1.json": b'{"label": 1, "caption": "x"}',
        "a/1.cls": b"0",
        "README.md": b"about",
        "b/1.PNG": png(0),
        "a/1.seg.png": b"of another kind",
        "a/1.json": b'{"width": 5}',
        "a/1.png": png(1),
        "lonely.cls": b"3",
        "a/" + "long" * 40 + ".png": png(2),
        "a/" + "long" * 40 + ".cls": b"1\n",
    }
    listing = list_webdataset(archive(tmp_path / "train.tar", members))
    assert [name.partition(":")[2][:5] for name in listing.names] == ["b/1.P", "a/1.p", "a/lon"]
    assert listing.labels.tolist() == [1, 0, 1]
    for position in range(3):
        path, content = listing.source.open(position)
        assert content is not None
        assert content.read() == png(position)
        assert path == tmp_path / listing.names[position]


def test_classes_by_name(tmp_path: Path) -> None:
    members = {"1.png": png(1), "1.json": b'{"label": "dog"}', "2.png": png(2), "2.cls": b"ant"}
    path = archive(tmp_path / "photos.tar", members)
    data = read_images(list_webdataset(path))
    assert (data.class_names, data.train.labels.tolist()) == (("ant", "dog"), [1, 0])
    (tmp_path / "classes.txt").write_text("dog\ncow\nant\n")
    assert list_webdataset(path).labels.tolist() == [0, 2]
    (tmp_path / "classes.txt").write_text("cow\nant\n")
    with pytest.raises(InputError, match=r"image 1 is of class 'dog', which no training image has; there are cow, ant"):
        list_webdataset(path)


def test_sets_by_the_names_of_archives_and_folders(tmp_path: Path) -> None:
    for number, name in enumerate(["imagenet-train-000.tar", "Train_1.tar", "val/000.tar", "test/0001.tar"]):
        archive(tmp_path / name, {f"{number}.png": png(number), f"{number}.cls": b"%d" % (number % 2)})
    data = read_images(list_webdataset(tmp_path))
    assert data.validation is not None
    assert data.test is not None
    assert data.train.names == ("Train_1.tar:1.png", "imagenet-train-000.tar:0.png")
    assert (data.validation.names, data.test.names) == (("val/000.tar:2.png",), ("test/0001.tar:3.png",))
    some = list_webdataset(tmp_path / "*train*.tar")
    assert len(some) == 1
    archive(tmp_path / "train-test.tar", {"1.png": png(1), "1.cls": b"0"})
    with pytest.raises(InputError, match=r"the name 'train-test' stands for the train and test set"):
        list_webdataset(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.png": png(1)}, r"sample '1' has no label; add 1\.cls, or 1\.json with a label"),
        ({"1.png": png(1), "1.json": b'{"class": 2}'}, r"sample '1' has no label"),
        ({"1.png": png(1), "1.jpg": png(2), "1.cls": b"0"}, r"1\.png and 1\.jpg are of one sample"),
        ({"1.png": png(1), "1.json": b"{"}, r"1\.json is no label \(.*expected an integer or a class's name"),
        ({"1.png": png(1), "1.json": b'{"label": [1]}'}, r"1\.json is no label \(its label is '\[1\]'\)"),
        ({"1.png": png(1), "1.cls": b"\xff"}, r"1\.cls is no label"),
        ({"1.png": png(1), "1.cls": b"7" * 2**21}, r"1\.cls is no label \(longer than 1,048,576 bytes\)"),
        ({"1.txt": b"0"}, r"no image in 1 archives; a sample is named like 0001\.jpg and 0001\.cls"),
    ],
)
def test_archives_without_labeled_images(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list_webdataset(archive(tmp_path / "a.tar", members))


def test_archives_that_cannot_be_read_at_random(tmp_path: Path) -> None:
    sound = {"1.png": png(1), "1.cls": b"0", "2.png": png(2), "2.cls": b"1"}
    with pytest.raises(InputError, match=r"a\.tar: not an uncompressed tar archive"):
        list_webdataset(archive(tmp_path / "a.tar", sound, "w:gz"))
    (tmp_path / "a.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(InputError, match=r"a\.tar: not an uncompressed tar archive"):
        list_webdataset(tmp_path / "a.tar")
    whole = archive(tmp_path / "a.tar", sound).read_bytes()
    for end in (100, 600, 1500, 1800):
        (tmp_path / "a.tar").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"a\.tar"):
            list_webdataset(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(whole)
    source = list_webdataset(tmp_path / "a.tar").source
    (tmp_path / "a.tar").write_bytes(whole[:1100])
    with pytest.raises(InputError, match=r"a\.tar:2\.png: the archive ends within it; fetch or write"):
        source.open(1)
