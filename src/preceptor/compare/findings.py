"""What a comparison shows, in sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preceptor.compare.comparison_result import ArmResult, ComparisonResult, TeacherFacts
from preceptor.compare.differences import Difference
from preceptor.compare.format import counted, listed, percent, points


@dataclass(frozen=True)
class ArmTable:
    """The arms of one teacher and one choice of settings: a table.

    Attributes:
        teacher: None where no recipe uses one.
        settings: those varied, as text; empty where nothing is.
        arms: the highest mean accuracy first, those of labels alone too.
    """

    teacher: TeacherFacts | None
    settings: str
    arms: Sequence[ArmResult]

    @property
    def heading(self) -> str:
        """Which teacher and settings; empty where there is nothing to tell apart."""
        return ", ".join(part for part in ("" if self.teacher is None else self.teacher.name, self.settings) if part)


def tables(result: ComparisonResult) -> list[ArmTable]:
    """One table for each teacher and choice of settings."""
    made = []
    settings = list(dict.fromkeys(in_words(arm) for arm in result.arms))
    teachers: list[TeacherFacts | None] = [*result.teachers] if result.teachers else [None]
    for teacher in teachers:
        for text in settings:
            arms = [
                arm
                for arm in result.arms
                if in_words(arm) == text and (arm.teacher is None or (teacher and arm.teacher == teacher.name))
            ]
            if arms:
                made.append(ArmTable(teacher, text, sorted(arms, key=lambda arm: -arm.accuracy.mean)))
    return made


def in_words(arm: ArmResult) -> str:
    """The settings that an arm varies."""
    return ", ".join(f"{key}={value}" for key, value in arm.settings.items())


def sentences(table: ArmTable, result: ComparisonResult) -> Iterator[str]:
    """What a table shows, the most important first."""
    first, baseline = table.arms[0], result.baseline
    seeds = counted(len(first.seeds), "seed")
    yield f"{first.recipe} scored highest: {percent(first.accuracy.mean)} of the {result.measured_on}, mean of {seeds}."
    compared = [(arm, arm.difference) for arm in table.arms if arm.difference is not None]
    better = [_with_gain(arm, gain) for arm, gain in compared if gain.low > 0]
    worse = [_with_gain(arm, gain) for arm, gain in compared if gain.high < 0]
    unclear = [arm.recipe for arm, gain in compared if not gain.is_clear]
    if compared:
        yield f"{'Clearly better' if better else 'No recipe is clearly better'} than {baseline}" + (
            f": {listed(better)}." if better else "."
        )
    if worse:
        yield f"Clearly worse: {listed(worse)}."
    if unclear:
        yield f"Of {listed(unclear)} these {seeds} can't tell whether they are better or worse."
    if table.teacher is not None and table.teacher.training_accuracy is not None:
        yield _about(table.teacher)


def _with_gain(arm: ArmResult, difference: Difference) -> str:
    return f"{arm.recipe} ({points(difference.mean)} points)"


def _about(teacher: TeacherFacts) -> str:
    assert teacher.training_accuracy is not None
    text = (
        f"Its teacher names the label of {percent(teacher.training_accuracy, 1)} of the students' "
        f"{teacher.labeled:,} labeled training images"
    )
    if teacher.training_confidence is not None:
        text += f", with a mean confidence of {percent(teacher.training_confidence, 0)}"
    return text + "."
