import dataclasses
from importlib import import_module

import pytest
import torch

from preceptor.data import ImageSet, hold_out
from preceptor.errors import InputError
from preceptor.models import load_student
from preceptor.run import resolve, run
from preceptor.run.set_up import set_up
from tests.training_helpers import SMALL_RUN, digits, same_bits, weights


def test_a_student_that_cannot_take_the_images_fails_before_anything_is_written(monkeypatch, tmp_path):
    images = digits().train.images[:, :, :2, :2].contiguous()
    tiny = dataclasses.replace(digits(), train=ImageSet(images, digits().train.labels), test=None)
    monkeypatch.setattr(import_module("preceptor.run.set_up"), "load_dataset", lambda *_, **__: tiny)
    with pytest.raises(InputError, match="model 'convnet8' cannot take images of 2x2 pixels"):
        run(resolve(SMALL_RUN), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_seed_changes_the_student_but_not_what_is_held_out():
    cpu = torch.device("cpu")
    first, second = (set_up(resolve({**SMALL_RUN, "seed": seed}), cpu) for seed in (0, 1))
    assert torch.equal(first.held_out, second.held_out)
    assert torch.equal(first.index, second.index)
    assert not same_bits(weights(first.network), weights(second.network))
    other = set_up(resolve({**SMALL_RUN, "split_seed": 1}), cpu)
    assert torch.equal(other.held_out, hold_out(digits().train.labels, 0.1, 1)[1])
    assert not torch.equal(other.held_out, first.held_out)


def test_the_student_is_saved_before_it_is_measured(monkeypatch, tmp_path):
    def out_of_memory(*_):
        raise RuntimeError("out of memory while measuring")

    run_module = import_module("preceptor.run.train")
    monkeypatch.setattr(run_module.Trainer, "fit", lambda *_: None)
    monkeypatch.setattr(run_module, "measure", out_of_memory)
    with pytest.raises(RuntimeError, match="while measuring"):
        run(resolve(SMALL_RUN), tmp_path / "run")
    load_student(tmp_path / "run")
