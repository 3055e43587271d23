import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preceptor.data.labels import read_labels
from preceptor.errors import InputError
from tests.data.files import read_or_refusal


def refused(path: Path, *parts: str, count: int = 4) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(path, count)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message


def saved(folder: Path, array: np.ndarray) -> Path:
    path = folder / "labels.npy"
    np.save(path, array)
    return path


@given(
    labels=st.sampled_from(["int8", "int16", "int32", "int64", ">i4", "uint8", "uint16"]).flatmap(
        lambda kind: arrays(kind, st.integers(0, 20), elements={"min_value": 0, "max_value": 100})
    )
)
def test_labels_come_back_as_int64(labels, tmp_path_factory):
    found = read_labels(saved(tmp_path_factory.mktemp("labels"), labels), len(labels))
    assert found.dtype == torch.int64
    assert found.tolist() == labels.tolist()


def test_minus_one_stays_unlabeled(tmp_path):
    assert read_labels(saved(tmp_path, np.array([3, -1, 0])), 3).tolist() == [3, -1, 0]


def test_a_missing_file(tmp_path):
    refused(tmp_path / "nothing.npy", "No such file")


def test_a_folder(tmp_path):
    refused(tmp_path, "directory")


@pytest.mark.parametrize("length", [0, 3, 5])
def test_another_length(tmp_path, length):
    path = saved(tmp_path, np.zeros(length, dtype=int))
    refused(path, f"{length} labels for 4 training images", "give one for each")


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros(4), "float64 of shape (4,)"),
        (np.zeros((4, 1), dtype=int), "int64 of shape (4, 1)"),
        (np.array(3), "shape ()"),
        (np.zeros(4, dtype=bool), "bool"),
        (np.array(["cat", "dog", "cat", "dog"]), "<U3"),
    ],
)
def test_an_array_of_something_else(tmp_path, array, part):
    refused(saved(tmp_path, array), part, "expected integers of shape (n,)")


def test_numbers_beyond_int64_are_no_labels(tmp_path):
    """Cast without a look, 2^64 - 1 would be -1: unlabeled."""
    refused(saved(tmp_path, np.full(4, 2**64 - 1, dtype=np.uint64)), "18446744073709551615")


def test_an_archive_of_several_arrays(tmp_path):
    path = tmp_path / "labels.npz"
    np.savez(path, a=np.zeros(4, dtype=int), b=np.zeros(4, dtype=int))
    refused(path, "holds a, b; name one of them, as in labels.npz:a")
    assert read_labels(tmp_path / "labels.npz:b", 4).tolist() == [0] * 4


def written(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "2\n-1\n0\n1\n",
        "label\n2\n-1\n0\n1\n",
        "\ufefflabel\r\n2\r\n-1\r\n0\r\n1",
        'file,Label\na.png,2\n\nb.png,-1\n"c, d.png",ant\ne.png, bee \n',
        "cat\n-1\nant\nbee",
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_labels_from_a_text(tmp_path, content, suffix):
    path = written(tmp_path, content, f"labels.{suffix}")
    labels = read_labels(path, 4, ("ant", "bee", "cat"))
    assert (labels.dtype, labels.tolist()) == (torch.int64, [2, -1, 0, 1])


def test_a_class_named_by_a_number_comes_before_the_number(tmp_path):
    assert read_labels(written(tmp_path, "10\n2\n1\n"), 3, ("1", "10", "2")).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("3\n1\n", "2 labels for 4"),
        ("", "0 labels for 4"),
        ("ant\nbea\nbee\nant", "label 2 is 'bea'; expected an integer, or one of ant, bee; did you mean 'bee'?"),
        ("a.png,3\nb.png,1\n", "2 columns, none of them headed 'label'"),
        ("file,label\na.png\n", "label 1 is ''; expected"),
        ("1.5\n2\n3\n4\n", "label 1 is '1.5'; expected an integer"),
        (b"\xff\xfe3\n", "cannot be read as text"),
        ("1\n" * 3 + "9" * 4400, "label 4 is '9"),
    ],
)
def test_a_text_that_does_not_fit(tmp_path, content, part):
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_labels(path, 4, ("ant", "bee"))
    assert part in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", ["label\n3\n1\n", "3 1 4 1", "é\n" * 600])
