import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from preceptor.run import progress
from preceptor.run.progress import ImageBar, ProgressBar


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """Standard error, as if it were a terminal of 200 columns."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress,
        "Console",
        lambda **options: Console(file=screen, force_terminal=True, width=200, **options_for(options)),
    )
    return screen


def options_for(given: dict) -> dict:
    return {name: value for name, value in given.items() if name != "stderr"}


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def trainer(epochs: int, images: int, batch: int) -> Any:
    """As much of a trainer as a bar looks at."""
    return SimpleNamespace(
        config=SimpleNamespace(epochs=epochs, batch_size=batch),
        data=SimpleNamespace(index=range(images), rows_per_sample=1),
    )


def step(epoch: int, images: int) -> Any:
    return SimpleNamespace(epoch=epoch, batch=SimpleNamespace(label=range(images)))


def train_a_little(bar: ProgressBar) -> None:
    training = trainer(epochs=2, images=40, batch=16)
    with bar:
        bar.on_train_start(training)
        for epoch in range(2):
            bar.on_epoch_start(training, epoch, 0)
            for images in (16, 16, 8):
                bar.on_step_end(training, step(epoch, images))
            bar.on_log(training, {"student": {"ce": 0.51234, "kl": 1.25, "total": 1.76234}})


def test_a_terminal_shows_epoch_rate_time_and_losses(terminal):
    train_a_little(ProgressBar("convnet8"))
    shown = terminal.getvalue()
    for words in ("convnet8", "epoch 2/2", "images/s", "left", "ce 0.512", "kl 1.250", "total 1.762"):
        assert words in shown


def test_quiet_shows_nothing(terminal, capsys):
    train_a_little(ProgressBar("convnet8", quiet=True))
    with ImageBar(quiet=True) as bar:
        bar.start("demo", 100)
        bar.advance(100)
    assert terminal.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_where_there_is_no_terminal_a_line_is_written_now_and_then(clock, capsys):
    bar = ProgressBar("convnet8")
    with bar:
        training = trainer(epochs=10, images=100, batch=10)
        bar.on_train_start(training)
        for number in range(100):
            clock[0] += 1.0
            bar.on_step_end(training, step(number // 10, 10))
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 3  # at 31, 62 and 93 seconds
    assert lines[0].startswith("convnet8: epoch 4/10, 31 %")
    assert all("\x1b" not in line for line in lines)


def test_a_line_tells_the_losses_too(clock, capsys):
    with (bar := ProgressBar("convnet8")):
        training = trainer(epochs=1, images=20, batch=10)
        bar.on_train_start(training)
        bar.on_log(training, {"student": {"ce": 0.5}})
        clock[0] = 31.0
        bar.on_step_end(training, step(0, 10))
    assert capsys.readouterr().err.rstrip().endswith("ce 0.500")


def test_a_short_run_writes_no_line(clock, capsys):
    train_a_little(ProgressBar("convnet8"))
    assert capsys.readouterr() == ("", "")


def test_a_study_counts_images(terminal):
    with ImageBar() as bar:
        bar.start("demo", 100)
        bar.advance(40)
        bar.advance(60)
    assert "demo" in terminal.getvalue()


def test_a_second_run_starts_its_bar_anew(terminal):
    with (bar := ProgressBar("convnet8")):
        for _ in range(2):
            bar.on_train_start(training := trainer(epochs=1, images=10, batch=10))
            bar.on_step_end(training, step(0, 10))
    assert len(bar._progress.tasks) == 1


def test_a_resumed_run_counts_what_was_done_before(terminal):
    with (bar := ProgressBar("convnet8")):
        training = trainer(epochs=3, images=100, batch=10)
        bar.on_train_start(training)
        bar.on_epoch_start(training, 1, 4)
        assert (bar._progress.tasks[0].completed, bar._progress.tasks[0].total) == (140, 300)
        bar.on_step_end(training, step(1, 10))
        assert bar._progress.tasks[0].completed == 150


def test_predictions_are_counted_image_by_image(terminal):
    with ImageBar() as bar:
        bar.start("predicting", 3)
        for _ in range(3):
            bar.advance(1)
        assert (bar._progress.tasks[0].completed, bar._progress.tasks[0].total) == (3, 3)
    assert "predicting" in terminal.getvalue()
