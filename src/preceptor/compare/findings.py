"""What a comparison shows, in sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preceptor.compare.comparison_result import ArmResult, ComparisonResult, TeacherFacts
from preceptor.compare.differences import Difference
from preceptor.compare.format import counted, listed, percent, points

PLAIN, LABELS_ALONE = "kd", "none"
"""Recipes of plain distillation and of labels alone: whether the first is better says whether the teacher helps."""


@dataclass(frozen=True)
class ArmTable:
    """The arms of one teacher and one choice of settings: a table.

    Attributes:
        teacher: None where no recipe uses one.
        settings: those varied, as text; empty where nothing is.
        arms: the highest mean accuracy first, those of labels alone too. What compares these with another teacher or
            its baseline is left out.
    """

    teacher: TeacherFacts | None
    settings: str
    arms: Sequence[ArmResult]

    @property
    def heading(self) -> str:
        """Which teacher and settings; empty where there is nothing to tell apart."""
        return ", ".join(part for part in ("" if self.teacher is None else self.teacher.name, self.settings) if part)

    def arm(self, recipe: str | None) -> ArmResult | None:
        """That of a recipe, if any run of it is complete."""
        return next((arm for arm in self.arms if arm.recipe == recipe), None)


def tables(result: ComparisonResult) -> list[ArmTable]:
    """One table for each teacher and choice of settings."""
    made = []
    settings = list(dict.fromkeys(in_words(arm) for arm in result.arms))
    teachers: list[TeacherFacts | None] = [*result.teachers] if result.teachers else [None]
    for teacher in teachers:
        for text in settings:
            arms = [
                arm if arm.teacher is not None or teacher is None else _under(teacher, arm, result)
                for arm in result.arms
                if in_words(arm) == text and (arm.teacher is None or (teacher and arm.teacher == teacher.name))
            ]
            if arms:
                made.append(ArmTable(teacher, text, sorted(arms, key=lambda arm: -arm.accuracy.mean)))
    return made


def _under(teacher: TeacherFacts, arm: ArmResult, result: ComparisonResult) -> ArmResult:
    """An arm of labels alone, which stands under every teacher, without what it has from another teacher.

    Its difference is to the first baseline that is complete, its answers are set beside those of the first teacher.
    """
    baselines = [
        one.teacher
        for one in result.arms
        if one.recipe == result.baseline and not one.failed and in_words(one) == in_words(arm)
    ]
    kept: dict[str, None] = {}
    if baselines and baselines[0] not in (None, teacher.name):
        kept["difference"] = None
    if teacher is not result.teachers[0]:
        kept["beside_teacher"] = None
    return arm.model_copy(update=kept)


def in_words(arm: ArmResult) -> str:
    """The settings that an arm varies."""
    return ", ".join(f"{key}={value}" for key, value in arm.settings.items())


def sentences(table: ArmTable, result: ComparisonResult) -> Iterator[str]:
    """What a table shows, the most important first."""
    yield _highest(table, result)
    yield from _compared(table, result)
    if (worth := _plain_beside_labels(table, result)) is not None:
        yield worth
    if table.teacher is not None and table.teacher.training_accuracy is not None:
        yield _about(table.teacher)


def overall(result: ComparisonResult, several: Sequence[ArmTable]) -> str:
    """Which recipe scored highest under any teacher and settings."""
    first = max(several, key=lambda table: table.arms[0].accuracy.mean)
    arm = first.arms[0]
    seeds = counted(len(arm.seeds), "seed")
    where = in_words(arm) if arm.teacher is None else first.heading
    return (
        f"{arm.recipe}{f' ({where})' if where else ''} scored highest: {percent(arm.accuracy.mean)} of the "
        f"{result.measured_on}, mean of {seeds}."
    )


def _highest(table: ArmTable, result: ComparisonResult) -> str:
    first = table.arms[0]
    names = [arm.recipe for arm in table.arms if arm.accuracy.mean == first.accuracy.mean]
    scored = "scored" if len(table.arms) == 1 else "scored highest:"
    seeds = f"mean of {counted(len(first.seeds), 'seed')}" if len(first.seeds) > 1 else "with one seed"
    return f"{listed(names)} {scored} {percent(first.accuracy.mean)} of the {result.measured_on}, {seeds}."


def _compared(table: ArmTable, result: ComparisonResult) -> Iterator[str]:
    """Who is better or worse than the baseline, and of whom it can't be told."""
    baseline = table.arm(result.baseline)
    if baseline is None or baseline.failed:
        yield f"A run of {result.baseline}, the baseline, failed, so nothing is compared with it."
        return
    pair = _pair(table, result)
    known = [(arm, arm.difference) for arm in table.arms if arm.difference is not None and arm is not pair]
    better = [_with_gain(arm, gain) for arm, gain in known if gain.low > 0]
    worse = [_with_gain(arm, gain) for arm, gain in known if gain.high < 0]
    unclear = [arm.recipe for arm, gain in known if not gain.is_clear]
    if better:
        yield f"Clearly better than {result.baseline}: {listed(better)}."
    elif known:
        yield f"No recipe is clearly better than {result.baseline}."
    if worse:
        yield f"Clearly worse: {listed(worse)}."
    if unclear:
        seeds = len(baseline.seeds)
        these = "One seed" if seeds == 1 else f"These {seeds} seeds"
        them = f"{'is' if len(unclear) == 1 else 'are'} better or worse than {result.baseline}"
        yield f"{these} can't tell whether {listed(unclear)} {them}."
    if failed := [arm.recipe for arm in table.arms if arm.failed]:
        yield f"Not compared, as a run failed: {listed(failed)}."


