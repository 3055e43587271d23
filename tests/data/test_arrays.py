import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preceptor.data.arrays import read_arrays
from preceptor.errors import InputError
from tests.data.files import read_or_refusal

COLOR = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)


class Booby:
    """Unpickling one would run code of the file's author."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a stranger's file was unpickled",)


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **({"train_images": COLOR, "train_labels": LABELS} | arrays))
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_colour_images_and_labels_come_back(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "a.npz"
    save(path, train_images=COLOR, train_labels=LABELS, test_images=COLOR[:2], test_labels=LABELS[:2])
    contents = read_arrays(path)
    assert contents.train.images.shape == (6, 3, 5, 4)
    assert contents.train.images.is_contiguous()
    np.testing.assert_array_equal(contents.train.images.numpy(), np.moveaxis(COLOR, 3, 1))
    np.testing.assert_array_equal(contents.train.labels.numpy(), LABELS)
    assert contents.test is not None
    np.testing.assert_array_equal(contents.test.images.numpy(), np.moveaxis(COLOR[:2], 3, 1))
    assert contents.class_names is None


@pytest.mark.parametrize("images", [COLOR[..., 0], COLOR[..., :1]])
def test_greyscale_with_and_without_a_channel(tmp_path: Path, images: np.ndarray) -> None:
    contents = read_arrays(write(tmp_path / "a.npz", train_images=images))
    assert contents.train.images.shape == (6, 1, 5, 4)
    np.testing.assert_array_equal(contents.train.images[:, 0].numpy(), COLOR[..., 0])
    assert contents.test is None


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.uint64, ">i4"])
def test_any_whole_numbers_are_labels(tmp_path: Path, kind: Any) -> None:
    contents = read_arrays(write(tmp_path / "a.npz", train_labels=LABELS.astype(kind)))
    assert contents.train.labels.tolist() == LABELS.tolist()


def test_class_names_and_other_arrays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", class_names=["élan", "b", "c"], train_order=np.arange(6), notes=["x"])
    assert read_arrays(path).class_names == ("élan", "b", "c")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"train_images": COLOR / 255},
            r"train_images is float64; expected uint8 .*convert with .*astype\('uint8'\)",
        ),
        ({"train_images": COLOR.astype(np.int64)}, r"train_images is int64; expected uint8"),
        ({"train_images": COLOR[0, 0]}, r"train_images has shape \(4, 3\); expected n x height x width"),
        ({"train_images": np.moveaxis(COLOR, 3, 1)}, r"shape \(6, 3, 5, 4\).*transpose\(0, 2, 3, 1\)"),
        ({"train_images": COLOR[:0]}, r"shape \(0, 5, 4, 3\) and so holds no image"),
        ({"train_labels": LABELS / 1.0}, r"train_labels is float64 .*expected integers"),
        ({"train_labels": LABELS > 0}, r"train_labels is bool .*expected integers"),
        ({"train_labels": LABELS.astype(str)}, r"train_labels is <U3 .*expected integers"),
        (
            {"train_labels": LABELS[:, None]},
            r"uint8 of shape \(6, 1\); expected integers of shape \(n,\)",
        ),
        ({"train_labels": LABELS.astype(object)}, r"'train_labels' cannot be read \(Object arrays.*never loaded"),
        ({"train_images": np.array([Booby()])}, r"'train_images' cannot be read"),
        ({"class_names": np.array(["a", 2], dtype=object)}, r"'class_names' cannot be read"),
        ({"class_names": np.arange(3)}, r"class_names is int64 of shape \(3,\), expected a list of strings"),
        ({"test_images": COLOR}, r"no array 'test_labels'; it holds test_images, train_images, train_labels$"),
        ({"test_labels": LABELS}, r"no array 'test_images'"),
        ({"test_image": COLOR}, r"unknown array 'test_image': did you mean 'test_images'\? known: train_images,"),
    ],
)
def test_unfit_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "unfit.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_arrays(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_array_offers_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=COLOR, train_labels=LABELS)
    with pytest.raises(
        InputError, match=r"no array 'train_images'; it holds images, train_labels; did you mean 'images'"
    ):
        read_arrays(path)
    np.savez(path)
    with pytest.raises(InputError, match=r"no array 'train_images'; it holds nothing"):
        read_arrays(path)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"a\.npz: no such file"):
        read_arrays(path)
    with pytest.raises(InputError, match=r"no such file"):
        read_arrays(tmp_path)
    for content in (b"", b"text", pickle.dumps(Booby())):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz: not an \.npz archive, or cut short"):
            read_arrays(path)
    with path.open("wb") as file:
        np.save(file, COLOR)
    with pytest.raises(InputError, match=r"not an \.npz archive"):
        read_arrays(path)


def test_a_pickle_in_a_zip_is_not_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("class_names.npy", pickle.dumps(Booby()))
    with pytest.raises(InputError, match="'class_names' cannot be read"):
        read_arrays(path)


def test_an_archive_behind_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with path.open("wb") as file:
        np.save(file, LABELS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", b"")
    with pytest.raises(InputError, match="'train_images' cannot be read"):
        read_arrays(path)


def test_an_archive_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz")
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npz: not an \.npz archive, or cut short"):
            read_arrays(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_harmless(tmp_path: Path, place: int, value: int) -> None:
    path = write(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(bytes(content))
    found = read_or_refusal(read_arrays, path)
    if isinstance(found, InputError):
        assert str(path) in str(found)
    else:
        np.testing.assert_array_equal(found.train.images.numpy(), np.moveaxis(COLOR, 3, 1))
        np.testing.assert_array_equal(found.train.labels.numpy(), LABELS)


def test_an_archive_of_a_later_kind_of_zip(tmp_path: Path) -> None:
    """Found by fuzzing: the directory of the archive asks for version 10.2 of the format."""
    np.savez(tmp_path / "a.npz", train_images=np.zeros((3, 2, 2), np.uint8), train_labels=np.arange(3))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 102
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: not an \.npz archive, .*\(zip file version 10\.2\); write it with"):
        read_arrays(tmp_path / "a.npz")


def test_an_archive_that_is_one_of_several(tmp_path: Path) -> None:
    """Found by fuzzing: it says that it goes on on a second disk."""
    (tmp_path / "a.npz").write_bytes(b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 2) + b"PK\x05\x06" + bytes(18))
    with pytest.raises(InputError, match=r"a\.npz: not an \.npz archive, or cut short"):
        read_arrays(tmp_path / "a.npz")
