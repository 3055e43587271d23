"""Tuning end to end: the trials and their journal, stops, pruning, failures, and the comparison after them."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("optuna", reason="needs optuna (extra tune)")

from preceptor.compare import tune_trials
from preceptor.compare.comparison_result import ComparisonResult
from preceptor.compare.space import configured, parse_space
from preceptor.compare.tune import tune
from preceptor.compare.tune_result import TuneResult
from preceptor.compare.tune_study import drawn, importance, next_trial, open_study, quiet_optuna
from preceptor.compare.tune_trials import TuneOptions
from preceptor.data import load_dataset
from preceptor.errors import InputError, Interrupted, MachineError
from preceptor.result_files import read_result
from preceptor.run import resolve
from preceptor.run.resume import run_entries, run_state
from preceptor.training import Callback
from tests.training_helpers import SMALL_RUN

RATES = ["training.learning_rate=0.01..0.3:log", "training.epochs=1..3"]


def config(**settings):
    """Processes of trials see the real CPU, so that a precision is named."""
    return resolve({**SMALL_RUN, "student": "convnet4", "precision": "fp32", "recipe": "none", **settings})


def tuned(out: Path, texts=RATES, settings=None, **options):
    options = {"trials": 4, "final_seeds": 0, "jobs": 1, "force": True, **options}
    return tune(config(**(settings or {})), parse_space(texts), out, TuneOptions(**options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search with its final comparison, in which the best trial is not that of the defaults."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    texts = ["training.learning_rate=0.001,0.05", "training.epochs=2..8"]
    settings = {"training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.001}}
    return out, tuned(out, texts, settings, trials=5, final_seeds=2), (texts, settings)


def states(out: Path) -> list[str]:
    """Of all trials in the journal, those too in whose midst the process ended."""
    with quiet_optuna():
        return [trial.state.name for trial in open_study(out).get_trials(deepcopy=False)]


def test_the_objective_is_the_last_line_of_a_trials_metrics(whole):
    out, result, _ = whole
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3, 4]
    for trial in result.trials:
        assert trial.state == "complete"
        entries = run_entries(out / trial.folder)
        last = [entry for entry in entries if entry["event"] == "epoch"][-1]
        assert last["validation_accuracy"] == trial.held_out == entries[-1]["validation"]["accuracy"]
        assert last["epoch"] == trial.epochs == trial.settings["training.epochs"]
    assert result.best_trial.held_out == max(trial.held_out for trial in result.trials)
    assert result.held_out_images == entries[-1]["validation"]["n"]
    assert read_result(TuneResult, out / "tune.json") == result


def test_no_trial_looks_at_the_test_set(whole):
    out, result, _ = whole
    assert all(run_entries(out / trial.folder)[-1]["test"] is None for trial in result.trials)


def test_the_first_trial_has_the_defaults(whole):
    _, result, _ = whole
    assert result.trials[0].settings == {"training.learning_rate": 0.001, "training.epochs": 2}
    assert [trial.is_default for trial in result.trials] == [True, False, False, False, False]


def test_the_final_numbers_are_those_of_runs_with_new_seeds(whole):
    out, result, (_, settings) = whole
    compared = read_result(ComparisonResult, out / "final/compare.json")
    best = configured(config(**settings), result.best_trial.settings)
    assert result.final.seeds == [1, 2]
    for name, measure, expected in (
        ("tuned", result.final.tuned, best),
        ("default", result.final.default, config(**settings)),
    ):
        arm = next(arm for arm in compared.arms if arm.recipe == name)
        for seed, folder, accuracy in zip(arm.seeds, arm.folders, measure.values, strict=True):
            end = run_entries(out / "final" / folder)[-1]
            assert end["test"]["accuracy"] == pytest.approx(accuracy)
            ran = resolve(yaml.safe_load((out / "final" / folder / "run.yaml").read_text())["config"])
            assert ran == expected.model_copy(update={"seed": seed})
    tuned_mean, default_mean = result.final.tuned.mean, result.final.default.mean
    assert result.final.difference.mean == pytest.approx(tuned_mean - default_mean)
    assert result.final.samples == len(load_dataset("digits").test.labels)


def test_the_best_settings_are_a_configuration(whole):
    out, result, (_, settings) = whole
    content = yaml.safe_load((out / "best.yaml").read_text())
    assert resolve(content) == configured(config(**settings), result.best_trial.settings)
    assert (
        resolve(content).model_dump_json()
        == resolve(
            yaml.safe_load((out / result.best_trial.folder / "run.yaml").read_text())["config"]
        ).model_dump_json()
    )


def test_the_journal_is_lines_of_json(whole):
    out, _, _ = whole
    for line in (out / "journal.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
    assert not any(b"\x80\x04" in path.read_bytes()[:2] for path in out.rglob("*") if path.is_file())


def test_given_again_it_trains_nothing_and_with_more_trials_those(whole, tmp_path, monkeypatch):
    before, result, (texts, settings) = whole
    out = Path(shutil.copytree(before, tmp_path / "out"))
    with monkeypatch.context() as patched:
        patched.setattr(tune_trials, "run", None)
        patched.setattr("preceptor.compare.run_comparison.collect", None)
        again = tuned(out, texts, settings, trials=5, final_seeds=2)
        assert again.trials == result.trials
        assert again.final == result.final
    more = tuned(out, texts, settings, trials=7)
    assert more.trials[:5] == result.trials
    assert len(more.trials) == 7


def test_a_sampler_that_starts_anew_draws_nothing_twice(tmp_path):
    space = ["training.learning_rate=0.01..0.3:log"]
    for trials in (2, 3, 4, 5):
        result = tuned(tmp_path / "out", space, sampler="random", trials=trials)
    assert len({trial.settings["training.learning_rate"] for trial in result.trials}) == 5


def test_a_new_best_replaces_the_runs_of_the_old_one(tmp_path):
    texts = ["training.epochs=1..16"]
    settings = {"training": {"epochs": 1, "batch_size": 16}}
    first = tuned(tmp_path / "out", texts, settings, trials=1, final_seeds=1)
    assert first.final.tuned == first.final.default  # the defaults alone, trained once
    assert first.final.difference is None
    assert not (tmp_path / "out/final/runs/tuned").exists()
    second = tuned(tmp_path / "out", texts, settings, trials=4, final_seeds=1)
    assert second.best != 0
    assert second.final.default == first.final.default
    third = tuned(tmp_path / "out", texts, settings, trials=9, final_seeds=1)
    folder = tmp_path / "out/final/runs/tuned/seed-1"
    epochs = yaml.safe_load((folder / "run.yaml").read_text())["config"]["training"]["epochs"]
    assert epochs == third.best_trial.settings["training.epochs"]


@pytest.mark.nightly
def test_trials_side_by_side_are_as_many_as_asked_for(tmp_path):
    result = tuned(tmp_path / "out", sampler="random", trials=5, jobs=2)
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3, 4]
    assert states(tmp_path / "out") == ["COMPLETE"] * 5
    alone = tuned(tmp_path / "alone", sampler="random", trials=5)
    assert alone.trials[0].held_out == result.trials[0].held_out


def test_a_grid_covers_all(tmp_path):
    texts = ["training.learning_rate=0.02,0.05", "training.epochs=1..2"]
    result = tuned(tmp_path / "out", texts, sampler="grid", trials=None)
    points = [(trial.settings["training.learning_rate"], trial.settings["training.epochs"]) for trial in result.trials]
    assert points[0] == (0.05, 2)  # the defaults
    assert sorted(points) == [(0.02, 1), (0.02, 2), (0.05, 1), (0.05, 2)]
    with pytest.raises(InputError, match="the grid has 4 points"):
        tuned(tmp_path / "fewer", texts, sampler="grid", trials=3)


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_a_trial_far_below_the_others_is_pruned(tmp_path, monkeypatch, pruner):
    """By accuracies of our own: those of so small students are luck."""
    accuracy = [0.9, 0.8, 0.85, 0.9, 0.8, 0.1, 0.05, 0.02]

    class Reports(tune_trials._Pruning):
        def on_epoch_start(self, trainer, epoch, first):
            value = accuracy[self._trial.number]
            monkeypatch.setattr(tune_trials, "run_entries", lambda folder: [{"validation_accuracy": value}])
            super().on_epoch_start(trainer, epoch, first)

    monkeypatch.setattr(tune_trials, "_Pruning", Reports)
    texts = [f"training.weight_decay={','.join(str(n / 1000) for n in range(8))}"]
    settings = {"training": {"epochs": 3, "batch_size": 32, "weight_decay": 0.0}}
    result = tuned(tmp_path / "out", texts, settings, sampler="grid", trials=None, pruner=pruner)
    pruned = {trial.number: trial for trial in result.trials if trial.state == "pruned"}
    if pruner == "median":
        assert set(pruned) == {5, 6, 7}
    assert bool(pruned) == (pruner != "none")
    for number, trial in pruned.items():
        assert trial.held_out == accuracy[number]
        assert 1 <= trial.epochs < 3
        assert trial.folder is None
        assert not (tmp_path / "out/trials" / f"{number:03}").exists()
    assert result.best_trial.state == "complete"


def test_a_trial_that_diverges_is_a_failed_one(tmp_path):
    result = tuned(tmp_path / "out", ["training.learning_rate=0.05,1e30"], sampler="grid", trials=None)
    assert [trial.state for trial in result.trials] == ["complete", "failed"]
    failed = result.trials[1]
    assert failed.held_out is None
    assert "not finite" in failed.reason or "nan" in failed.reason or "inf" in failed.reason
    assert run_state(tmp_path / "out" / failed.folder) == "failed"
    assert result.best == 0


def test_without_a_complete_trial_the_reason_is_told(tmp_path):
    with pytest.raises(InputError, match=r"no trial is complete: .*(not finite|inf|nan)"):
        tuned(tmp_path / "out", ["training.learning_rate=1e29,1e30"], sampler="grid", trials=None)


SCRIPT = """
from pathlib import Path
from tests.compare.test_tune import tuned, LONG
if __name__ == "__main__":
    tuned(Path({out!r}), {texts!r}, LONG, trials=3, checkpoint_seconds=0)
