"""Runs with every kind of teacher, live and through a cache: the same losses, and nothing queried twice."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from preceptor.data import ImageSet, hold_out, subset
from preceptor.errors import InputError
from preceptor.loss import DistillationLoss
from preceptor.losses import KL
from preceptor.run import RunResult, read_config, resolve, run
from preceptor.run.cache_plan import planned_queries
from preceptor.run.fill_cache import fill_cache
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import LogitCache, copy, open_cache, open_readonly
from preceptor.teachers.cache.reader import CHECKSUMS_FILE
from preceptor.training import TrainingConfig
from tests.run.kinds import onnx_file, rows_file
from tests.training_helpers import SMALL_RUN, digits

FEW_EPOCHS = TrainingConfig(**SMALL_RUN["training"])
KD: dict[str, Any] = {**SMALL_RUN, "recipe": "kd", "precision": "fp32"}


def distill(out: Path, **settings: Any) -> RunResult:
    return run(resolve({**KD, **settings}), out)


def losses(folder: Path) -> list[float]:
    """Every term and total of every epoch."""
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][:-1]
    return [value for epoch in epochs for value in (epoch["total"], *epoch["losses"].values())]


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((folder / "run.yaml").read_text())["record"]
    return content


def without_held(content: dict[str, Any]) -> dict[str, Any]:
    """All but how many cells the cache held when the run began."""
    cache = {key: value for key, value in content["teacher"]["cache"].items() if key != "held"}
    return {**content, "teacher": {**content["teacher"], "cache": cache}}


def empty(cache: LogitCache, entries: list[int]) -> None:
    """Empty entries that are undamaged, which nothing else does."""
    checksums = np.memmap(cache.folder / CHECKSUMS_FILE, "<u4", mode="r+")
    checksums[entries] = 0
    checksums.flush()


def student(folder: Path) -> bytes:
    return (folder / "student.safetensors").read_bytes()


def positions() -> torch.Tensor:
    """Which images a small run trains on."""
    labels = digits().train.labels
    pool, _ = hold_out(labels, 0.1, 0)
    return pool[subset(labels[pool], 60, 0)]


@pytest.fixture(scope="module")
def live(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return distill(tmp_path_factory.mktemp("runs") / "live", teacher=teacher)


@pytest.fixture(scope="module")
def cached(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Path]:
    """A run that filled its cache, and the cache; not to be changed."""
    folder = tmp_path_factory.mktemp("caches")
    return distill(folder / "run", teacher=teacher, cache=folder / "cache"), folder / "cache"


def same_losses(result: RunResult, other: RunResult) -> None:
    assert losses(result.folder) == pytest.approx(losses(other.folder), rel=2e-3)


def test_through_a_cache_the_losses_are_the_same_within_its_rounding(
    live: RunResult, cached: tuple[RunResult, Path]
) -> None:
    first, cache = cached
    same_losses(first, live)
    assert losses(first.folder) != losses(live.folder)
    assert first.teacher == live.teacher
    assert live.cached is None
    assert first.cached == open_readonly(cache).count > 60


def test_the_second_run_asks_the_teacher_nothing(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks no network, and one without any teacher comes to the same bits."""
    first, cache = cached
    monkeypatch.setattr(NetworkTeacher, "__call__", lambda *_: pytest.fail("the teacher was asked"))
    again = distill(tmp_path / "again", teacher=teacher, cache=cache)
    alone = distill(tmp_path / "alone", cache=cache)
    for result in (again, alone):
        assert result.cached == 0
        assert result.teacher == first.teacher
        assert student(result.folder) == student(first.folder)
    assert record(first.folder)["teacher"]["cache"]["held"] == 0
    assert record(again.folder)["teacher"]["cache"]["held"] == first.cached
    assert without_held(record(again.folder)) == without_held(record(first.folder))
    assert record(alone.folder)["fingerprints"] == record(first.folder)["fingerprints"]
    assert record(alone.folder)["teacher"]["kind"] == "cache alone"


