"""What verbs print: one JSON object for scripts, lines and tables for people, nothing when quiet."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def printable(text: str) -> str:
    """Without what would steer a terminal (names may be a stranger's): such letters are shown as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_line(text: str) -> str:
    """Printable, on one line."""
    return printable(" ".join(text.split()))


def note(text: str) -> None:
    """A line on standard error, as warnings and errors are."""
    sys.stderr.write(f"preceptor: {one_line(text)}\n")  # in one piece: processes of one command share it


def can_make_page(quiet: bool) -> bool:
    """Whether a page can be made; if not, a line says why."""
    from preceptor.errors import MachineError
    from preceptor.reports.page import require_report_extra

    try:
        require_report_extra()
    except MachineError as problem:
        if not quiet:
            note(f"no page: {problem}")
        return False
    return True


def show(
    arguments: argparse.Namespace,
    content: Callable[[], Mapping[str, Any]],
    lines: Callable[[], Iterable["str | Table"]],
) -> None:
    """Print a verb's result as ``--json`` and ``--quiet`` ask: a JSON object of finite numbers, or lines and tables."""
    if arguments.json:
        print(json.dumps(content(), allow_nan=False))
    elif not getattr(arguments, "quiet", False):
        show_lines(lines())


def show_lines(lines: Iterable["str | Table"]) -> None:
    """Print lines and tables for people."""
    for line in lines:
        if isinstance(line, str):
            print(printable(line))
        else:
            from rich.console import Console

            Console().print(line)


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> "Table":
    """A table, its first column to the left and numbers to the right. Cells are names and numbers, never markup."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=None if title is None else Text(printable(title)), title_justify="left")
    for number, name in enumerate(heading):
        made.add_column(Text(printable(name)), justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made
