from pathlib import Path

import pytest

from preceptor.run import resolve, run
from tests.training_helpers import SMALL_RUN


@pytest.fixture(scope="session")
def teacher(tmp_path_factory) -> Path:
    """The run folder of a small teacher on digits; not to be changed."""
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 1}), folder)
    return folder