def test_a_cache_alone_that_lacks_something_is_refused_before_the_first_step(
    cached: tuple[RunResult, Path], tmp_path: Path
) -> None:
    _, cache = cached
    for change in ({"seed": 5}, {"training": {"epochs": 3, "batch_size": 32}}, {"train_images": 80}):
        message = r"lacks [\d,]+ of the [\d,]+ views .*, the first sample \d+, view \d: give --teacher"
        with pytest.raises(InputError, match=message):
            distill(tmp_path / "out", cache=cache, **change)
        assert not (tmp_path / "out").exists()


def test_a_cache_is_filled_where_a_run_asks_and_nowhere_else(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path
) -> None:
    _, cache = cached
    grown = Path(shutil.copytree(cache, tmp_path / "cache"))
    more = distill(tmp_path / "more", teacher=teacher, cache=grown, training={"epochs": 3, "batch_size": 32})
    assert more.cached is not None
    assert 0 < more.cached < 60
    assert distill(tmp_path / "alone", cache=grown, training={"epochs": 3, "batch_size": 32}).cached == 0


def test_what_a_failing_run_queried_is_kept(teacher: Path, tmp_path: Path) -> None:
    training = {"epochs": 3, "batch_size": 32, "learning_rate": 1e18}
    with pytest.raises(InputError, match="lower the learning rate"):
        distill(tmp_path / "run", teacher=teacher, cache=tmp_path / "cache", training=training)
    assert open_readonly(tmp_path / "cache").count > 60


def test_a_cache_of_the_largest_logits(teacher: Path, tmp_path: Path, live: RunResult) -> None:
    result = distill(tmp_path / "run", teacher=teacher, cache=tmp_path / "cache", cache_top_k=3)
    assert open_readonly(tmp_path / "cache").layout.top_k == 3
    assert record(result.folder)["teacher"]["cache"]["top_k"] == 3
    assert losses(result.folder) == pytest.approx(losses(live.folder), rel=0.2)
    assert student(distill(tmp_path / "again", cache=tmp_path / "cache").folder) == student(result.folder)
    with pytest.raises(InputError, match=r"holds .* the 3 largest of 10 logits; expected .* the 4 largest of 10"):
        distill(tmp_path / "other", teacher=teacher, cache=tmp_path / "cache", cache_top_k=4)
    with pytest.raises(InputError, match="top_k = 10 of 10 classes"):
        distill(tmp_path / "other", teacher=teacher, cache=tmp_path / "new", cache_top_k=10)
    assert not (tmp_path / "new").exists()


def test_an_onnx_file_teaches_like_the_network_it_is_of(teacher: Path, tmp_path: Path, live: RunResult) -> None:
    file = onnx_file(teacher, tmp_path / "teacher.onnx")
    settings = {"teacher": file, "teacher_output": "logits"}
    result = distill(tmp_path / "onnx", **settings)
    same_losses(result, live)
    assert record(result.folder)["teacher"]["kind"] == "ONNX file"
    assert record(result.folder)["fingerprints"]["teacher"] != record(live.folder)["fingerprints"]["teacher"]
    filled = distill(tmp_path / "filled", **settings, cache=tmp_path / "cache")
    same_losses(filled, live)
    assert student(distill(tmp_path / "alone", cache=tmp_path / "cache").folder) == student(filled.folder)


@pytest.mark.parametrize("says", ["logits", "probabilities"])
def test_a_file_teaches_like_a_network_that_is_shown_images_as_they_are(
    teacher: Path, tmp_path: Path, says: str
) -> None:
    file = rows_file(teacher, tmp_path / "outputs.npy", says)
    shown = distill(tmp_path / "live", teacher=teacher, augment=False)
    result = distill(tmp_path / "file", teacher=file, teacher_output=says, augment=False)
    same_losses(result, shown)
    assert result.teacher == shown.teacher
    assert record(result.folder)["teacher"]["kind"] == "file"


