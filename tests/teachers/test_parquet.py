import sys

import numpy as np
import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.teachers.file import FileTeacher
from tests.teachers.fixed_rows import logits_of

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow (extra parquet)")

NAMES = ("cat", "dog", "owl")
COLUMNS = {"cat": [1.0, 0.5, 9.0, 0.0], "dog": [2.0, -1.0, 8.0, 0.0], "owl": [3.0, 0.0, -7.0, 0.25]}
ROWS = np.array(list(COLUMNS.values())).T


def kept(tmp_path, columns):
    from pyarrow.parquet import write_table

    write_table(columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns), tmp_path / "words.parquet")
    return tmp_path / "words.parquet"


def teacher(path, output_kind="logits", images=4, class_names=NAMES):
    return FileTeacher(path, output_kind=output_kind, images=images, class_names=class_names)


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        teacher(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_columns_are_known_by_the_names_of_their_classes(tmp_path):
    shuffled = {name: COLUMNS[name] for name in ("owl", "cat", "dog")}
    assert logits_of(teacher(kept(tmp_path, shuffled)), n=4).tolist() == ROWS.tolist()


def test_columns_are_known_by_the_numbers_of_their_classes(tmp_path):
    numbered = {"2": COLUMNS["owl"], "0": COLUMNS["cat"], "1": COLUMNS["dog"]}
    assert logits_of(teacher(kept(tmp_path, numbered)), n=4).tolist() == ROWS.tolist()


@pytest.mark.parametrize("kind", ["int16", "uint64"])
def test_an_index_puts_the_rows_in_order(tmp_path, kind):
    order = [2, 0, 3, 1]
    columns = {name: [column[image] for image in order] for name, column in COLUMNS.items()}
    path = kept(tmp_path, {**columns, "index": pyarrow.array(order, kind)})
    assert logits_of(teacher(path), n=4).tolist() == ROWS.tolist()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_any_precision_will_do(tmp_path, kind):
    columns = {name: pyarrow.array(np.array(column, kind)) for name, column in COLUMNS.items()}
    logits = logits_of(teacher(kept(tmp_path, columns)), n=4)
    assert logits.dtype == torch.float32
    assert logits.tolist() == ROWS.tolist()


def test_a_class_called_index_is_a_class(tmp_path):
    columns = {"cat": COLUMNS["cat"], "index": COLUMNS["dog"], "owl": COLUMNS["owl"]}
    logits = logits_of(teacher(kept(tmp_path, columns), class_names=("cat", "index", "owl")), n=4)
    assert logits.tolist() == ROWS.tolist()


def test_a_bad_number_is_named_by_its_row_in_the_file(tmp_path):
    rows = {"cat": [0.5, 0.5, 0.4, 1], "dog": [0.5, 0.25, 0.4, 0], "owl": [0, 0.25, 0.4, 0], "index": [3, 2, 1, 0]}
    assert refused(kept(tmp_path, rows), output_kind="probabilities").startswith("row 2: sums to 1.2: ")


def test_a_number_too_large_for_float32_is_refused(tmp_path):
    rows = {**COLUMNS, "owl": [0.0, 0.0, 0.0, 1e300]}
    assert refused(kept(tmp_path, rows)).startswith("row 3: inf for class 2")


@pytest.mark.parametrize(
    ("index", "complaint"),
    [
        ([0, 1, 2, 4], "row 3: index is 4; expected 0 to 3"),
        ([0, -1, 2, 3], "row 1: index is -1; expected 0 to 3"),
        ([3, 1, 0, 1], "row 3: index 1, which row 1 has too"),
        ([0, 1, None, 3], "row 2: column 'index' is empty"),
        ([0.0, 1.0, 2.0, 3.0], "column 'index' is of type double: expected whole numbers"),
    ],
)
def test_an_index_names_each_image_once(tmp_path, index, complaint):
    assert refused(kept(tmp_path, {**COLUMNS, "index": index})).startswith(complaint)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        (("cat", "dog"), "2 columns for 3 classes (missing: 'owl'; unknown: none)"),
        (("cat", "dog", "fox"), "3 columns for 3 classes (missing: 'owl'; unknown: 'fox')"),
        (("cat", "dog", "owl", "label"), "4 columns for 3 classes (missing: none; unknown: 'label')"),
        (("1", "2", "3"), "3 columns for 3 classes (missing: 'cat', 'dog', 'owl'; unknown: '1', '2', '3')"),
    ],
)
def test_other_classes_are_refused(tmp_path, columns, complaint):
    assert refused(kept(tmp_path, {name: [0.0] * 4 for name in columns})).startswith(complaint)


@pytest.mark.parametrize("twice", ["cat", "index"])
def test_a_column_twice_is_refused(tmp_path, twice):
    names = [*COLUMNS, twice, "index"][: 5 if twice == "index" else 4]
    table = pyarrow.Table.from_arrays([pyarrow.array([0, 1, 2, 3])] * len(names), names=names)
    assert "columns for 3 classes" in refused(kept(tmp_path, table))


def test_another_number_of_rows_is_refused(tmp_path):
    assert refused(kept(tmp_path, COLUMNS), images=5).startswith("4 rows for 5 training images")


def test_a_gap_is_named(tmp_path):
    rows = {**COLUMNS, "dog": [1.0, None, 2.0, 3.0]}
    assert refused(kept(tmp_path, rows)).startswith("row 1: column 'dog' is empty")


def test_a_column_of_words_is_refused(tmp_path):
    rows = {**COLUMNS, "dog": ["a", "b", "c", "d"]}
    assert refused(kept(tmp_path, rows)).startswith("column 'dog' is of type string: expected real numbers")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "words.parquet"
    path.write_bytes(content)
    assert "not a readable Parquet file" in refused(path)


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    path = kept(tmp_path, COLUMNS)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MachineError, match=r"pip install 'preceptor\[parquet\]'"):
        teacher(path)
