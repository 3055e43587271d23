"""Fixtures and settings for the whole suite."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from experiments.torchvision_ops import torchvision_ops as make_torchvision_importable
from preceptor import registry as component_registry

# Tests run side by side, and everything here is small; so do the processes that they start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every machine, however slow: a failure can be looked at again.
settings.register_profile("preceptor", deadline=None, derandomize=True, max_examples=25, database=None)
settings.load_profile("preceptor")

_capabilities = getattr(torch.cpu, "get_capabilities", dict)


def _capabilities_with(bf16_units: bool) -> Callable[[], dict[str, Any]]:
    """This CPU's capabilities, but for units for bf16.

    Those present are AMX: of AVX512-BF16 torch's own compiler would make use where there is none.
    """
    return lambda: {**_capabilities(), "avx512_bf16": False, "amx_bf16": bf16_units}


# Precision "auto" is fp32 on every machine; the fixture ``bf16_units`` shows a test both kinds. Set at once, for what
# the modules of tests and their fixtures compute. Processes that tests start see the real CPU: they name a precision.
torch.cpu.get_capabilities = _capabilities_with(False)


@pytest.fixture(params=[False, True], ids=["without bf16 units", "with bf16 units"])
def bf16_units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the CPU has units for bf16; a test that asks runs with and without them, whatever this CPU has."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", _capabilities_with(request.param))
    return bool(request.param)


@pytest.fixture(scope="session")
def torchvision_ops() -> Iterator[None]:
    """torchvision, and with it timm, can be imported beside a torch for CPUs."""
    with make_torchvision_importable():
        yield


@pytest.fixture
def registry() -> Iterator[None]:
    """Components registered during the test are removed after it."""
    component_registry.components()
    before = dict(component_registry._registered)
    yield
    component_registry._registered.clear()
    component_registry._registered.update(before)
