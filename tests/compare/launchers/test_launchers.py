"""What launchers share: taking outcomes, watching folders, names; and a launcher of a user's own."""

import pytest

from preceptor.compare.launchers import collect, make_launcher, watching
from preceptor.compare.parallel import processes
from preceptor.errors import InputError, Interrupted, MachineError


def ending_with(*outcomes, closed=None):
    try:
        yield from enumerate(outcomes)
    finally:
        if closed is not None:
            closed.append(True)


def test_an_error_of_one_call_waits_for_the_others():
    taken = []
    with pytest.raises(MachineError, match="first"):
        collect(
            ending_with(1, MachineError("first"), 2, MachineError("second"), 3), lambda *outcome: taken.append(outcome)
        )
    assert taken == [(0, 1), (2, 2), (4, 3)]


@pytest.mark.parametrize("error", [InputError("bad"), Interrupted("stopped"), ValueError("a bug")])
def test_an_error_that_all_would_have_ends_the_others(error):
    taken, closed = [], []
    with pytest.raises(type(error), match=str(error)):
        collect(ending_with(1, error, 2, closed=closed), lambda *outcome: taken.append(outcome))
    assert taken == [(0, 1)]
    assert closed == [True]


def test_images_are_counted_by_the_launcher_or_else_on_disk():
    disk, advanced = [100], []
    report = watching(advanced.append, lambda: disk[0])
    report(0)
    disk[0] = 160
    report(0)
    report(0)
    assert advanced == [0, 60, 0]
    report(50)
    disk[0] = 200
    report(0)  # 110 are counted, 100 are on disk
    assert advanced == [0, 60, 0, 50, 0]


def test_names(tmp_path):
    assert make_launcher("processes", tmp_path, {}) is processes
    with pytest.raises(InputError, match=r"unknown launcher 'slrm': did you mean 'slurm'\?"):
        make_launcher("slrm", tmp_path, {})


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("local", "submitit"), ("ray", "ray")])
def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    extra = "ray" if name == "ray" else "slurm"
    with pytest.raises(MachineError, match=rf"pip install 'preceptor\[{extra}\]'"):
        make_launcher(name, tmp_path, {})
