"""Batches with two views of each sample: what they hold, whole trainings and runs, and what does not go with them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from preceptor.compare.parallel import Counter
from preceptor.data import CropFlip, ResizedCrops, TwoViews, named_augmentation
from preceptor.data.composition import augmentation_settings, check_names
from preceptor.errors import InputError, Interrupted
from preceptor.run import resolve, resume, run
from preceptor.run import train as single_module
from preceptor.run.set_up import set_up
from preceptor.teachers.cache import CacheKey, Layout, open_cache
from preceptor.training import TrainingConfig
from preceptor.training.batches import plan_epoch
from tests.run.test_resume import StopsAfter
from tests.training_helpers import (
    BRIEF,
    SMALL_RUN,
    StateAfter,
    batches,
    data_of,
    digits,
    make_student,
    same_bits,
    train,
    untrained_teacher,
    weights,
)

VIEWS = TwoViews(CropFlip(padding=1, flip=False), ResizedCrops(draws=64))
TEXT = "crop-flip,resized-crop"


def test_a_batch_holds_each_sample_in_a_weak_view_and_then_in_a_strong_one() -> None:
    data = data_of(37, VIEWS)
    shown, once = batches(data, 16), batches(data_of(37, VIEWS.weak), 16)
    assert [len(batch.label) for batch in shown] == [32, 32, 10]
    for both, weak in zip(shown, once, strict=True):
        half = len(weak.label)
        assert torch.equal(both.index[:half], weak.index)
        assert torch.equal(both.index[half:], weak.index)
        assert torch.equal(both.label[half:], weak.label)
        assert torch.equal(both.view[:half], weak.view)
        assert torch.equal(both.inputs[:half], weak.inputs)
        assert bool((both.view[half:] >= VIEWS.weak.count).all())
        strong = VIEWS.strong.apply(digits().train.images[weak.index], both.view[half:] - VIEWS.weak.count)
        assert torch.equal(both.inputs[half:], strong)


def test_views_follow_from_seed_and_epoch_and_those_of_a_sample_are_independent() -> None:
    index = torch.arange(4000)
    plans = [
        plan_epoch(index, VIEWS, batch_size=4000, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 0), (0, 1))
    ]
    assert torch.equal(plans[0].view, plans[1].view)
    assert not torch.equal(plans[0].view, plans[2].view)
    weak, strong = plans[0].view.reshape(2, -1).double()
    assert abs(float(torch.corrcoef(torch.stack([weak, strong]))[0, 1])) < 0.06
    same = TwoViews(VIEWS.strong, VIEWS.strong)
    weak, strong = plan_epoch(index, same, batch_size=4000, seed=0, epoch=0).view.reshape(2, -1)
    assert float((weak == strong - 64).double().mean()) < 0.05


def test_numbers_and_names() -> None:
    assert VIEWS.count == 9 + 64
    images = digits().train.images[:3]
    assert torch.equal(VIEWS.apply(images, torch.full((3,), VIEWS.identity)), images)
    assert named_augmentation(TEXT) == TwoViews(CropFlip(4, True), ResizedCrops(flip=False))
    settings = augmentation_settings(VIEWS)
    assert settings["rule"] == "TwoViews"
    assert settings["weak.padding"] == 1
    assert settings["strong.draws"] == 64
    for text, message in (
        ("crop-flip,flip,flip", "expected one, or a weak and a strong one"),
        ("crop-flip,", "unknown"),
    ):
        with pytest.raises(InputError, match=message):
            check_names(text)


@pytest.mark.parametrize("recipe", ["crld", "mlkd-views", "kd", "sld-views"])
def test_a_training_resumes_in_the_same_bits(recipe: str) -> None:
    whole, late, kept = make_student(recipe), make_student(recipe, seed=3), StateAfter(3)
    options: dict[str, Any] = {"augmentation": VIEWS, "precision": "fp32"}
    train([whole], 40, callbacks=[kept], **options)
    train([late], 40, state=kept.state(), **options)
    assert same_bits(weights(whole.network), weights(late.network))
    assert not same_bits(weights(whole.network), weights(make_student(recipe).network))


def test_a_cache_teaches_as_its_teacher_does(tmp_path: Path) -> None:
    rule = TwoViews(digits().augmentation, digits().augmentation)
    live, cached = make_student("crld"), make_student("crld")
    train([live], 40, augmentation=rule, precision="fp32")
    data = digits()
    key = CacheKey.of("teacher", "digits", data.normalization, rule, data.class_names)
    cache = open_cache(
        tmp_path, key, Layout(samples=len(data.train), views=rule.count, classes=10), untrained_teacher()
    )
    train([cached], 40, augmentation=rule, precision="fp32", teacher=cache)
    for one, other in zip(live.network.parameters(), cached.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=2e-3)  # a cache keeps half the digits
    cache.close()


def test_a_compiled_student_sees_both_views_in_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.training import compile as compile_module

    monkeypatch.setattr(compile_module, "BACKEND", "aot_eager")
    plain, compiled = make_student("crld"), make_student("crld")
    train([plain], 32, BRIEF, augmentation=VIEWS, precision="fp32", compile="never")
    train([compiled], 32, BRIEF, augmentation=VIEWS, precision="fp32", compile="always")
    for one, other in zip(plain.network.parameters(), compiled.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {**SMALL_RUN, "student": "convnet4", "seed": 1, "training": {"epochs": 10, "batch_size": 16}}
    return run(resolve(config), tmp_path_factory.mktemp("views") / "teacher").folder


def settings(teacher: Path, **changes: Any) -> dict[str, Any]:
    return {**SMALL_RUN, "recipe": "crld", "teacher": str(teacher), "augment": TEXT, **changes}


def test_a_run_resumes_in_the_same_bits(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = resolve(settings(teacher, cache=str(tmp_path / "cache")))
    with monkeypatch.context() as patch:
        patch.setattr(single_module, "CheckpointCallback", StopsAfter)
        with pytest.raises(Interrupted):
            run(config, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    reported: list[int] = []
    counter = Counter(reported.append)
    run(config, tmp_path / "whole", [counter])
    counter.flush()
    assert sum(reported) == SMALL_RUN["train_images"] * SMALL_RUN["training"]["epochs"], "images, not rows"
    first, second = (load_file(tmp_path / name / "student.safetensors") for name in ("stopped", "whole"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": True}, "term 'crld' compares two views of each image, and one is shown: give a weak and a strong"),
        ({"recipe": "self-adaptive"}, "self_adaptive keeps a value for every sample, and each is shown in two views"),
        ({"recipe": "kd", "training": {"mixup": 0.2}}, "mixup and cutmix mix two images, and two views are of one"),
        ({"training": {"mixup": 0.2}}, "compares two views of a sample, and a mixed image has two labels"),
    ],
)
def test_what_does_not_go_together(teacher: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        set_up(resolve(settings(teacher, **changes)), torch.device("cpu"))


def test_the_trainer_itself_refuses_one_view() -> None:
    with pytest.raises(InputError, match="term 'crld' compares two views of each image"):
        train([make_student("crld")], 40, TrainingConfig(epochs=1, batch_size=8))
