"""Caches planned and filled ahead."""

from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data import hold_out
from preceptor.errors import InputError, MachineError
from preceptor.models import load_student
from preceptor.run import resolve
from preceptor.run.fill_cache import fill_cache, plan_cache
from preceptor.teachers import NetworkTeacher
from preceptor.teachers.cache import open_readonly
from tests.run.kinds import rows_file
from tests.training_helpers import digits

IMAGES = len(digits().train)
ENTRIES = IMAGES * 9


def settings(tmp_path: Path, **changes: Any) -> Any:
    return resolve({"recipe": "kd", "cache": tmp_path / "cache", "device": "cpu", "precision": "fp32", **changes})


def test_a_plan_writes_nothing_and_is_what_the_files_come_to(teacher: Path, tmp_path: Path) -> None:
    layout, filled, free_bytes = plan_cache(settings(tmp_path))
    assert not (tmp_path / "cache").exists()
    assert (layout.samples, layout.views, layout.entries) == (IMAGES, 9, ENTRIES)
    assert filled == 0
    assert free_bytes > 0
    fill_cache(settings(tmp_path, teacher=teacher))
    files = (tmp_path / "cache").glob("*.bin")
    assert sum(path.stat().st_size for path in files) == layout.bytes
    assert plan_cache(settings(tmp_path))[1] == ENTRIES


def test_a_plan_of_fewer_logits_and_of_one_view(tmp_path: Path) -> None:
    whole = plan_cache(settings(tmp_path))[0].entry_bytes
    assert plan_cache(settings(tmp_path, cache_top_k=2))[0].entry_bytes < whole
    assert plan_cache(settings(tmp_path, augment=False))[0].entries == IMAGES


def test_a_plan_of_another_cache_than_the_existing_one(teacher: Path, tmp_path: Path) -> None:
    fill_cache(settings(tmp_path, teacher=teacher, train_images=20), trained_on_only=True)
    with pytest.raises(InputError, match="the 2 largest of 10"):
        plan_cache(settings(tmp_path, cache_top_k=2))
    with pytest.raises(InputError, match="made with other augmentation"):
        plan_cache(settings(tmp_path, augment=False))


def test_it_is_full_of_the_teachers_logits(teacher: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    queries, loaded = fill_cache(settings(tmp_path, teacher=teacher), progress=lambda *step: steps.append(step))
    assert queries == open_readonly(tmp_path / "cache").count == ENTRIES
    assert (steps[0], steps[-1]) == ((0, ENTRIES), (ENTRIES, ENTRIES))
    assert [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert (loaded.kind, loaded.precision) == ("network", "fp32")
    network, card = load_student(teacher)
    index = torch.arange(0, IMAGES, 7)
    views = digits().augmentation
    view = index % views.count
    kept = open_readonly(tmp_path / "cache").lookup(index, view)
    with torch.no_grad():
        logits = network(card.normalization()(views.apply(digits().train.images[index], view)))
    assert kept.known.all()
    torch.testing.assert_close(kept.logits, logits, rtol=2e-3, atol=2e-3)


def test_filling_again_asks_nothing(teacher: Path, tmp_path: Path) -> None:
    fill_cache(settings(tmp_path, teacher=teacher))
    assert fill_cache(settings(tmp_path, teacher=teacher))[0] == 0


def test_only_what_is_trained_on(teacher: Path, tmp_path: Path) -> None:
    config = settings(tmp_path, teacher=teacher, validation=0.3)
    trained_on, held_out = hold_out(digits().train.labels, 0.3, 0)
    first: list[tuple[int, int]] = []
    queries, _ = fill_cache(config, trained_on_only=True, progress=lambda *step: first.append(step))
    assert queries == len(trained_on) * 9
    assert first[0] == (0, queries)
    cache = open_readonly(tmp_path / "cache")
    zeros = torch.zeros(1, dtype=torch.int64)
    assert cache.lookup(trained_on, zeros.expand(len(trained_on))).known.all()
    assert not cache.lookup(held_out, zeros.expand(len(held_out))).known.any()
    assert fill_cache(config)[0] == len(held_out) * 9


def test_interrupted_it_goes_on_where_it_was(teacher: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 2000:
            raise KeyboardInterrupt

    config = settings(tmp_path, teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        fill_cache(config, progress=interrupt)
    kept = open_readonly(tmp_path / "cache").count
    assert 2000 <= kept < ENTRIES
    assert fill_cache(config)[0] == ENTRIES - kept


def test_a_long_filling_is_compiled(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("preceptor.run.cache_plan.compiling_pays", lambda role, **facts: asked.append(facts) or True)
    optimize, made = NetworkTeacher.optimize_for_inference, []

    def spy(self: NetworkTeacher, **options: Any) -> NetworkTeacher:
        made.append((options["compile"], options["batch_size"]))
        return optimize(self, **{**options, "compile": False})

    monkeypatch.setattr(NetworkTeacher, "optimize_for_inference", spy)
    fill_cache(settings(tmp_path, teacher=teacher))
    assert made[-1] == (True, 256)
    assert asked[0]["steps"] == -(-ENTRIES // 256)
    fill_cache(settings(tmp_path, teacher=teacher))
    assert made[-1][0] is False
    assert len(asked) == 1


def test_a_cache_that_cannot_be_filled(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no teacher to fill the cache from: give --teacher"):
        fill_cache(settings(tmp_path))
    rows = rows_file(teacher, tmp_path / "outputs.npy")
    with pytest.raises(InputError, match="already holds all outputs"):
        fill_cache(settings(tmp_path, teacher=rows, teacher_output="logits"))
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr("preceptor.teachers.cache.store.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(MachineError, match="MB are needed"):
        fill_cache(settings(tmp_path, teacher=teacher))
