"""Score files: what is written is what is read, and what is not one is refused in one line."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from preceptor.errors import InputError
from preceptor.run.scores import ScoreOrigin, Scores, load_scores, save_scores

ORIGIN = ScoreOrigin(
    component="influence",
    options={"keep": 0.5},
    data="digits",
    data_fingerprint="d",
    teacher_fingerprint="t",
    size=9,
    held_out=3,
    checkpoints=1,
    seed=0,
    preceptor="0",
)
SCORES = Scores(
    torch.tensor([1, 4, 7]), torch.tensor([0.5, float("nan"), -2.0]), torch.tensor([True, True, False]), ORIGIN
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    save_scores(tmp_path / "s", SCORES)
    found = load_scores(tmp_path / "s")
    assert found.origin == ORIGIN
    assert found.index.tolist() == [1, 4, 7]
    torch.testing.assert_close(found.score, SCORES.score, equal_nan=True)
    assert found.selected.tolist() == [True, True, False]


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x04pickle", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_what_is_no_score_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(InputError, match=r"score file.*preceptor select"):
        load_scores(tmp_path / "s")


def test_a_missing_or_truncated_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: not a whole score file"):
        load_scores(tmp_path / "none")
    save_scores(tmp_path / "s", SCORES)
    (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[:-1])
    with pytest.raises(InputError, match="not a whole score file"):
        load_scores(tmp_path / "s")


@pytest.mark.parametrize(
    "changed",
    [
        {"index": torch.tensor([1, 4])},
        {"index": torch.tensor([1.0, 4.0, 7.0])},
        {"score": torch.tensor([[1.0, 2.0, 3.0]])},
        {"selected": torch.tensor(True)},
        {"more": torch.zeros(3)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_tensors_that_do_not_belong_together(tmp_path: Path, changed: dict[str, torch.Tensor]) -> None:
    tensors = {"index": SCORES.index, "score": SCORES.score, "selected": SCORES.selected, **changed}
    save_file(tensors, tmp_path / "s", {"preceptor-scores": ORIGIN.model_dump_json()})
    with pytest.raises(InputError, match="damaged: expected index, score, selected"):
        load_scores(tmp_path / "s")


@pytest.mark.parametrize(
    ("origin", "message"), [("{", "damaged"), ("[]", "component is missing"), ('{"name": "x"}', "component is missing")]
)
def test_a_record_that_cannot_be_read(tmp_path: Path, origin: str, message: str) -> None:
    tensors = {"index": SCORES.index, "score": SCORES.score, "selected": SCORES.selected}
    save_file(tensors, tmp_path / "s", {"preceptor-scores": origin})
    with pytest.raises(InputError, match=message):
        load_scores(tmp_path / "s")


def test_writing_again_replaces_the_whole(tmp_path: Path) -> None:
    save_scores(tmp_path / "s", SCORES)
    save_scores(tmp_path / "s", dataclasses.replace(SCORES, score=torch.tensor([1.0, 2.0, 3.0])))
    assert load_scores(tmp_path / "s").score.tolist() == [1.0, 2.0, 3.0]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
