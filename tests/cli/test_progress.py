import io

import pytest
from rich.console import Console

from preceptor.cli import progress
from preceptor.cli.progress import ImageBar, ProgressBar


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


def train_a_little(bar: ProgressBar) -> None:
    with bar:
        bar.begin(epochs=2, steps=3, images=40)
        for epoch in (1, 2):
            for images in (16, 16, 8):
                bar.step(epoch, images)
            bar.losses("student", {"ce": 0.51234, "kl": 1.25, "total": 1.76234})


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
        bar.begin(epochs=10, steps=10, images=100)
        for step in range(100):
            clock[0] += 1.0
            bar.step(1 + step // 10, 10)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 3  # at 31, 62 and 93 seconds
    assert lines[0].startswith("convnet8: epoch 4/10, 31 %")
    assert all("\x1b" not in line for line in lines)


def test_a_line_tells_the_losses_too(clock, capsys):
    with (bar := ProgressBar("convnet8")):
        bar.begin(epochs=1, steps=2, images=20)
        bar.losses("student", {"ce": 0.5})
        clock[0] = 31.0
        bar.step(1, 10)
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
            bar.begin(epochs=1, steps=1, images=10)
            bar.step(1, 10)
    assert len(bar._progress.tasks) == 1


def test_predictions_are_counted_image_by_image(terminal):
    with ImageBar() as bar:
        bar.start("predicting", 3)
        for _ in range(3):
            bar.advance(1)
        assert (bar._progress.tasks[0].completed, bar._progress.tasks[0].total) == (3, 3)
    assert "predicting" in terminal.getvalue()
