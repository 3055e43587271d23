from pathlib import Path

import numpy as np
import pytest

from preceptor.data.cifar import read_cifar10, read_cifar100
from preceptor.errors import InputError
from tests.data.files import write_cifar10_files, write_cifar100_files


def test_cifar10_batches_in_their_order(tmp_path: Path) -> None:
    records = write_cifar10_files(tmp_path)
    contents = read_cifar10(tmp_path)
    assert contents is not None
    assert contents.test is not None
    assert contents.train.images.shape == (20, 3, 32, 32)
    assert contents.test.images.shape == (10, 3, 32, 32)
    np.testing.assert_array_equal(contents.train.labels.numpy(), records[:, 0])
    np.testing.assert_array_equal(contents.train.images.flatten(1).numpy(), records[:, 1:])
    assert contents.class_names == tuple(f"kind {label}" for label in range(10))


def test_a_pixel_is_where_the_format_says(tmp_path: Path) -> None:
    """First 1,024 bytes red, row by row, then green, then blue."""
    records = write_cifar10_files(tmp_path)
    contents = read_cifar10(tmp_path)
    assert contents is not None
    assert contents.train.images[7, 1, 3, 30] == records[7, 1 + 1024 + 3 * 32 + 30]


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    records = write_cifar100_files(tmp_path)
    contents = read_cifar100(tmp_path)
    assert contents is not None
    np.testing.assert_array_equal(contents.train.labels.numpy(), np.arange(200) % 100)
    np.testing.assert_array_equal(contents.train.images.flatten(1).numpy(), records[:, 2:])
    assert contents.class_names is not None
    assert contents.class_names[99] == "kind 99"


def test_no_folder_means_nothing_found(tmp_path: Path) -> None:
    assert read_cifar10(tmp_path) is None
    assert read_cifar100(tmp_path) is None


def test_a_missing_a_truncated_and_an_empty_batch(tmp_path: Path) -> None:
    write_cifar10_files(tmp_path)
    batch = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"data_batch_3\.bin: 12291 bytes, not whole records of 3073"):
        read_cifar10(tmp_path)
    batch.write_bytes(b"")
    with pytest.raises(InputError, match=r"data_batch_3\.bin: 0 bytes"):
        read_cifar10(tmp_path)
    batch.unlink()
    with pytest.raises(InputError, match=r"data_batch_3\.bin: cannot be read \(No such file"):
        read_cifar10(tmp_path)


def test_missing_and_unreadable_names(tmp_path: Path) -> None:
    write_cifar100_files(tmp_path)
    names = tmp_path / "cifar-100-binary" / "fine_label_names.txt"
    names.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"fine_label_names\.txt: cannot be read"):
        read_cifar100(tmp_path)
    names.unlink()
    with pytest.raises(InputError, match=r"fine_label_names\.txt: cannot be read"):
        read_cifar100(tmp_path)