def test_an_ensemble_of_two_kinds_of_the_same_teacher_is_that_teacher(
    teacher: Path, tmp_path: Path, live: RunResult
) -> None:
    members = [teacher, onnx_file(teacher, tmp_path / "teacher.onnx")]
    for mean in ("probabilities", "logits"):
        result = distill(tmp_path / mean, teacher=members, teacher_output="logits", ensemble_mean=mean)
        same_losses(result, live)
        kind = f"ensemble of 2 (network, ONNX file), mean of {mean}"
        assert record(result.folder)["teacher"]["kind"] == kind
    again = run(resolve(read_config(tmp_path / "logits" / "run.yaml")), tmp_path / "again")
    assert student(again.folder) == student(tmp_path / "logits")


def test_an_ensemble_through_a_cache(teacher: Path, tmp_path: Path) -> None:
    other = run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 2}), tmp_path / "other").folder
    settings = {"teacher": [teacher, other], "ensemble_weights": [3, 1]}
    shown = distill(tmp_path / "live", **settings)
    first = distill(tmp_path / "first", **settings, cache=tmp_path / "cache")
    same_losses(first, shown)
    assert student(distill(tmp_path / "alone", cache=tmp_path / "cache").folder) == student(first.folder)
    for change in ({"ensemble_weights": [1, 3]}, {"ensemble_mean": "logits"}, {"teacher": [other, teacher]}):
        with pytest.raises(InputError, match="made with other teacher weights"):
            distill(tmp_path / "out", **{**settings, **change}, cache=tmp_path / "cache")
    equal = {"teacher": [teacher, other], "ensemble_weights": [6, 2]}
    assert distill(tmp_path / "same", **equal, cache=tmp_path / "cache").cached == 0


def test_a_cache_of_something_else_is_refused(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cache = cached
    other = run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 2}), tmp_path / "other").folder
    with pytest.raises(InputError, match=r"cache .*cache: made with other teacher weights .* give another folder"):
        distill(tmp_path / "out", teacher=other, cache=cache)
    for teachers in ({"teacher": teacher}, {}):
        with pytest.raises(InputError, match=r"made with other augmentation .*'padding': 1, .*'padding': 0"):
            distill(tmp_path / "out", **teachers, cache=cache, augment=False)
    images = ImageSet(255 - digits().train.images, digits().train.labels)
    np.savez(
        tmp_path / "set.npz",
        train_images=images.images.squeeze(1).numpy(),
        train_labels=images.labels.numpy(),
        test_images=digits().test.images.squeeze(1).numpy(),  # type: ignore[union-attr]
        test_labels=digits().test.labels.numpy(),  # type: ignore[union-attr]
    )
    with pytest.raises(InputError, match="made with other training images"):
        distill(tmp_path / "out", cache=cache, data=f"arrays:{tmp_path / 'set.npz'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_a_cache_in_fp32_serves_a_run_in_any_precision(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path, asked: str
) -> None:
    _, cache = cached
    result = distill(tmp_path / "run", teacher=teacher, cache=cache, precision=asked)
    assert result.cached == 0
    assert record(result.folder)["teacher"]["precision"] == "fp32"


