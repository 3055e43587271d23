import argparse
import json

import pytest
from rich.console import Console

from preceptor.cli.printing import note, one_line, printable, show, table

FOR = {
    "people": argparse.Namespace(json=False, quiet=False),
    "scripts": argparse.Namespace(json=True, quiet=False),
    "quiet": argparse.Namespace(json=False, quiet=True),
    "quiet scripts": argparse.Namespace(json=True, quiet=True),
}


@pytest.mark.parametrize(
    ("reader", "printed"),
    [("people", "one\\x1b\n"), ("scripts", '{"a": 1}\n'), ("quiet", ""), ("quiet scripts", '{"a": 1}\n')],
)
def test_a_result_is_shown_to_who_reads_it(capsys, reader, printed):
    show(FOR[reader], lambda: {"a": 1}, lambda: ["one\x1b"])
    assert capsys.readouterr() == (printed, "")


def test_json_holds_no_number_that_is_none():
    with pytest.raises(ValueError, match="JSON"):
        show(FOR["scripts"], lambda: {"a": float("nan")}, list)


def test_what_is_not_shown_is_not_made():
    def unwanted():
        raise AssertionError

    show(FOR["scripts"], dict, unwanted)
    show(FOR["quiet"], unwanted, unwanted)


def test_a_note_is_one_line_on_standard_error(capsys):
    note("two\nlines\x1b[2J")
    assert capsys.readouterr() == ("", "preceptor: two lines\\x1b[2J\n")


def test_names_are_no_markup_and_steer_no_terminal(capsys):
    made = table(["[bold]name", "n"], [["[red]dog\x1b", "1"], ["cat", "12"]], title="[i]title")
    Console(width=40).print(made)
    shown = capsys.readouterr().out
    for name in ("[bold]name", "[red]dog\\x1b", "[i]title"):
        assert name in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("text", ["größe 猫", "a\tb", "\u202e", "\ud800"])
def test_what_is_printable_stays(text):
    kept = printable(text)
    assert kept.isprintable()
    assert (kept == text) == text.isprintable()
    assert "\n" not in one_line(f"{text}\n{text}")


def test_the_lines_are_json_of_one_object_each(capsys):
    show(FOR["scripts"], lambda: {"name": "ü\n"}, list)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"name": "ü\n"}
