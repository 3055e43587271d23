"""Jobs by submitit: of its local executor, and of Slurm, whose commands are played by ``fake_slurm``."""

import os
import re
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="needs submitit (extra slurm)")

from preceptor.compare.comparison import cells, comparison
from preceptor.compare.launchers import collect
from preceptor.compare.launchers.submitit import Submitit
from preceptor.compare.passes import train_pass
from preceptor.compare.run_comparison import run_comparison
from preceptor.compare.space import parse_space
from preceptor.compare.tune import tune
from preceptor.compare.tune_trials import TuneOptions
from preceptor.errors import InputError, MachineError
from preceptor.run import resolve
from tests.compare.launchers import calls, fake_slurm
from tests.training_helpers import SMALL_RUN

RUN = {**SMALL_RUN, "student": "convnet4", "precision": "fp32", "training": {"epochs": 6, "batch_size": 32}}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Jobs begin in the working directory, and find the tests there."""
    monkeypatch.chdir(Path(__file__).parents[3])


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A machine with Slurm's commands; the folder of its jobs."""
    monkeypatch.setenv("PATH", f"{fake_slurm.install(tmp_path / 'bin')}:{os.environ['PATH']}")
    (tmp_path / "slurm").mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "slurm"))
    return tmp_path / "slurm"


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.nightly), "slurm"])
def launcher(request, tmp_path):
    if request.param == "slurm":
        request.getfixturevalue("slurm")
    return Submitit(request.param, tmp_path / "out/jobs")


def ignored(images: int) -> None: ...


@pytest.mark.nightly
def test_every_call_is_a_job_and_nothing_is_left(launcher, tmp_path):
    marker = tmp_path / "preempted"
    asked = [partial(calls.doubled, 21), calls.where, partial(calls.preempted_once, marker)]
    assert sorted(launcher(asked, 3, ignored)) == [(0, 42), (1, str(Path.cwd())), (2, "done")]
    assert marker.exists()  # it went through the queue twice
    assert not (tmp_path / "out/jobs").exists()


def test_a_job_that_fails_names_its_log_and_its_last_line(launcher, tmp_path, monkeypatch):
    monkeypatch.setattr("submitit.Job._results_timeout_s", 0)
    outcomes = dict(
        launcher([calls.without_data, partial(calls.doubled, 1), calls.killed, calls.told_to_end], 4, ignored)
    )
    assert outcomes[1] == 2
    for number, last in (
        (0, "preceptor.errors.InputError: no data there"),
        (2, "a line of its own"),
        (3, "stopped, with a checkpoint"),
    ):
        assert isinstance(outcomes[number], MachineError)
        found = re.fullmatch(rf"job \S+ failed \(\w+\): {last}; its log: (\S+)", str(outcomes[number]))
        assert found, outcomes[number]
        assert Path(found[1]).read_text().strip().endswith(last)
        assert Path(found[1]).is_relative_to(tmp_path / "out/jobs")


def test_what_runs_is_canceled_when_nobody_waits_any_more(launcher, tmp_path):
    started = tmp_path / "started"

    def interrupt(images: int) -> None:
        if started.exists() and started.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(launcher([partial(calls.asleep, started)], 1, interrupt))
    until = time.monotonic() + 30
    while Path(f"/proc/{started.read_text()}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{started.read_text()}").exists()


@pytest.mark.nightly
def test_jobs_at_a_time(slurm, tmp_path):
    launcher = Submitit("slurm", tmp_path / "jobs", {"partition": "gpu", "gpus_per_node": 1, "time": 60})
    assert sorted(launcher([partial(calls.doubled, n) for n in range(3)], 2, ignored)) == [(0, 0), (1, 2), (2, 4)]
    array, last = ((slurm / f"{number}.sh").read_text() for number in (1, 2))
    assert "#SBATCH --array=0-1%2\n" in array
    assert "--array" not in last
    for line in ("partition=gpu", "gpus-per-node=1", "time=60", "job-name=preceptor", "nodes=1", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in array
    assert re.search(r"^srun .* -u -m submitit.core._submit \S+$", array, re.MULTILINE)


def test_what_slurm_refuses_is_told(slurm, tmp_path):
    (slurm / "full").touch()
    with pytest.raises(MachineError, match=r"sbatch took no job: .*time limit is invalid.*--slurm"):
        collect(Submitit("slurm", tmp_path / "jobs")([calls.where], None, ignored))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partitoin": "gpu"}, "unknown setting of Slurm 'partitoin': did you mean 'partition'?"),
        ({"time": "1:00"}, "time of a Slurm job is '1:00'; expected whole minutes"),
    ],
)
def test_settings_are_checked_before_anything_is_written(slurm, tmp_path, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Submitit("slurm", tmp_path / "jobs", settings)
    assert not (tmp_path / "jobs").exists()


def test_without_slurm_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="srun is not on the path"):
        Submitit("slurm", tmp_path / "jobs")


def test_a_preempted_pass_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path, slurm):
    one = tuple(cells(comparison(["none"], run=RUN, seeds=1)))
    call = partial(calls.preempted_pass, one, tmp_path / "out", tmp_path / "preempted")
    collect(Submitit("slurm", tmp_path / "out/jobs")([call], None, ignored))
    assert {*(tmp_path / "preempted").read_text().split()} == {"3", "4", "5"}
    train_pass(one, tmp_path / "whole", 60, calls.Counter(ignored))
    weights = [(tmp_path / name / one[0].place / "student.safetensors").read_bytes() for name in ("out", "whole")]
    assert weights[0] == weights[1]


def test_a_comparison_by_jobs_is_that_of_this_process_and_complete_passes_are_not_submitted_again(tmp_path, slurm):
    launcher = Submitit("slurm", tmp_path / "out/jobs")
    plan = comparison(["none"], run=RUN, seeds=2)
    by_jobs = run_comparison(plan, tmp_path / "out", launcher=launcher, force=True)
    assert len(list(slurm.glob("*.pid"))) == 2
    more = comparison(["none"], run=RUN, seeds=3)
    by_jobs = run_comparison(more, tmp_path / "out", launcher=launcher, force=True)
    assert len(list(slurm.glob("*.pid"))) == 3
    here = run_comparison(more, tmp_path / "here", jobs=1, force=True)
    assert [(arm.accuracy.values, arm.nll.values) for arm in by_jobs.arms] == [
        (arm.accuracy.values, arm.nll.values) for arm in here.arms
    ]


@pytest.mark.nightly
def test_a_search_by_jobs_makes_as_many_trials_as_asked_for(tmp_path, slurm):
    pytest.importorskip("optuna", reason="needs optuna (extra tune)")
    options = TuneOptions(trials=3, jobs=2, final_seeds=1, force=True)
    launcher = Submitit("slurm", tmp_path / "out/jobs")
    space = parse_space(["training.learning_rate=0.01..0.3:log"])
    seen = Seen()
    result = tune(
        resolve({**RUN, "training": {"epochs": 3, "batch_size": 32}}),
        space,
        tmp_path / "out",
        options,
        launcher=launcher,
        progress=seen,
    )
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    assert result.final is not None
    assert seen.trials == [0, 1, 2]
    assert seen.images > 0
    assert len(list(slurm.glob("*.pid"))) >= 3  # two that make trials, and the final comparison


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.trials, self.images = [], 0

    def start(self, name, images): ...

    def advance(self, images):
        self.images += images

    def finished(self, done, students): ...

    def trial(self, trial, best, done, trials):
        self.trials.append(trial.number)
