import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from preceptor.compare import parallel
from preceptor.compare.parallel import default_jobs, processes, run_seeds
from preceptor.errors import InputError, MachineError
from tests.compare.seeds import (
    NO_TRAINER,
    bad_seed,
    doubled,
    killed_if_first,
    seed_that_checkpoints_first,
    step_of,
    told_to_end,
    warnings_as_by_pillow,
)


@pytest.mark.parametrize(
    ("seeds", "cores", "jobs"),
    [(1, 1, 1), (3, 1, 1), (1, 2, 1), (3, 2, 3), (4, 2, 4), (5, 2, 2), (8, 4, 8), (9, 4, 4), (3, 64, 3)],
)
def test_all_at_once_up_to_two_a_core(seeds, cores, jobs):
    assert default_jobs(seeds, cores) == jobs


def test_outcomes_come_in_the_order_of_the_seeds_and_images_are_counted():
    reported = []
    assert run_seeds(doubled, [3, 1, 2], reported.append, jobs=1) == [6, 2, 4]
    assert sum(reported) == 150


def test_here_too_a_seed_has_one_thread():
    before = torch.get_num_threads()
    assert run_seeds(lambda seed, counter: torch.get_num_threads(), [0, 1], print, jobs=1) == [1, 1]
    assert torch.get_num_threads() == before


def test_threads_are_given_back_when_a_seed_fails():
    before = torch.get_num_threads()
    with pytest.raises(InputError, match="seed 1 has no data"):
        run_seeds(bad_seed, [1], print, jobs=1)
    assert torch.get_num_threads() == before


def test_what_a_seed_raises_comes_through_at_once():
    """The other seed sleeps for a minute: nobody waits for it."""
    started = time.monotonic()
    with pytest.raises(InputError, match=r"^seed 1 has no data$"):
        run_seeds(bad_seed, [0, 1], print, jobs=2)
    assert time.monotonic() - started < 40


def test_seeds_that_end_at_their_next_step_do_not_keep_it_waiting():
    started = time.monotonic()
    with pytest.raises(InputError, match=r"^seed 0 has no data$"):
        run_seeds(seed_that_checkpoints_first, range(6), print, jobs=3)
    assert time.monotonic() - started < 50


def test_a_process_that_is_killed_takes_its_own_call_with_it_and_no_other():
    calls = [partial(killed_if_first, number) for number in range(4)]
    outcomes = dict(processes(calls, 2, print))
    assert [outcomes[number] for number in (1, 2, 3)] == [1, 2, 3]
    assert isinstance(outcomes[0], MachineError)
    assert str(outcomes[0]).startswith("a process ended before it was done")
    assert "\n" not in str(outcomes[0])


def test_pillow_warns_of_nothing():
    assert dict(processes([warnings_as_by_pillow] * 2, 2, print)) == {0: 0, 1: 0}


def test_seeds_whose_process_is_killed_are_told_of():
    with pytest.raises(MachineError, match="a process ended before it was done"):
        run_seeds(killed_if_first, [0, 1], print, jobs=2)


def test_a_process_that_is_told_to_end_is_as_one_that_ended():
    outcomes = dict(processes([partial(told_to_end, number) for number in range(2)], 2, print))
    assert outcomes[1] == 1
    assert isinstance(outcomes[0], MachineError)
    assert "a process was told to end: stopped, with a checkpoint" in str(outcomes[0])


def test_a_counter_reports_now_and_then(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(parallel.time, "monotonic", lambda: clock[0])
    reported = []
    counter = parallel.Counter(reported.append)
    for now in (0.1, 0.2, 0.3, 0.35, 0.6):
        clock[0] = now
        counter.on_step_end(NO_TRAINER, step_of(16))
    assert reported == [48, 32]
    counter.on_step_end(NO_TRAINER, step_of(8))
    counter.flush()
    assert reported == [48, 32, 8]


SLEEPERS = """
import signal, time
from preceptor.compare.parallel import run_seeds

def sleep(seed, counter):
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    print("asleep, Ctrl-C blocked" if blocked else "asleep", flush=True)
    time.sleep(120)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
    run_seeds(sleep, [0, 1], print, jobs=2)
"""


def running(group: int) -> list[str]:
    """The processes of a group that still run; one that has ended may wait for its parent to notice."""
    processes = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        state, _, its_group, *_ = rest.split()
        if int(its_group) == group and state not in "ZX":
            processes.append(f"{name}) {state}")
    return processes


def wait_until_gone(group: int, seconds: float) -> list[str]:
    until = time.monotonic() + seconds
    while (left := running(group)) and time.monotonic() < until:
        time.sleep(0.1)
    return left


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("how", ["Ctrl-C", "kill"])
def test_no_process_outlives_the_end(tmp_path, how):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    main = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert [main.stdout.readline(), main.stdout.readline()] == 2 * ["asleep, Ctrl-C blocked\n"]
        assert len(running(main.pid)) >= 3
        if how == "Ctrl-C":  # the terminal tells everyone
            os.killpg(main.pid, signal.SIGINT)
        else:
            main.kill()
        assert wait_until_gone(main.pid, 20) == []
        errors = main.stderr.read()
        assert errors.count("Traceback") == (0 if how == "kill" else 1)  # this script's own, not the workers'
    finally:
        if running(main.pid):
            os.killpg(main.pid, signal.SIGKILL)
        main.wait()
