"""The teacher of a run, alone and behind its cache: how it is loaded, refused, compiled and recorded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor.errors import InputError
from preceptor.run import RunConfig, resolve
from preceptor.run.teachers import LoadedTeacher, check_teacher, compile_teacher, load_teacher
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import LogitCache
from preceptor.teachers.ensemble import Ensemble
from tests.run.kinds import rows_file
from tests.training_helpers import digits

CPU = torch.device("cpu")
VIEWS = digits().augmentation


def loaded(config: RunConfig | None = None, **settings: Any) -> LoadedTeacher:
    return load_teacher(config or resolve(settings), digits(), VIEWS, CPU)


def logits(loaded: LoadedTeacher, n: int = 4) -> Tensor:
    """Of the first images as they are."""
    outputs = loaded.teacher.outputs(digits().train.images[:n], torch.arange(n), torch.full((n,), VIEWS.identity))
    return outputs.logits


def test_a_network_teaches_fast_and_is_looked_into_as_it_came(teacher: Path) -> None:
    teaching = loaded(teacher=teacher, precision="fp32")
    assert isinstance(teaching.teacher, NetworkTeacher)
    assert teaching.network is not None
    assert teaching.network.report is None
    assert teaching.teacher.report is not None
    assert teaching.teacher.report.folded > 0
    assert teaching.optimizations == (str(teaching.teacher.report),)
    torch.testing.assert_close(logits(teaching), teaching.network(digits().train.images[:4]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("precision", "computes"), [("fp32", "fp32"), ("bf16", "bf16")])
def test_the_precision_reaches_the_network(teacher: Path, precision: str, computes: str) -> None:
    teaching = loaded(teacher=teacher, precision=precision)
    assert teaching.precision == computes
    assert isinstance(teaching.teacher, NetworkTeacher)
    assert teaching.teacher.report is not None
    assert teaching.teacher.report.bf16 is (computes == "bf16")


def test_auto_is_what_the_device_has_units_for(teacher: Path, bf16_units: bool) -> None:
    assert loaded(teacher=teacher).precision == ("bf16" if bf16_units else "fp32")


def test_without_a_network_it_is_fp32_whatever_is_set(teacher: Path, tmp_path: Path) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    teaching = loaded(teacher=rows, teacher_output="logits", precision="bf16")
    assert (teaching.precision, teaching.optimizations, teaching.network, teaching.networks) == (
        "fp32",
        (),
        None,
        (),
    )


def test_behind_a_cache_the_precision_is_the_one_it_was_filled_in(teacher: Path, tmp_path: Path) -> None:
    """So that all its entries are one teacher's."""
    with_cache = {"teacher": teacher, "cache": tmp_path / "cache"}
    loaded(**with_cache, precision="fp32").close()
    teaching = loaded(**with_cache, precision="bf16")
    assert isinstance(teaching.cache, LogitCache)
    assert isinstance(teaching.cache.teacher, NetworkTeacher)
    assert teaching.cache.teacher.report is not None
    assert not teaching.cache.teacher.report.bf16


