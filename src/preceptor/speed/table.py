"""A bench's result as tables: rows for the terminal, Markdown for the docs."""

from collections.abc import Callable

from preceptor.speed.result import CaseResult, Row, SpeedResult, Spread
from preceptor.speed.targets import BATCH_SIZE, PAIR, Verdict, verdicts
from preceptor.speed.variants import ALONE, PEER, VARIANTS

EMPTY = "–"
Lines = list[tuple[str, ...]]

_AGAINST = {PEER: "the baseline loop", ALONE: "the student alone"}


def speed_tables(result: SpeedResult) -> dict[str, Lines]:
    """Each table under its title, headings first."""
    tables = {
        "Times as fast as the baseline loop, median of the rounds (lower to upper quartile)": _by_case(
            result, _to_peer
        ),
        "Images a second, median": _by_case(result, _rate),
        "Times as fast as the student alone, median (quartiles)": _by_case(result, _to_alone),
    }
    judged = [_judged(verdict) for verdict in verdicts(result)]
    title = f"Targets, for {_named(PAIR)} at batch {BATCH_SIZE}"
    return tables | ({title: [("what", "target", "found", "verdict"), *judged]} if judged else {})


def speed_markdown(result: SpeedResult) -> str:
    """The tables in Markdown, with what each variant does and a line on how they were made."""
    parts = [[f"**{title}**", "", *_in_markdown(lines), ""] for title, lines in speed_tables(result).items()]
    return "\n".join([*(line for part in parts for line in part), *_details(result), "", made(result)])


def made(result: SpeedResult) -> str:
    """How the result was made, and on what."""
    first = result.cases[0]
    load = f", load before {result.machine.load:.1f}" if result.machine.load is not None else ""
    return (
        f"Rounds: {first.rounds}, in turns, after a warm-up. Made by `{result.command}` in "
        f"{result.seconds / 60:.1f} min ({result.machine}{load})."
    )


def _details(result: SpeedResult) -> list[str]:
    """A line a variant: what it does, and by which means in the first case that has it."""
    lines = []
    for name, variant in VARIANTS.items():
        row = next((row for case in result.cases if (row := case.row(name)) is not None), None)
        if row is None:
            reason = next((case.left_out[name] for case in result.cases if name in case.left_out), None)
            lines += [f"- `{name}`: {variant.about}. Left out: {reason}."] if reason else []
            continue
        teacher = f"; teacher: {row.teacher.partition(';')[0]}" if row.teacher else ""
        notes = "".join(f" Warned: {note}" for note in row.notes)
        lines.append(f"- `{name}`: {row.about} (student: {row.student}{teacher}).{notes}")
    return lines


def _by_case(result: SpeedResult, cell: Callable[[Row], str]) -> Lines:
    """A line a variant that some case has something to say of, a column a case."""
    lines = [("variant", *(_heading(case) for case in result.cases))]
    for name in VARIANTS:
        found = [case.row(name) for case in result.cases]
        cells = tuple(EMPTY if row is None else cell(row) for row in found)
        lines += [(name, *cells)] if set(cells) != {EMPTY} else []
    return lines


def _to_peer(row: Row) -> str:
    return EMPTY if row.variant == PEER else _times(row.to_peer)


def _to_alone(row: Row) -> str:
    return EMPTY if row.variant in (PEER, ALONE) or row.to_alone is None else _times(row.to_alone)


def _rate(row: Row) -> str:
    return f"{row.images_per_second.median:,.0f}"


def _judged(verdict: Verdict) -> tuple[str, str, str, str]:
    target = verdict.target
    what = f"{target.variant} against {_AGAINST[target.of]}"
    return what, f"at least {target.least:.2f}", _times(verdict.found) if verdict.found else EMPTY, verdict.told


def _times(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _heading(case: CaseResult) -> str:
    channels, height, width = case.image
    return f"{_named(case.pair)}, {height}x{width}x{channels}, batch {case.batch_size}"


def _named(pair: str) -> str:
    return pair.replace(":", " → ")


def _in_markdown(lines: Lines) -> list[str]:
    heading, *rows = lines
    return ["| " + " | ".join(row) + " |" for row in (heading, ("---",) * len(heading), *rows)]