def test_a_cache_in_bf16_serves_every_run_but_one_that_insists_on_fp32(teacher: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = distill(tmp_path / "first", teacher=teacher, cache=cache, precision="bf16")
    assert record(first.folder)["precision"] == "bf16"
    assert record(first.folder)["teacher"]["precision"] == "bf16"
    assert ", bf16" in record(first.folder)["teacher"]["optimizations"][0]
    auto = distill(tmp_path / "auto", teacher=teacher, cache=cache, precision="auto")
    assert auto.cached == 0
    assert record(auto.folder)["teacher"]["precision"] == "bf16"
    for teachers in ({"teacher": teacher}, {}):
        with pytest.raises(InputError, match=r"was filled in bf16, and precision is fp32: give --precision auto"):
            distill(tmp_path / "out", **teachers, cache=cache, precision="fp32")


def test_a_cache_filled_ahead_lets_any_seed_do_without_its_teacher(teacher: Path, tmp_path: Path) -> None:
    settings = resolve({**KD, "teacher": teacher, "cache": tmp_path / "cache"})
    queries, _ = fill_cache(settings)
    assert queries == open_readonly(tmp_path / "cache").count == len(digits().train) * 9
    for seed in (3, 4):
        assert distill(tmp_path / str(seed), cache=tmp_path / "cache", seed=seed).cached == 0


def test_a_selection_that_asks_about_few_needs_only_those_in_the_cache(teacher: Path, tmp_path: Path) -> None:
    select = {"name": "random", "keep": 0.5}
    recipe = {"selection": select, "terms": {"kl": {"loss": "kl"}, "ce": {"label_loss": "cross_entropy"}}}
    first = distill(tmp_path / "first", teacher=teacher, cache=tmp_path / "cache", recipe=recipe)
    assert first.distilled_samples == 30
    assert first.cached is not None
    assert first.cached <= 60 + 2 * 30  # each image as it is, and two views of those distilled
    alone = distill(tmp_path / "alone", cache=tmp_path / "cache", recipe=recipe)
    assert student(alone.folder) == student(first.folder)


def test_a_cache_that_holds_no_image_as_it_is_says_nothing_of_the_teacher(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path
) -> None:
    first, cache = cached
    copy = Path(shutil.copytree(cache, tmp_path / "cache"))
    with open_cache(copy, open_readonly(copy).metadata.key) as kept:
        shown = {
            (int(sample), int(view))
            for index, views in planned_queries(
                DistillationLoss(loss=KL()), positions(), digits().augmentation, FEW_EPOCHS, 0
            )
            for sample, view in zip(index, views, strict=True)
        }
        entries = kept.store.chunk(0, filled=True)
        spare = [entry for entry in entries.tolist() if divmod(entry, 9) not in shown]
        assert 0 < len(spare) <= 60
        empty(kept, spare)
    result = distill(tmp_path / "alone", cache=copy)
    assert result.teacher is not None
    assert result.teacher.images == 60 - len(spare)
    assert student(result.folder) == student(first.folder)


def test_the_cache_and_the_run_cannot_share_a_folder(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="for the run and for its cache"):
        distill(tmp_path / "both", teacher=teacher, cache=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_a_teacher_that_cannot_teach_leaves_no_cache_behind(teacher: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(teacher, tmp_path / "teacher"))
    tensors = load_file(broken / "student.safetensors")
    tensors["head.bias"][2] = torch.nan
    save_file(tensors, broken / "student.safetensors")
    with pytest.raises(InputError, match="not finite for 2 of 2 training images"):
        distill(tmp_path / "out", teacher=broken, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_at_a_url_gives_the_same_bits_with_and_without_its_teacher(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path
) -> None:
    first, cache = cached
    url = f"memory://{tmp_path.name}/cache"
    copy(cache, url)
    for name, teachers in (("alone", {}), ("with", {"teacher": teacher})):
        result = distill(tmp_path / name, cache=url, **teachers)
        assert result.cached == 0
        assert student(result.folder) == student(first.folder)
        assert record(result.folder)["teacher"]["cache"]["path"] == url
        assert read_config(result.folder / "run.yaml")["cache"] == url


def test_a_cache_at_a_url_that_lacks_something_is_refused_before_the_first_step(
    cached: tuple[RunResult, Path], teacher: Path, tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}/cache"
    copy(cached[1], url)
    for teachers in ({}, {"teacher": teacher}):
        with pytest.raises(
            InputError, match=r"lacks \d+ of the .*: fill or repair the cache in a local folder, and copy"
        ):
            distill(tmp_path / "out", cache=url, seed=7, **teachers)
    with pytest.raises(InputError, match=r"gone/cache.json: no such file"):
        distill(tmp_path / "out", cache="memory://gone")
    with pytest.raises(InputError, match="made with other augmentation"):
        distill(tmp_path / "out", cache=url, augment=False)
    assert not (tmp_path / "out").exists()