"""
LONG = {"training": {"epochs": 12, "batch_size": 16}, "train_images": 100}
LONG_SPACE = ["training.learning_rate=0.01..0.3:log"]


def kill_in(out: Path, number: int) -> None:
    """Start a search in a process and kill it in the midst of a trial."""
    script = SCRIPT.format(out=str(out), texts=LONG_SPACE)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    until = time.monotonic() + 120
    metrics = out / "trials" / f"{number:03}" / "metrics.jsonl"
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 2) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


class _Stop(Callback):
    """Ctrl-C in the second epoch of a trial."""

    def on_epoch_start(self, trainer, epoch, first):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def stop_in_first(out: Path, monkeypatch, **options) -> None:
    real = tune_trials.run
    with monkeypatch.context() as patched:
        patched.setattr(tune_trials, "run", lambda config, out, _, **more: real(config, out, [_Stop()], **more))
        with pytest.raises(Interrupted, match="give the same command again"):
            tuned(out, **options)


def test_killed_and_stopped_it_makes_as_many_trials_as_asked_for(tmp_path, monkeypatch):
    out, long = tmp_path / "out", {"texts": LONG_SPACE, "settings": LONG, "trials": 3}
    kill_in(out, 1)
    assert states(out) == ["COMPLETE", "RUNNING"]
    with (out / "journal.jsonl").open("a") as file:
        file.write('{"op_code":8,"torn')
    stop_in_first(out, monkeypatch, **long)
    assert states(out) == ["COMPLETE", "FAIL", "RUNNING"]  # the one taken up again
    assert not (out / "trials/001").exists()
    result = tuned(out, **long)
    assert states(out) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.number for trial in result.trials] == [0, 3, 4]
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["000", "003", "004"]
    undisturbed = tuned(tmp_path / "other", **{**long, "trials": 2})
    for one, other in zip(result.trials, undisturbed.trials, strict=False):
        assert (one.settings, one.held_out, one.is_default) == (other.settings, other.held_out, other.is_default)


def begun(out: Path, number: int) -> bool:
    """Whether a trial has measured two epochs."""
    return len(run_entries(out / "trials" / f"{number:03}")) >= 2


def when(condition, then) -> threading.Thread:
    """A thread that does something as soon as a condition holds."""

    def wait() -> None:
        until = time.monotonic() + 120
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_worker_that_is_killed_leaves_its_trial_to_the_others(tmp_path):
    out = tmp_path / "out"

    def kill_one() -> None:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = when(lambda: begun(out, 0) and begun(out, 1), kill_one)
    result = tuned(out, LONG_SPACE, LONG, trials=4, jobs=2)
    killer.join()
    assert sorted(states(out)) in (["COMPLETE"] * 4 + ["FAIL"], ["COMPLETE"] * 4)  # or it was between two trials
    assert [trial.state for trial in result.trials] == ["complete"] * 4
    assert {trial.is_default for trial in result.trials} == {True, False}  # be it theirs that was lost
    assert not list(out.glob(".trial-*"))


@pytest.mark.nightly
def test_the_same_command_joins_and_goes_on_alone_when_the_first_is_killed(tmp_path):
    out = tmp_path / "out"
    script = SCRIPT.format(out=str(out), texts=LONG_SPACE)
    first = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    until = time.monotonic() + 120
    while not begun(out, 0) and time.monotonic() < until:
        assert first.poll() is None
        time.sleep(0.01)
    killer = when(lambda: begun(out, 1), first.kill)
    result = tuned(out, LONG_SPACE, LONG, trials=3)
    killer.join()
    assert first.wait() == -signal.SIGKILL
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    assert sorted(states(out)) in (["COMPLETE"] * 3 + ["FAIL"], ["COMPLETE"] * 3)  # or it had just ended its trial


@pytest.mark.nightly
def test_of_two_commands_at_a_time_both_end_in_the_same_result(tmp_path):
    out, space = tmp_path / "out", ["training.learning_rate=0.01..0.3:log"]
    settings = {"training": {"epochs": 4, "batch_size": 16}}
    script = (
        "from pathlib import Path; from tests.compare.test_tune import tuned; "
        f"print(tuned(Path({str(out)!r}), {space!r}, {settings!r}, trials=4, final_seeds=1).model_dump_json())"
    )
    root = Path(__file__).parents[2]
    other = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
    result = tuned(out, space, settings, trials=4, final_seeds=1)
    printed, _ = other.communicate(timeout=300)
    assert other.returncode == 0
    assert TuneResult.model_validate_json(printed) == result
    assert states(out) == ["COMPLETE"] * 4


def test_workers_that_all_end_without_a_trial_are_told_of(tmp_path):
    def broken(calls, jobs, report):
        yield from ((number, MachineError("job 7 failed")) for number, _ in enumerate(calls))

    with pytest.raises(MachineError, match="job 7 failed"):
        tune(config(), parse_space(RATES), tmp_path / "out", TuneOptions(trials=2, jobs=2, force=True), launcher=broken)


def test_a_line_that_a_kill_left_torn_does_no_harm_to_those_who_go_on(tmp_path):
    with quiet_optuna():
        study = open_study(tmp_path)
        study.set_user_attr("before", 1)
        with (tmp_path / "journal.jsonl").open("a") as file:
            file.write('{"op_code":8,"torn')
        study.set_user_attr("after", 2)
        assert open_study(tmp_path).user_attrs == study.user_attrs == {"before": 1, "after": 2}


def test_a_lock_whose_holder_was_killed_is_free(tmp_path):
    script = "import os, signal, sys; from filelock import FileLock; held = [FileLock(path) for path in sys.argv[1:]]; "
    script += "[lock.acquire() for lock in held]; os.kill(os.getpid(), signal.SIGKILL)"
    locks = [str(tmp_path / name) for name in (".journal.lock", ".next.lock", ".trial-000.lock")]
    with quiet_optuna():
        study = open_study(tmp_path)
        study.ask()
        subprocess.run([sys.executable, "-c", script, *locks], check=False)
        with next_trial(study, tmp_path, 1, 0, "random") as trial:
            assert trial is not None
    assert states(tmp_path) == ["FAIL", "RUNNING"]


def test_what_was_planned_is_not_lost_in_a_stop(tmp_path, monkeypatch):
    grid = {"texts": ["training.learning_rate=0.02,0.03"], "sampler": "grid", "trials": None}
    stop_in_first(tmp_path / "out", monkeypatch, **grid)
    stop_in_first(tmp_path / "out", monkeypatch, **grid)
    result = tuned(tmp_path / "out", **grid)
    assert sorted(trial.settings["training.learning_rate"] for trial in result.trials) == [0.02, 0.03]


def test_a_journal_of_something_else_is_refused(tmp_path):
    out = tmp_path / "out"
    tuned(out, trials=1)
    with pytest.raises(InputError, match="begun with another space: choose another --out"):
        tuned(out, RATES[:1])
    with pytest.raises(InputError, match="another configuration and another space"):
        tuned(out, RATES[:1], {"student": "resnet8"})
    with pytest.raises(InputError, match="another configuration:"):
        tuned(out, settings={"seed": 1})
    with pytest.raises(InputError, match="another space and another sampler"):
        tuned(out, RATES[1:], sampler="grid", trials=None)
    (out / "journal.jsonl").write_text("no json\n{}\n")
    with pytest.raises(InputError, match=r"journal.jsonl: damaged"):
        tuned(out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(InputError, match="not empty, and no search"):
        tuned(tmp_path / "other")
    (out / "journal.jsonl").unlink()
    (out / "journal.jsonl").symlink_to(tmp_path / "other/file")
    with pytest.raises(InputError, match="a link, and a search makes none"):
        tuned(out)


def test_without_a_test_set_nothing_is_tried(tmp_path):
    data = load_dataset("digits").train
    np.savez(tmp_path / "data.npz", train_images=data.images.squeeze(1).numpy(), train_labels=data.labels.numpy())
    settings = {"data": f"arrays:{tmp_path / 'data.npz'}"}
    with pytest.raises(InputError, match=r"no test set.*--final-seeds 0"):
        tuned(tmp_path / "out", settings=settings, final_seeds=1)
    assert not (tmp_path / "out").exists()
    assert tuned(tmp_path / "out", settings=settings, trials=1).final is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"validation": 0}}, "no labeled training image is held out"),
        ({"texts": ["student=convnet4,resnet9"]}, "ResNet depth is 9"),
        ({"texts": ["recipe=none,kd"]}, "the recipe needs a teacher"),
        ({"sampler": "tpf"}, "unknown sampler 'tpf': did you mean 'tpe'"),
        ({"pruner": "medium"}, "unknown pruner 'medium': did you mean 'median'"),
        ({"trials": 0}, "trials are 0; expected 1 or more"),
        ({"final_seeds": -1}, "expected 0 or more"),
        ({"sampler": "grid"}, "a grid takes lists"),
    ],
)
def test_what_cannot_be_searched_is_one_line(tmp_path, options, message):
    with pytest.raises(InputError, match=message) as caught:
        tuned(tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MachineError, match=r"pip install 'preceptor\[tune\]'"):
        tuned(tmp_path / "out")


def test_optuna_writes_nothing_to_the_terminal(tmp_path, capfd):
    tuned(tmp_path / "out", trials=2)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_the_setting_that_matters_is_the_important_one(tmp_path):
    """By accuracies of our own, in a journal: nothing is trained."""
    space = parse_space(["training.learning_rate=0.01..1.0", "training.weight_decay=0.0..0.1"])
    with quiet_optuna():
        study = open_study(tmp_path)
        for number in range(20):
            with next_trial(study, tmp_path, 20, 0, "random") as trial:
                point = drawn(trial, space)
                assert importance(study) is None or number >= 4
                study.tell(trial, point["training.learning_rate"])
        shares = importance(study)
    assert list(shares) == ["training.learning_rate", "training.weight_decay"]
    assert shares["training.learning_rate"] > 0.8
