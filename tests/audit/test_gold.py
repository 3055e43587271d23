from pathlib import Path

import numpy as np
import pytest

from preceptor.audit.gold import read_gold
from preceptor.errors import InputError

NAMES = ("ant", "bee", "7")


def test_by_index_names_come_before_numbers(tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("label, index\nbee, 3\n0, 1\n7,0\n")
    assert read_gold(tmp_path / "gold.csv", 5, NAMES).tolist() == [2, 0, -1, 1, -1]


def test_a_label_for_every_image(tmp_path: Path) -> None:
    np.save(tmp_path / "gold.npy", np.array([-1, 2, -1]))
    assert read_gold(tmp_path / "gold.npy", 3, NAMES).tolist() == [-1, 2, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,label\n9,ant\n", r"line 2: index '9'; expected 0 to 4"),
        ("index,label\n-1,ant\n", "expected 0 to 4"),
        ("index,label\n1,wasp\n", "neither a class nor a number"),
        ("index,label\n1,3\n", "a label outside 0 to 2"),
        ("index,label\n", "no checked label"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_gold(tmp_path / "gold.csv", 5, NAMES)
