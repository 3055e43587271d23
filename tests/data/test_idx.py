import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preceptor.data.idx import read_idx, read_idx_sets
from preceptor.errors import InputError
from tests.data.files import idx_bytes, mnist_like, read_or_refusal, write_mnist_files


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 3, 2), (0,)])
def test_an_array_comes_back(tmp_path: Path, shape: tuple[int, ...], gzipped: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("a-ubyte.gz" if gzipped else "a-ubyte")
    path.write_bytes(gzip.compress(idx_bytes(array)) if gzipped else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array)


GOOD = idx_bytes(np.arange(24).reshape(4, 3, 2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an idx file of bytes .it begins with nothing"),
        (b"\x00\x00\x0d\x01" + GOOD[4:], "not an idx file of bytes"),
        (b"\x00\x00\x08\x07" + GOOD[4:], "not an idx file of bytes"),
        (b"PK\x03\x04", "begins with 50 4b 03 04"),
        (GOOD[:9], "holds other than"),
        (GOOD[:-1], "other than the 24 values"),
        (GOOD + b"x", "other than the 24 values"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "cannot be read"),
    ],
)
@pytest.mark.parametrize("gzipped", [True, False])
def test_damaged_files(tmp_path: Path, content: bytes, said: str, gzipped: bool) -> None:
    path = tmp_path / ("bad-ubyte.gz" if gzipped else "bad-ubyte")
    path.write_bytes(gzip.compress(content) if gzipped else content)
    with pytest.raises(InputError, match=said) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [gzip.compress(GOOD, mtime=0)[:-12], GOOD, gzip.compress(GOOD, mtime=0)[:5], b""])
def test_what_is_not_whole_gzip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad-ubyte\.gz: "):
        read_idx(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none-ubyte: cannot be read"):
        read_idx(tmp_path / "none-ubyte")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, 200), value=st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_harmless(tmp_path: Path, place: int, value: int) -> None:
    content = bytearray(gzip.compress(GOOD, mtime=0))
    content[place % len(content)] = value
    path = tmp_path / "bent-ubyte.gz"
    path.write_bytes(bytes(content))
    found = read_or_refusal(read_idx, path)
    if isinstance(found, InputError):
        assert str(path) in str(found)
    else:
        np.testing.assert_array_equal(found, np.arange(24).reshape(4, 3, 2))


@pytest.mark.parametrize("gzipped", [True, False])
def test_the_four_files_make_two_sets(tmp_path: Path, gzipped: bool) -> None:
    write_mnist_files(tmp_path, gzipped=gzipped)
    contents = read_idx_sets([tmp_path / "elsewhere", tmp_path])
    assert contents is not None
    assert contents.test is not None
    for image_set, n, seed in ((contents.train, 20, 0), (contents.test, 10, 1)):
        images, labels = mnist_like(n, seed)
        assert image_set.images.shape == (n, 1, 28, 28)
        np.testing.assert_array_equal(image_set.images[:, 0].numpy(), images)
        np.testing.assert_array_equal(image_set.labels.numpy(), labels)


def test_the_first_folder_wins_and_a_missing_file_means_nothing_found(tmp_path: Path) -> None:
    write_mnist_files(tmp_path / "a", n_train=10)
    write_mnist_files(tmp_path / "b", n_train=30)
    contents = read_idx_sets([tmp_path / "a", tmp_path / "b"])
    assert contents is not None
    assert len(contents.train) == 10
    (tmp_path / "a" / "t10k-labels-idx1-ubyte.gz").unlink()
    assert read_idx_sets([tmp_path / "a"]) is None


def test_labels_where_images_should_be(tmp_path: Path) -> None:
    write_mnist_files(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(labels.read_bytes())
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: 1 dimensions, 3 expected"):
        read_idx_sets([tmp_path])
