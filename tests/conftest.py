"""Fixtures and settings for the whole suite."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from preceptor import catalogue, stage

torch.set_num_threads(1)  # tests run side by side, and everything here is small

# The same examples on every machine, however slow: a failure can be looked at again.
settings.register_profile("preceptor", deadline=None, derandomize=True, max_examples=25, database=None)
settings.load_profile("preceptor")


@pytest.fixture
def registry() -> Iterator[None]:
    """Stages registered during the test are forgotten after it."""
    catalogue.stages()
    before = dict(stage._registered)
    yield
    stage._registered.clear()
    stage._registered.update(before)
