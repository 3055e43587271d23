"""Tasks of Ray, on a cluster of this machine alone: ``make nightly``."""

import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs ray (extra ray)")

import ray

from preceptor.compare.comparison import comparison
from preceptor.compare.launchers import collect
from preceptor.compare.launchers.ray import Ray
from preceptor.compare.run_comparison import run_comparison
from preceptor.errors import InputError, MachineError
from tests.compare.launchers import calls
from tests.training_helpers import SMALL_RUN

pytestmark = pytest.mark.nightly
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two CPUs, whose processes find the tests."""
    ray.init(num_cpus=2, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}})
    yield
    ray.shutdown()


def ignored(images: int) -> None: ...


def test_every_call_is_a_task(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    outcomes = dict(Ray()([partial(calls.doubled, 21), calls.where, calls.without_data], 2, ignored))
    assert (outcomes[0], outcomes[1]) == (42, str(tmp_path))
    assert isinstance(outcomes[2], MachineError)
    assert "a task of Ray failed: InputError: no data there" in str(outcomes[2])


def test_a_task_whose_process_dies_is_begun_again(tmp_path):
    assert dict(Ray()([partial(calls.killed_once, tmp_path / "killed")], None, ignored)) == {0: "done"}


def test_what_runs_is_canceled_when_nobody_waits_any_more(tmp_path):
    started = tmp_path / "started"

    def interrupt(images: int) -> None:
        if started.exists() and started.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(Ray()([partial(calls.asleep, started)], 1, interrupt))
    until = time.monotonic() + 30
    while not started.with_suffix(".ended").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert started.with_suffix(".ended").exists()


def test_settings_are_checked():
    with pytest.raises(InputError, match=r"settings of Ray: .*num_gpu"):
        Ray({"num_gpu": 1})


def test_a_comparison_by_tasks_is_that_of_this_process(tmp_path):
    run = {**SMALL_RUN, "student": "convnet4", "precision": "fp32"}
    plan = comparison(["none"], run=run, seeds=2)
    by_tasks = run_comparison(plan, tmp_path / "out", launcher=Ray(), force=True)
    here = run_comparison(plan, tmp_path / "here", jobs=1, force=True)
    assert [(arm.accuracy.values, arm.nll.values) for arm in by_tasks.arms] == [
        (arm.accuracy.values, arm.nll.values) for arm in here.arms
    ]
