from pathlib import Path

import pytest

from preceptor.run import resolve, run
from tests.training_helpers import SMALL_RUN


@pytest.fixture(scope="session")
def teacher(tmp_path_factory) -> Path:
    """The run folder of a small teacher on digits, better than chance; not to be changed."""
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    training = {"epochs": 10, "batch_size": 16}
    run(resolve({**SMALL_RUN, "student": "convnet4", "seed": 1, "training": training}), folder)
    return folder
