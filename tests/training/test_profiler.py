import gzip
import json

import pytest
import torch
from preceptor.training.step_profile import PARTS, REST
from preceptor.training.trace import read_trace

from preceptor.errors import InputError, MachineError
from preceptor.training import Silent, TrainingConfig, fit
from preceptor.training.profiler import Profiler
from tests.training_helpers import BRIEF, digits, few, same_bits, make_student, train, untrained_teacher, weights

FILES = {"profile-trace.json.gz", "profile.json", "profile.txt"}


class Notebook(Silent):
    """Writes down what it is told, and whether a profiler listened then."""

    def __init__(self):
        self.told, self.listening = [], []

    def begin(self, epochs, steps, images):
        self.told.append(("begin", epochs, steps, images))

    def step(self, epoch, images):
        self.told.append(("step", epoch, images))
        self.listening.append(torch.autograd._profiler_enabled())
        torch.ones(2).erfinv()  # which nothing else calls

    def losses(self, make_student, losses):
        self.told.append(("losses", make_student, losses))


class Breaking(Silent):
    """Breaks training off during a step."""

    def __init__(self, at):
        self.left = at

    def step(self, epoch, images):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def files(folder):
    return {path.name for path in folder.iterdir()}


def calls(rows):
    return {row.name: row.calls for row in rows}


def test_the_steps_recorded_are_those_after_the_warm_up(tmp_path):
    notebook = Notebook()
    with Profiler(notebook, tmp_path, skip=2, record=3) as profiler:
        train([make_student("kd")], images=40, training=TrainingConfig(epochs=3, batch_size=16), watcher=profiler)
    assert notebook.listening == [False, False, True, True, True, False, False, False, False]
    assert (profiler.profile.skipped, profiler.profile.steps) == (2, 3)
    assert files(tmp_path) == FILES
    assert calls(profiler.profile.parts) == dict.fromkeys(PARTS, 1) | {"batch": pytest.approx(2), REST: 0}
    assert sum(part.share for part in profiler.profile.parts) == pytest.approx(1)
    assert calls(profiler.profile.operators)["aten::erfinv"] == 1


def test_the_files_say_the_same(tmp_path):
    with Profiler(Silent(), tmp_path, skip=1, record=2) as profiler:
        train([make_student("none"), make_student("none", seed=1)], watcher=profiler)
    assert (tmp_path / "profile.txt").read_text(encoding="utf-8") == profiler.summary()
    data = json.loads((tmp_path / "profile.json").read_text())
    assert data["step_ms"] == profiler.profile.step_ms
    assert {part["name"]: part["calls"] for part in data["parts"]}["student"] == 2
    names = {event.name for event in read_trace(gzip.decompress((tmp_path / "profile-trace.json.gz").read_bytes()))}
    assert names >= {"student", "backward", "aten::convolution"}


def test_everything_is_handed_on(tmp_path):
    def told(watch):
        notebook = Notebook()
        train([make_student()], watcher=watch(notebook))
        return notebook.told

    assert told(lambda notebook: Profiler(notebook, tmp_path)) == told(lambda notebook: notebook)


def test_a_profiled_student_ends_in_the_same_bits(tmp_path):
    profiled, alone = make_student("kd"), make_student("kd")
    with Profiler(Silent(), tmp_path) as profiler:
        train([profiled], watcher=profiler)
    train([alone])
    assert same_bits(weights(profiled.student), weights(alone.network))


def test_what_is_done_between_epochs_is_no_part_of_a_step(tmp_path):
    data = digits()
    with Profiler(Silent(), tmp_path, skip=2, record=3) as profiler:
        for _ in fit(
            [make_student("kd")],
            data.train,
            few(40),
            data.augmentation,
            data.normalization,
            BRIEF,
            teacher=untrained_teacher(),
            watcher=profiler,
        ):
            torch.ones(2).erfinv()
    trace = gzip.decompress((tmp_path / "profile-trace.json.gz").read_bytes())
    assert "aten::erfinv" in {event.name for event in read_trace(trace)}
    assert "aten::erfinv" not in calls(profiler.profile.operators)
    assert profiler.profile.steps == 3


def test_a_short_training_warms_up_for_a_third_of_it(tmp_path):
    with Profiler(Silent(), tmp_path) as profiler:
        train([make_student()], images=40, watcher=profiler)  # two epochs of three steps
    assert (profiler.profile.skipped, profiler.profile.steps) == (2, 4)


def test_a_training_of_one_step_is_not_profiled_and_says_so(tmp_path):
    with Profiler(Silent(), tmp_path) as profiler:
        train([make_student()], images=10, training=TrainingConfig(epochs=1, batch_size=16), watcher=profiler)
    assert profiler.profile is None
    assert profiler.summary() == ("nothing was profiled: training ended with step 1, and the first ones only warm up\n")
    assert files(tmp_path) == {"profile.txt"}
    assert (tmp_path / "profile.txt").read_text(encoding="utf-8") == profiler.summary()


def test_what_never_began_leaves_nothing(tmp_path):
    with Profiler(Silent(), tmp_path):
        pass
    assert files(tmp_path) == set()


@pytest.mark.parametrize(("at", "recorded"), [(1, None), (2, None), (3, None), (4, 1), (5, 2), (7, 3), (9, 3)])
def test_a_training_that_breaks_off_leaves_what_was_recorded(tmp_path, at, recorded):
    profiler = Profiler(Breaking(at), tmp_path, skip=2, record=3)
    with pytest.raises(KeyboardInterrupt), profiler:
        train([make_student()], images=40, training=TrainingConfig(epochs=4, batch_size=16), watcher=profiler)
    assert not torch.autograd._profiler_enabled()
    assert (profiler.profile and profiler.profile.steps) == recorded
    assert files(tmp_path) == (FILES if recorded else {"profile.txt"})
    assert ("nothing was profiled" in profiler.summary()) == (recorded is None)


def test_only_the_first_training_is_profiled(tmp_path):
    notebook = Notebook()
    with Profiler(notebook, tmp_path, skip=1, record=2) as profiler:
        train([make_student()], watcher=profiler)
        written = (tmp_path / "profile.json").read_text()
        notebook.listening.clear()
        train([make_student()], watcher=profiler)
    assert not any(notebook.listening)
    assert (tmp_path / "profile.json").read_text() == written


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    profiler = Profiler(Silent(), tmp_path / "file" / "folder", skip=1, record=1)
    with pytest.raises(MachineError, match="cannot be written"), profiler:
        train([make_student()], watcher=profiler)
    assert not torch.autograd._profiler_enabled()


@pytest.mark.parametrize("wrong", [{"skip": 0}, {"record": 0}])
def test_no_step_to_skip_or_to_record(tmp_path, wrong):
    with pytest.raises(InputError, match="at least 1 each"):
        Profiler(Silent(), tmp_path, **wrong)
