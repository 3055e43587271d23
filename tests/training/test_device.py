import pytest
import torch

from preceptor.errors import InputError, MachineError
from preceptor.training.device import choose_device, deterministic


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    for available, chosen in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert choose_device("auto").type == chosen


def test_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError, match="finds no CUDA device"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:0", ""])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=f"unknown device '{name}'"):
        choose_device(name)


def test_settings_are_as_they_were_afterwards():
    def settings():
        cudnn = torch.backends.cudnn
        fills = torch.utils.deterministic.fill_uninitialized_memory
        return torch.get_deterministic_debug_mode(), cudnn.benchmark, cudnn.allow_tf32, fills

    before = settings()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert settings() == before
    with pytest.raises(ZeroDivisionError), deterministic():
        raise ZeroDivisionError
    assert settings() == before
