import time

from preceptor.speed.clock import seconds_for
from tests.speed.tiny import CPU


def test_the_work_is_done_and_its_time_told(monkeypatch):
    now, done = [10.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += 2.5
        done.append(True)

    assert seconds_for(work, CPU) == 2.5
    assert done == [True]
