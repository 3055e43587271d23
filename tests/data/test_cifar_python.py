import os
import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from preceptor.data import cifar_python
from preceptor.data.cifar_python import read_cifar10_python, read_cifar100_python
from preceptor.errors import InputError
from tests.data.cifar_pickles import array, batch, number, numbers, text, write_cifar100_python

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 3072), dtype=np.uint8)


def write_cifar10_python(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for place in range(5):
        (folder / f"data_batch_{place + 1}").write_bytes(batch(PIXELS + place, {"labels": [place] * 4}))
    (folder / "test_batch").write_bytes(batch(PIXELS, {"labels": [9, 8, 7, 6]}))


def test_the_laid_out_pickle_is_one_that_pickle_reads() -> None:
    """The reference: what unpickling, which the package never does, makes of the same bytes."""
    found = pickle.loads(batch(PIXELS, {"fine_labels": [3, 300, 5, 6]}), encoding="bytes")
    np.testing.assert_array_equal(found[b"data"], PIXELS)
    assert found[b"fine_labels"] == [3, 300, 5, 6]


def test_the_batches_in_their_order(tmp_path: Path) -> None:
    write_cifar10_python(tmp_path)
    contents = read_cifar10_python(tmp_path)
    assert contents is not None
    assert contents.test is not None
    assert contents.train.labels.tolist() == [place for place in range(5) for _ in range(4)]
    np.testing.assert_array_equal(contents.train.images[8:12].flatten(1).numpy(), PIXELS + 2)
    assert contents.test.labels.tolist() == [9, 8, 7, 6]


def test_fine_labels_past_the_first_thousand(tmp_path: Path) -> None:
    pixels, fine = write_cifar100_python(tmp_path, n=1100)
    contents = read_cifar100_python(tmp_path)
    assert contents is not None
    assert contents.train.labels.tolist() == fine
    np.testing.assert_array_equal(contents.train.images[1050].flatten().numpy(), pixels[1050])


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert read_cifar10_python(tmp_path) is None
    assert read_cifar100_python(tmp_path) is None


class Trap:
    """Pickled, it makes a folder of whoever opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path) -> None:
    write_cifar100_python(tmp_path)
    content = pickle.dumps({"fine_labels": [1], "data": Trap(tmp_path / "sprung")}, training=2)
    (tmp_path / "cifar-100-python" / "train").write_bytes(content)
    with pytest.raises(InputError, match="train: not a batch of CIFAR's Python release: 1 labels and 0 pixels"):
        read_cifar100_python(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        batch(PIXELS, {"fine_labels": [1, 2, 3]}),
        batch(PIXELS, {"labels": [1, 2, 3, 4]}),
        batch(PIXELS, {"fine_labels": [1, 2, 3, 4]})[:-2000],
        batch(PIXELS, {"fine_labels": [1, 2, 3, 4]}).replace(pickle.NEWFALSE, pickle.NEWTRUE),
    ],
    ids=["empty", "text", "a label short", "of the other release", "cut short", "column by column"],
)
def test_what_is_no_such_batch(tmp_path: Path, content: bytes) -> None:
    write_cifar100_python(tmp_path)
    (tmp_path / "cifar-100-python" / "test").write_bytes(content)
    with pytest.raises(InputError, match=r"test: not a batch of CIFAR's Python release.*fetch the archive again"):
        read_cifar100_python(tmp_path)


def test_the_parts_are_as_pickle_has_them() -> None:
    wrap = pickle.PROTO + b"\x02"
    assert pickle.loads(wrap + text(b"x" * 300) + b".", encoding="bytes") == b"x" * 300
    assert pickle.loads(wrap + number(70_000) + b".") == 70_000
    assert pickle.loads(wrap + numbers(list(range(2500))) + b".") == list(range(2500))
    np.testing.assert_array_equal(pickle.loads(wrap + array(PIXELS) + b".", encoding="bytes"), PIXELS)


def test_a_program_of_many_words_is_not_listed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each word is a byte in the file, and a hundred in memory."""
    write_cifar100_python(tmp_path)
    (tmp_path / "cifar-100-python" / "train").write_bytes(pickle.PROTO + b"\x02" + pickle.NONE * 1000 + pickle.STOP)
    read: list[object] = []

    def listed(file: object) -> Iterator[object]:
        for word in pickletools.genops(file):  # type: ignore[arg-type]
            read.append(word)
            yield word

    monkeypatch.setattr(cifar_python, "MOST_WORDS", 100)
    monkeypatch.setattr(cifar_python, "pickletools", SimpleNamespace(genops=listed))
    with pytest.raises(InputError, match="train: not a batch of CIFAR's Python release"):
        read_cifar100_python(tmp_path)
    assert len(read) == 100
