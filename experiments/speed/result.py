"""The result file of ``preceptor bench``."""

from pathlib import Path
from statistics import median, quantiles
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.speed.machine import Machine
from preceptor.result_files import read_result, write_result


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(_Frozen):
    """Median and quartiles of the rounds."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: list[float]) -> "Spread":
        """Quartiles by linear interpolation; of a single value all three are that."""
        low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return Spread(median=median(values), low=low, high=high)


class Row(_Frozen):
    """A variant on a case.

    Attributes:
        variant: its name.
        about: what it does.
        student: its precision, and whether it is compiled.
        teacher: how it was optimized; None where our live teacher is not used.
        students: trained in the same pass.
        seconds: of each round, by all students together.
        first_seconds: of the first round, which does not count: with whatever was compiled.
        images_per_second: through one student, were it alone: images times students over seconds.
        to_baseline: speedup over the baseline loop in the same round, for each student.
        to_alone: the same over the student alone; None where that was not measured.
        notes: Python's warnings.
    """

    variant: str
    about: str
    student: str
    teacher: str | None
    students: int
    seconds: list[float] = Field(min_length=1)
    first_seconds: float
    images_per_second: Spread
    to_baseline: Spread
    to_alone: Spread | None
    notes: list[str]


class CaseResult(_Frozen):
    """All variants on a case.

    Attributes:
        pair: ``TEACHER:STUDENT``.
        image: channels, height and width in pixels.
        classes: of the labels.
        batch_size: images a step.
        batches: steps a round.
        rounds: that count.
        rows: one a variant, the baseline first.
        left_out: why variants are missing.
    """

    pair: str
    image: tuple[int, int, int]
    classes: int
    batch_size: int
    batches: int
    rounds: int
    rows: list[Row] = Field(min_length=1)
    left_out: dict[str, str]

    def row(self, variant: str) -> Row | None:
        """The row of a variant; None when it was not measured."""
        return next((row for row in self.rows if row.variant == variant), None)


class SpeedResult(_Frozen):
    """The result file.

    Attributes:
        kind: of result file.
        command: makes it again.
        machine: on which it was measured.
        compile: the option; "auto" decides as for a run of ``run_epochs``.
        run_epochs: of the training of which a part is measured.
        cases: one a pair and batch size.
        seconds: wall-clock time of it all.
    """

    kind: Literal["speed"] = "speed"
    command: str
    machine: Machine
    compile: str
    run_epochs: int
    cases: list[CaseResult] = Field(min_length=1)
    seconds: float


def speedup(own: list[float], students: int, other: list[float]) -> Spread:
    """How many times as fast as another variant, round by round, for each student."""
    return Spread.of([theirs * students / ours for ours, theirs in zip(own, other, strict=True)])


def save_speed(result: SpeedResult, path: Path) -> None:
    """Write a result file as JSON, atomically.

    Raises:
        MachineError: it cannot be written.
    """
    write_result(result, path)


def load_speed(path: Path) -> SpeedResult:
    """Read a result file.

    Raises:
        InputError: it is missing, not JSON, or not a bench's result.
    """
    return read_result(SpeedResult, path)