def test_the_record_of_run_yaml(teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": [teacher, teacher], "cache": tmp_path / "cache", "precision": "fp32", "cache_top_k": 4}
    record = loaded(**settings).record()
    assert record["kind"] == "ensemble of 2 (network, network), mean of probabilities"
    assert record["precision"] == "fp32"
    assert len(record["optimizations"]) == 2
    kept = record["cache"]
    assert (kept["path"], kept["top_k"]) == (str(tmp_path / "cache"), 4)
    assert kept["key"]["normalization"].keys() == {
        "mean of member 0",
        "std of member 0",
        "mean of member 1",
        "std of member 1",
    }
    assert kept["key"]["views"] == {"rule": "CropFlip", "padding": 1, "flip": False}
    assert loaded(teacher=teacher).record()["cache"] is None


def test_what_a_cache_held_and_what_was_added_are_counted(teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": teacher, "cache": tmp_path / "cache"}
    first = loaded(**settings)
    logits(first)
    first.close()
    again = loaded(**settings)
    assert (again.held, again.cached()) == (4, 0)
    logits(again, 6)
    assert again.cached() == 2


def test_a_cache_keeps_as_many_logits_as_before_unless_told_otherwise(teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": teacher, "cache": tmp_path / "cache"}
    loaded(**settings, cache_top_k=4).close()
    again = loaded(**settings).cache
    assert again is not None
    assert again.layout.top_k == 4
    with pytest.raises(InputError, match=r"holds 1,348 images .* the 4 largest of 10 .*; expected .* the 5 largest"):
        loaded(**settings, cache_top_k=5)


def test_a_cache_in_front_of_files_alone_is_refused(teacher: Path, tmp_path: Path) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    settings: dict[str, Any] = {"teacher_output": "logits", "cache": tmp_path / "cache"}
    for files in (rows, [rows, rows]):
        with pytest.raises(InputError, match=r"outputs.npy already holds all outputs: .* leave out --cache"):
            loaded(teacher=files, **settings)
    assert not (tmp_path / "cache").exists()
    mixed = loaded(teacher=[teacher, rows], **settings)
    assert isinstance(mixed.cache, LogitCache)
    assert isinstance(mixed.cache.teacher, Ensemble)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no teacher: give --teacher RUN_FOLDER, or --cache DIR of a cache that is filled"),
        ({"cache": "nowhere"}, "cache.json: no such file: give the folder of a cache, or fill one first"),
        ({"teacher": "T", "ensemble_weights": [1.0]}, "ensemble_weights: are for several teachers, and there is one"),
        ({"teacher": ["T", "T"], "ensemble_weights": [1.0]}, "ensemble: 1 weights for 2 members"),
        ({"teacher": ["T", "T"], "ensemble_weights": [1.0, -1.0]}, "ensemble: weight is -1.0; expected a finite"),
        ({"teacher": "T", "cache_top_k": 3}, "cache_top_k = 3: there is no cache: give --cache DIR with it"),
        ({"teacher": "gone"}, "gone: no such folder; give the folder of a run"),
    ],
    ids=lambda value: None if isinstance(value, dict) else " ".join(value.split()[:3]),
)
def test_settings_that_do_not_fit_are_refused(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "teacher" in settings:
        names = settings["teacher"] if isinstance(settings["teacher"], list) else [settings["teacher"]]
        settings = {**settings, "teacher": [str(teacher) if name == "T" else name for name in names]}
    with pytest.raises(InputError) as caught:
        loaded(**settings)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_no_place_for_a_cache(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.tex' but no cache"):
        loaded(teacher=teacher, cache=tmp_path)


@pytest.fixture
def optimize_options(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """With which options each network was optimized; none is really compiled."""
    calls: list[dict[str, Any]] = []
    optimize = NetworkTeacher.optimize_for_inference

    def spy(self: NetworkTeacher, **options: Any) -> NetworkTeacher:
        calls.append(options)
        return optimize(self, **{**options, "compile": False})

    monkeypatch.setattr(NetworkTeacher, "optimize_for_inference", spy)
    return calls


@pytest.mark.parametrize("behind_a_cache", [False, True])
def test_a_compiled_teacher_takes_the_place_of_the_one_that_was_not(
    teacher: Path, tmp_path: Path, optimize_options: list[dict[str, Any]], behind_a_cache: bool
) -> None:
    settings = {"teacher": [teacher, teacher], **({"cache": tmp_path / "cache"} if behind_a_cache else {})}
    config = resolve(settings)
    before = loaded(config)
    live = before.cache.teacher if before.cache is not None else before.teacher
    assert [call["compile"] for call in optimize_options] == [False, False]
    after = compile_teacher(before, config, digits(), batch_size=32)
    assert [(call["compile"], call["batch_size"]) for call in optimize_options[2:]] == [(True, 32)] * 2
    assert after.cache is before.cache
    assert (after.cache.teacher if after.cache is not None else after.teacher) is not live
    assert after.networks == before.networks


def test_what_a_check_sees_is_cached_and_of_a_cache_alone_what_it_holds(teacher: Path, tmp_path: Path) -> None:
    train, few = digits().train, torch.tensor([3, 8, 40])
    with_teacher = loaded(teacher=teacher, cache=tmp_path / "cache")
    answers = check_teacher(with_teacher, train, few, 10, VIEWS)
    assert answers is not None
    assert with_teacher.cached() == 3
    with_teacher.close()
    alone = loaded(cache=tmp_path / "cache")
    again = check_teacher(alone, train, torch.tensor([2, 3, 8, 9, 40]), 10, VIEWS)
    assert again is not None
    assert torch.equal(again.index, few)
    assert torch.equal(again.predicted, answers.predicted)
    assert check_teacher(alone, train, torch.tensor([2, 9]), 10, VIEWS) is None
