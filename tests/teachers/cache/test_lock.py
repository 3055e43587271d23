import contextlib
import fcntl
import os
import tempfile
import threading
from pathlib import Path

import pytest

from preceptor.errors import MachineError
from preceptor.teachers.cache import fill, lock
from preceptor.teachers.cache.lock import LOCK_FILE, locked
from tests.teachers.cache.vault import FEW, RULE, Weighing, agree, cache_in, every_cell, fingerprint, pictures, shown


def test_one_at_a_time(tmp_path):
    inside, most = [], []

    def enter() -> None:
        for _ in range(50):
            with locked(tmp_path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200
    assert max(most) == 1


def test_who_does_not_let_go_is_an_error_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.02)
    with (
        locked(tmp_path),
        pytest.raises(MachineError, match="another process has held the cache's lock"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_it_is_let_go_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    file = os.open(tmp_path / LOCK_FILE, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(file)


def test_a_disk_that_knows_no_locks_is_an_error(tmp_path, monkeypatch):
    def none(file: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(MachineError, match="cannot be locked: Operation not supported: choose a folder on"):
        cache_in(tmp_path / "cache")


@contextlib.contextmanager
def as_somebody_else():
    """Root may write anywhere: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only():
    """A folder that may be read by all and written by none, with a cache half filled."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "cache"
        with cache_in(folder, Weighing()) as cache:
            half = tuple(numbers[:54] for numbers in every_cell())
            cache.learn(shown(*half), *half)
        Path(place).chmod(0o755)
        folder.chmod(0o555)
        for path in folder.iterdir():
            path.chmod(0o444)
        yield folder
        folder.chmod(0o755)


def test_a_read_only_bank_can_be_read_and_refuses_to_be_filled(read_only):
    half = tuple(numbers[:54] for numbers in every_cell())
    with as_somebody_else():
        cache = cache_in(read_only, Weighing())
        assert agree(cache.outputs(shown(*half), *half).logits, Weighing().outputs(shown(*half), *half).logits)
        assert cache.live.asked == []
        with pytest.raises(MachineError, match=r"cache: cannot be written: Permission denied: make the cache's"):
            fill(cache, pictures(), RULE)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be made: Not a directory"):
        cache_in(tmp_path / "file" / "cache")


def test_two_who_make_a_bank_at_once_make_one(tmp_path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(cache_in(tmp_path / "cache").card.fingerprint)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [fingerprint()] * 6
    assert cache_in(tmp_path / "cache").layout == FEW
