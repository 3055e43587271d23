import pytest
from pydantic import BaseModel

from preceptor.errors import InputError
from preceptor.result_files import read_result, write_result


class Found(BaseModel):
    seconds: float
    names: tuple[str, ...]


def test_what_is_written_comes_back(tmp_path):
    write_result(Found(seconds=0.1, names=("a", "b")), tmp_path / "found.json")
    assert read_result(Found, tmp_path / "found.json") == Found(seconds=0.1, names=("a", "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "not a readable result file"),
        (b"\xff\xfe", "not a readable result file"),
        (b"[1]", "expected a JSON object, found list"),
        (b'{"seconds": "long", "names": []}', "seconds"),
    ],
    ids=["torn", "no text", "a list", "another shape"],
)
def test_what_is_no_result(tmp_path, content, complaint):
    (tmp_path / "found.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"found\.json.*{complaint}"):
        read_result(Found, tmp_path / "found.json")


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json: not a readable result file"):
        read_result(Found, tmp_path / "nowhere.json")