def test_a_text_called_npy_is_named_as_one(tmp_path, content):
    refused(written(tmp_path, content, "labels.npy"), "is a text or CSV, not a .npy file; name it .csv or .txt")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "labels.npy"
    np.save(path, np.array([Bomb(tmp_path / "exploded")] * 4, dtype=object), allow_pickle=True)
    refused(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no zip", b"\x93NUMPY", b"\x80\x04K\x01."])
def test_a_file_that_is_no_array(tmp_path, content):
    path = tmp_path / "labels.npy"
    path.write_bytes(content)
    refused(path, "not a readable .npy file")


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


GOOD = npy(np.array([1, 0, 2, -1]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")  # of the damaged header's text
@given(start=st.integers(0, 127), junk=st.binary(min_size=1, max_size=12), length=st.integers(0, len(GOOD)))
def test_a_damaged_file_is_read_or_refused(start, junk, length, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.npy"
    path.write_bytes((GOOD[:start] + junk + GOOD[start + len(junk) :])[: max(length, start)])
    found = read_or_refusal(lambda given: read_labels(given, 4), path)
    assert isinstance(found, InputError) or found.shape == (4,)


@pytest.mark.parametrize(
    ("right", "broken"),
    [
        (b"(4,), }" + b" " * 13, b"(90000000000000,), }"),
        (b"'shape': (4,)", b"'shape': (4,("),
        (b"'fortran_order'", b"b'ortran_order'"),
        (b"(4,)", b"(04)"),
    ],
)
def test_a_damaged_header(tmp_path, right, broken):
    assert right in GOOD
    path = tmp_path / "labels.npy"
    path.write_bytes(GOOD.replace(right, broken))
    refused(path, "not a readable .npy file")


NAMES = ("train/ant/1.png", "train/ant/2.png", "train/bee/3.png")


@pytest.mark.parametrize(
    "content",
    [
        "path,label\ntrain/bee/3.png,ant\ntrain/ant/1.png,bee\ntest/ant/1.png,ant\ntrain/ant/2.png,1\n",
        "filename,label\n2.png,1\n3.png,0\n1.png,bee\n9.png,ant\n",
    ],
)
def test_labels_by_file_name(tmp_path, content):
    path = written(tmp_path, content)
    assert read_labels(path, 3, ("ant", "bee"), names=NAMES).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("content", "names", "part"),
    [
        ("file,label\n1.png,0\n2.png,0\n", NAMES, "no label of 1 of 3 training images, such as '3.png'"),
        ("file,label\n1.png,0\n1.png,1\n", NAMES, "'1.png' is listed twice"),
        (
            "file,label\n1.png,0\n2.png,0\n",
            ("a/1.png", "b/1.png", "2.png"),
            "no label of 2 of 3 training images, such as 'a/1.png'",
        ),
    ],
)
def test_names_that_do_not_fit(tmp_path, content, names, part):
    with pytest.raises(InputError, match=part):
        read_labels(written(tmp_path, content), 3, ("ant", "bee"), names=names)


def test_a_column_by_its_name(tmp_path):
    path = written(tmp_path, "file,Clean,noisy\na,0,1\nb,1,0\n")
    assert read_labels(tmp_path / "labels.csv:noisy", 2).tolist() == [1, 0]
    assert read_labels(tmp_path / "labels.csv:clean", 2).tolist() == [0, 1]
    with pytest.raises(InputError, match=r"unknown column of .*labels\.csv 'noisi': did you mean 'noisy'"):
        read_labels(path.with_name("labels.csv:noisi"), 2)


def test_a_colon_in_a_file_s_own_name(tmp_path):
    assert read_labels(written(tmp_path, "1\n0\n", "labels 10:30.txt"), 2).tolist() == [1, 0]
