"""The teacher of a run behind its cache: what it is asked through, refused for, and recorded as."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.errors import InputError
from preceptor.run import RunConfig, resolve
from preceptor.run.teachers import LoadedTeacher, compiled, load_teacher
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.base import TeacherOutput
from preceptor.teachers.cache import LogitCache, PooledTeacher, open_readonly
from preceptor.teachers.ensemble import Ensemble
from tests.classroom import digits
from tests.run.kinds import rows_file

CPU = torch.device("cpu")
RULE = digits().augmentation


def loaded(config: RunConfig | None = None, features: bool = False, **settings: Any) -> LoadedTeacher:
    return load_teacher(config or resolve(settings), digits(), RULE, CPU, features=features)


def outputs(teacher: LoadedTeacher, n: int = 4) -> TeacherOutput:
    index = torch.arange(n)
    return TeacherOutput(
        teacher.signal.outputs(digits().train.images[:n], index, torch.full((n,), RULE.identity)).logits
    )


def test_a_network_teaches_fast_and_is_looked_into_as_it_came(teacher: Path) -> None:
    found = loaded(teacher=teacher, precision="fp32")
    assert isinstance(found.signal, NetworkTeacher)
    assert found.network is not None
    assert found.network.report is None
    assert found.signal.report is not None
    assert found.signal.report.folded > 0
    assert found.optimize_for_inference == (str(found.signal.report),)
    torch.testing.assert_close(outputs(found), found.network(digits().train.images[:4]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("asked", "computes"), [("fp32", "fp32"), ("bf16", "bf16")])
def test_the_precision_asked_for_reaches_the_network(teacher: Path, asked: str, computes: str) -> None:
    found = loaded(teacher=teacher, precision=asked)
    assert found.precision == computes
    assert isinstance(found.signal, NetworkTeacher)
    assert found.signal.report is not None
    assert found.signal.report.bf16 is (computes == "bf16")


def test_auto_is_what_the_device_has_units_for(teacher: Path, bf16_units: bool) -> None:
    assert loaded(teacher=teacher).precision == ("bf16" if bf16_units else "fp32")


def test_what_is_no_network_is_in_fp32_whatever_is_asked_for(teacher: Path, tmp_path: Path) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    found = loaded(teacher=rows, teacher_output="logits", precision="bf16")
    assert (found.precision, found.optimize_for_inference, found.network, found.networks) == ("fp32", (), None, ())


def test_a_bank_is_asked_in_the_precision_it_was_filled_in(teacher: Path, tmp_path: Path) -> None:
    """So that it holds the words of one teacher alone."""
    with_bank = {"teacher": teacher, "cache": tmp_path / "cache"}
    loaded(**with_bank, precision="fp32").close()
    found = loaded(**with_bank, precision="bf16")
    assert isinstance(found.cache, LogitCache)
    assert isinstance(found.cache.live, NetworkTeacher)
    assert found.cache.live.report is not None
    assert not found.cache.live.report.bf16


def test_the_record_tells_what_was_met(teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": [teacher, teacher], "cache": tmp_path / "cache", "precision": "fp32", "cache_top_k": 4}
    record = loaded(**settings).record()
    assert record["kind"] == "ensemble of 2 (network, network), mean of probabilities"
    assert record["precision"] == "fp32"
    assert len(record["optimize_for_inference"]) == 2
    kept = record["cache"]
    assert (kept["path"], kept["top_k"]) == (str(tmp_path / "cache"), 4)
    assert kept["fingerprint"]["normalization"].keys() == {
        "mean of member 0",
        "std of member 0",
        "mean of member 1",
        "std of member 1",
    }
    assert kept["fingerprint"]["views"] == {"rule": "CropFlip", "padding": 1, "flip": False}
    assert loaded(teacher=teacher).record()["cache"] is None


def test_features_are_kept_on_request_and_then_always(teacher: Path, tmp_path: Path) -> None:
    settings = {"teacher": teacher, "cache": tmp_path / "cache"}
    first = loaded(**settings, features=True)
    outputs(first)
    first.close()
    again = loaded(**settings)
    assert isinstance(again.cache, LogitCache)
    assert isinstance(again.cache.live, PooledTeacher)
    assert again.keeps_features
    assert again.cache.layout.features > 0
    assert (again.held, again.cached()) == (4, 0)
    outputs(again, 6)
    assert again.cached() == 2
    kept = open_readonly(tmp_path / "cache").lookup(torch.arange(6), torch.full((6,), RULE.identity))
    assert kept.features is not None
    assert kept.known.all()


def test_features_are_a_single_networks(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"features takes a single network, and this teacher is ensemble of 2"):
        loaded(teacher=[teacher, teacher], cache=tmp_path / "cache", features=True)
    assert not (tmp_path / "cache").exists()
    loaded(teacher=teacher, cache=tmp_path / "cache").close()
    with pytest.raises(InputError, match=r"holds 1348 samples .*, asked for are .* features"):
        loaded(teacher=teacher, cache=tmp_path / "cache", features=True)


def test_a_bank_in_front_of_files_alone_is_refused(teacher: Path, tmp_path: Path) -> None:
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    settings: dict[str, Any] = {"teacher_output": "logits", "cache": tmp_path / "cache"}
    for given in (rows, [rows, rows]):
        with pytest.raises(InputError, match=r"outputs.npy already holds all that is outputs: .* leave --cache away"):
            loaded(teacher=given, **settings)
    assert not (tmp_path / "cache").exists()
    mixed = loaded(teacher=[teacher, rows], **settings)
    assert isinstance(mixed.cache, LogitCache)
    assert isinstance(mixed.cache.live, Ensemble)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "no teacher: give --teacher RUN_FOLDER, or --cache DIR of a cache that is filled"),
        ({"cache": "nowhere"}, "cache.json: no such file: give the folder of a cache, or fill one first"),
        ({"teacher": "T", "ensemble_weights": [1.0]}, "ensemble_weights: are for several teachers, and one is given"),
        ({"teacher": ["T", "T"], "ensemble_weights": [1.0]}, "ensemble: 1 weights for 2 members"),
        ({"teacher": ["T", "T"], "ensemble_weights": [1.0, -1.0]}, "ensemble: weight -1.0, allowed are finite"),
        ({"teacher": "T", "cache_top_k": 3}, "cache_top_k = 3: there is no cache: give --cache DIR with it"),
        ({"teacher": "gone"}, "gone: no such folder: give the folder of a run"),
    ],
    ids=lambda value: None if isinstance(value, dict) else " ".join(value.split()[:3]),
)
def test_what_cannot_be(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = settings.get("teacher")
    if given is not None:
        places = {"T": str(teacher)}
        names = given if isinstance(given, list) else [given]
        settings = {**settings, "teacher": [places.get(name, name) for name in names]}
    with pytest.raises(InputError) as caught:
        loaded(**settings)
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_no_place_for_a_bank(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.tex' but no cache"):
        loaded(teacher=teacher, cache=tmp_path)


@pytest.fixture
def asked_to_compile(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each network was asked to be made, none of which is compiled in truth."""
    calls: list[dict[str, Any]] = []
    fast = NetworkTeacher.fast

    def spy(self: NetworkTeacher, **options: Any) -> NetworkTeacher:
        calls.append(options)
        return fast(self, **{**options, "compile": False})

    monkeypatch.setattr(NetworkTeacher, "fast", spy)
    return calls


@pytest.mark.parametrize("behind_a_bank", [False, True])
def test_a_compiled_teacher_takes_the_place_of_the_one_that_was_not(
    teacher: Path, tmp_path: Path, asked_to_compile: list[dict[str, Any]], behind_a_bank: bool
) -> None:
    settings = {"teacher": [teacher, teacher], **({"cache": tmp_path / "cache"} if behind_a_bank else {})}
    config = resolve(settings)
    before = loaded(config)
    live = before.cache.live if before.cache is not None else before.signal
    assert [call["compile"] for call in asked_to_compile] == [False, False]
    after = compiled(before, config, digits(), batch_size=32)
    assert [(call["compile"], call["batch_size"]) for call in asked_to_compile[2:]] == [(True, 32)] * 2
    assert after.cache is before.cache
    assert (after.cache.live if after.cache is not None else after.signal) is not live
    assert after.networks == before.networks