def _pair(table: ArmTable, result: ComparisonResult) -> ArmResult | None:
    """The arm whose difference is that of plain distillation and labels alone."""
    named = {
        own["recipe"]: name
        for name, own in result.plan["recipes"].items()
        if set(own) == {"recipe"} and own["recipe"] in (PLAIN, LABELS_ALONE)
    }
    others = {named.get(PLAIN): named.get(LABELS_ALONE), named.get(LABELS_ALONE): named.get(PLAIN)}
    arm = table.arm(others.get(result.baseline))
    return None if arm is None or arm.difference is None else arm


def _plain_beside_labels(table: ArmTable, result: ComparisonResult) -> str | None:
    """Whether plain distillation is better than labels alone; None where the two were not compared."""
    arm = _pair(table, result)
    if arm is None or arm.difference is None:
        return None
    gain = arm.difference
    plain, labels = arm.recipe, result.baseline
    mean, low, high = gain.mean, gain.low, gain.high
    if result.plan["recipes"][result.baseline]["recipe"] == PLAIN:
        plain, labels = labels, plain
        mean, low, high = -mean, -high, -low
    by = f"by {100 * abs(mean):.2f} points"
    if low > 0:
        return f"Plain distillation ({plain}) is clearly better than labels alone ({labels}), {by}."
    if high < 0:
        return (
            f"Plain distillation ({plain}) is clearly worse than labels alone ({labels}), {by}: used as it is, this "
            "teacher costs accuracy."
        )
    return (
        f"It can't be told whether plain distillation ({plain}) is better than labels alone ({labels}): "
        f"{points(mean)} points, interval {points(low)} to {points(high)}."
    )


def _with_gain(arm: ArmResult, difference: Difference) -> str:
    return f"{arm.recipe} ({points(difference.mean)} points)"


def _about(teacher: TeacherFacts) -> str:
    assert teacher.training_accuracy is not None
    text = (
        f"The teacher names the label of {percent(teacher.training_accuracy, 1)} of the students' "
        f"{teacher.labeled:,} labeled training images"
    )
    if teacher.training_confidence is not None:
        text += f", with a mean confidence of {percent(teacher.training_confidence, 0)}"
    return text + "."
