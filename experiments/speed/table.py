"""A bench's result as tables, and whether it reaches the targets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from experiments.speed.cases import ALONE, BASELINE, VARIANTS
from experiments.speed.result import CaseResult, Row, SpeedResult, Spread

EMPTY = "–"
Lines = list[tuple[str, ...]]

TARGET_PAIR, TARGET_BATCH_SIZE = "resnet32x4:resnet8x4", 64
_NAMES = {BASELINE: "the baseline loop", ALONE: "the student alone"}


@dataclass(frozen=True)
class Target:
    """A speedup to reach: a median over rounds, on the target's pair and batch size.

    Attributes:
        device: kind of device it is for.
        variant: that is to be fast.
        of: the variant it is compared with, in the same rounds: the baseline or the student alone.
        least: times as fast as that, for each student.
        with_bf16: it was set on a machine with units for bf16, and depends on them.
    """

    device: Literal["cpu", "cuda"]
    variant: str
    of: str
    least: float
    with_bf16: bool = False

    def verdict(self, case: CaseResult, lacks_bf16: str | None) -> tuple[Spread | None, str]:
        """What was measured, and "reached", "missed" or "not measured", with the reason."""
        row = case.row(self.variant)
        spread = None if row is None else row.to_baseline if self.of == BASELINE else row.to_alone
        if spread is None:
            reason = case.left_out.get(self.variant)
            return None, f"not measured: {reason}" if reason else "not measured"
        verdict = "reached" if spread.median >= self.least else "missed"
        set_elsewhere = self.with_bf16 and lacks_bf16 is not None
        return spread, f"{verdict}; set where a CPU has units for bf16" if set_elsewhere else verdict


TARGETS = (
    Target("cpu", "live-fp32", BASELINE, 1.4),
    Target("cpu", "live-bf16-teacher", BASELINE, 1.8, with_bf16=True),
    Target("cpu", "live", BASELINE, 2.5, with_bf16=True),
    Target("cpu", "cache", BASELINE, 5.5, with_bf16=True),
    Target("cpu", "cache", ALONE, 1 / 1.05),
    Target("cpu", "live-8", BASELINE, 4.5, with_bf16=True),
    Target("cuda", "live", BASELINE, 15),
    Target("cuda", "cache", BASELINE, 25),
    Target("cuda", "cache", ALONE, 1 / 1.3),
)
"""Those for a CPU were set on two cores with AVX512-BF16."""


def speed_tables(result: SpeedResult) -> dict[str, Lines]:
    """Each table under its title, headings first."""
    tables = {
        "Times as fast as the baseline loop, median of the rounds (lower to upper quartile)": _by_case(
            result, lambda row: EMPTY if row.variant == BASELINE else _times(row.to_baseline)
        ),
        "Images a second, median": _by_case(result, lambda row: f"{row.images_per_second.median:,.0f}"),
        "Times as fast as the student alone, median (quartiles)": _by_case(
            result, lambda row: EMPTY if row.variant in (BASELINE, ALONE) or not row.to_alone else _times(row.to_alone)
        ),
    }
    verdicts = _verdicts(result)
    title = f"Targets, for {_arrow(TARGET_PAIR)} at batch {TARGET_BATCH_SIZE}"
    return tables | ({title: [("what", "target", "measured", "verdict"), *verdicts]} if verdicts else {})


def speed_markdown(content: dict[str, Any] | SpeedResult) -> str:
    """The tables in Markdown, with what each variant does and a line on how they were made."""
    result = SpeedResult.model_validate(content)
    text = []
    for title, (heading, *rows) in speed_tables(result).items():
        lines = ["| " + " | ".join(row) + " |" for row in (heading, ("---",) * len(heading), *rows)]
        text += [f"**{title}**", "", *lines, ""]
    return "\n".join([*text, *_details(result), "", provenance(result)])


def provenance(result: SpeedResult) -> str:
    """How the result was made, and on what."""
    load = f", load before {result.machine.load:.1f}" if result.machine.load is not None else ""
    return (
        f"Rounds: {result.cases[0].rounds}, in turns, after a warm-up. Made by `{result.command}` in "
        f"{result.seconds / 60:.1f} min ({result.machine}{load})."
    )


def _details(result: SpeedResult) -> list[str]:
    """A line a variant: what it does, and its precision in the first case that has it."""
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
    """A line a variant with an entry, a column a case."""
    headings = []
    for case in result.cases:
        channels, height, width = case.image
        headings.append(f"{_arrow(case.pair)}, {height}x{width}x{channels}, batch {case.batch_size}")
    lines: Lines = [("variant", *headings)]
    for name in VARIANTS:
        rows = [case.row(name) for case in result.cases]
        cells = tuple(EMPTY if row is None else cell(row) for row in rows)
        lines += [(name, *cells)] if set(cells) != {EMPTY} else []
    return lines


def _verdicts(result: SpeedResult) -> Lines:
    """A line a target for the result's device; none without the case that the targets are set on."""
    lines: Lines = []
    for case in result.cases:
        if (case.pair, case.batch_size) != (TARGET_PAIR, TARGET_BATCH_SIZE):
            continue
        for target in TARGETS:
            if target.device == result.machine.device:
                spread, verdict = target.verdict(case, result.machine.lacks_bf16)
                what = f"{target.variant} against {_NAMES[target.of]}"
                lines.append((what, f"at least {target.least:.2f}", _times(spread) if spread else EMPTY, verdict))
    return lines


def _times(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _arrow(pair: str) -> str:
    return pair.replace(":", " → ")
