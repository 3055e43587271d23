import numpy as np
import pytest
import torch

from preceptor.errors import InputError
from preceptor.teachers.base import Teacher
from preceptor.teachers.file import FileTeacher
from tests.teachers.fixed_rows import logits_of, shown

NAMES = ("cat", "dog", "owl")
ROWS = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 0.0], [9.0, 8.0, -7.0], [0.0, 0.0, 0.25]])


def kept(tmp_path, rows=ROWS, name="words.npy"):
    np.save(tmp_path / name, rows)
    return tmp_path / name


def teacher(path, output_kind="logits", images=4, class_names=NAMES):
    return FileTeacher(path, output_kind=output_kind, images=images, class_names=class_names)


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        teacher(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_it_returns_the_row_of_each_image(tmp_path, dtype, order):
    from_file = teacher(kept(tmp_path, np.asarray(ROWS.astype(dtype), order=order)))
    index = torch.tensor([3, 0, 3])
    logits = from_file.outputs(shown(3), index, torch.zeros(3, dtype=torch.int64)).logits
    assert isinstance(from_file, Teacher)
    assert from_file.classes == 3
    assert logits.dtype == torch.float32
    assert logits.tolist() == ROWS[index].tolist()


def test_it_returns_the_same_of_every_view(tmp_path):
    from_file = teacher(kept(tmp_path))
    assert torch.equal(logits_of(from_file, view=0), logits_of(from_file, view=17))


def test_probabilities_become_logits(tmp_path):
    probabilities = np.exp(ROWS) / np.exp(ROWS).sum(axis=1, keepdims=True)
    logits = logits_of(teacher(kept(tmp_path, probabilities), output_kind="probabilities"))
    np.testing.assert_allclose(logits.softmax(dim=1), probabilities[:3], rtol=1e-5)


def test_whole_numbers_will_do(tmp_path):
    one_hot = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    logits = logits_of(teacher(kept(tmp_path, one_hot), output_kind="probabilities"), n=4)
    assert logits.argmax(dim=1).tolist() == [2, 0, 1, 2]
    assert logits.isfinite().all()


def test_saying_something_leaves_the_file_alone(tmp_path):
    path = kept(tmp_path, ROWS.astype(np.float32))
    before = path.read_bytes()
    logits_of(teacher(path)).fill_(0)
    assert path.read_bytes() == before


def test_logits_are_not_taken_for_probabilities(tmp_path):
    assert "if these are logits, give them as logits" in refused(kept(tmp_path), output_kind="probabilities")


@pytest.mark.parametrize(("images", "class_names"), [(5, NAMES), (3, NAMES), (4, NAMES[:2]), (4, (*NAMES, "fox"))])
def test_another_number_of_rows_or_classes_is_refused(tmp_path, images, class_names):
    message = refused(kept(tmp_path), images=images, class_names=class_names)
    assert message.startswith(
        f"4 rows of 3 classes, the training set has {images} images of {len(class_names)} classes"
    )


def test_a_bad_number_is_named_by_its_row_however_far_down(tmp_path):
    rows = np.zeros((9000, 3))
    rows[8500, 1] = np.nan
    assert refused(kept(tmp_path, rows), images=9000).startswith("row 8500: nan for class 1")


@pytest.mark.parametrize(
    "rows", [np.zeros(4), np.zeros((4, 3, 1)), np.zeros((4, 3), dtype=complex), np.zeros((4, 3), dtype=bool)]
)
def test_an_array_of_another_kind_is_refused(tmp_path, rows):
    assert refused(kept(tmp_path, rows)).startswith(f"{rows.dtype} of shape {rows.shape}: expected real numbers")


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    path = tmp_path / "words.npy"
    np.save(path, np.array([[Trap()]], dtype=object), allow_pickle=True)
    assert "not a readable .npy file" in refused(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not numbers"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "words.npy"
    path.write_bytes(content)
    assert "not a readable .npy file" in refused(path)


def test_an_archive_is_refused(tmp_path):
    np.savez(tmp_path / "words.npz", rows=ROWS)
    path = (tmp_path / "words.npz").rename(tmp_path / "words.npy")
    assert "archive of several arrays" in refused(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "no such file" in refused(tmp_path / "words.npy")


def test_another_kind_of_file_is_named(tmp_path):
    (tmp_path / "words.csv").touch()
    assert "known are .npy and .parquet" in refused(tmp_path / "words.csv")


def test_an_unknown_kind_of_output_is_named(tmp_path):
    with pytest.raises(InputError, match="unknown kind of output 'probs'"):
        teacher(kept(tmp_path), output_kind="probs")
