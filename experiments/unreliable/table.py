"""Tables of the benchmark: a row a setting, a row a kind of setting, and every recipe's accuracy."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from experiments.bench.common import table
from experiments.studies.engine.result import Recovery
from experiments.unreliable.result import KD, LABELS, BenchmarkResult, RecipeResult, SettingResult
from preceptor.compare.differences import Difference

CHECKING = ("safe", "safe-audited", "drop-wrong", "label-revision-kl", "ka-ps", "ka-dtd", "corrected-cmkd")
"""Recipes that treat a sample differently where the teacher contradicts its label."""

SAFE = ("safe", "safe-audited")


def markdown(content: dict[str, Any]) -> str:
    """The result file as tables."""
    result = BenchmarkResult.model_validate(content)
    parts = [
        decision_table(result),
        settings_table(result),
        safe_table(result),
        recipes_table(result),
        about_table(result),
        notes(result),
    ]
    return "\n\n".join(parts)


def settings_table(result: BenchmarkResult) -> str:
    """The teacher, labels alone, and what KD and the best checking recipe add, setting by setting."""
    heading = [
        "setting",
        "which side is wrong",
        "teacher on your images",
        "labels alone",
        "KD − labels",
        "best check",
        "− labels",
        "− KD",
        "− drop-wrong",
        "harm of KD undone",
    ]
    return table(heading, [_setting_row(setting) for setting in result.settings], names=2)


def _setting_row(setting: SettingResult) -> list[str]:
    best, alone, kd = best_check(setting), setting.recipe(LABELS), setting.recipe(KD)
    return [
        setting.name,
        setting.wrong,
        f"{100 * fmean(setting.teacher.accuracy_on_students):.1f}",
        f"{100 * fmean(alone.accuracy):.1f}",
        points(kd.to_labels),
        best.recipe,
        points(best.to_labels),
        points(best.to_kd),
        points(best.to_drop_wrong),
        _undone(best, kd, alone),
    ]


def best_check(setting: SettingResult) -> RecipeResult:
    """The checking recipe of the highest mean accuracy on the test set."""
    return max(_checks(setting), key=lambda own: fmean(own.accuracy))


def _checks(setting: SettingResult) -> list[RecipeResult]:
    return [own for own in setting.recipes if own.recipe in CHECKING]


def _undone(best: RecipeResult, kd: RecipeResult, alone: RecipeResult) -> str:
    if kd.to_labels is None or kd.to_labels.high >= 0:
        return ""
    recovery = Recovery.of(best.accuracy, kd.accuracy, alone.accuracy)
    return "" if recovery is None else f"{100 * recovery.ratio:.0f} %"


def points(difference: Difference | None) -> str:
    """A difference of accuracies in points, with its interval; in bold where that leaves out zero."""
    if difference is None:
        return ""
    mean, low, high = (_signed(100 * value) for value in (difference.mean, difference.low, difference.high))
    return f"**{mean}** [{low}, {high}]" if difference.is_clear else f"{mean} [{low}, {high}]"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def safe_table(result: BenchmarkResult) -> str:
    """Recipe safe against the better of labels alone and KD, without and with an audit."""
    rows = []
    for setting in result.settings:
        alone, kd = setting.recipe(LABELS), setting.recipe(KD)
        better = max((alone, kd), key=lambda own: fmean(own.accuracy))
        known = {own.recipe: own.to_labels if better is alone else own.to_kd for own in setting.recipes}
        rows.append([setting.name, better.recipe, *(points(known.get(name)) for name in SAFE), setting.situation])
    heading = ["setting", "better of the two", *(f"{name} − it" for name in SAFE), "what the audit says"]
    return table(heading, rows, names=2)


def decision_table(result: BenchmarkResult) -> str:
    """What to do, by what a user can find out: whether labels are wrong, and how much better the teacher is."""
    groups: dict[str, list[SettingResult]] = {}
    for setting in result.settings:
        groups.setdefault(situation(setting), []).append(setting)
    names = [KD, *SAFE]
    heading = ["situation", "settings", *(f"{name} − labels" for name in names), "best on average", "− labels"]
    return table(heading, [_group_row(name, groups[name], names) for name in SITUATIONS if name in groups])


NEAR = 0.1
SITUATIONS = (
    "the teacher is better than labels alone by 10 points or more",
    "the teacher is better than labels alone by less",
    "the teacher is worse than labels alone",
    "labels are wrong, the teacher is good",
    "labels and teacher are wrong",
)


def situation(setting: SettingResult) -> str:
    """Which of :data:`SITUATIONS`; the teacher's accuracy is that on the students' images."""
    if setting.wrong in ("labels", "both"):
        return SITUATIONS[3 if setting.wrong == "labels" else 4]
    margin = fmean(setting.teacher.accuracy_on_students) - fmean(setting.recipe(LABELS).accuracy)
    return SITUATIONS[0 if margin >= NEAR else 1 if margin >= 0 else 2]


def _group_row(name: str, settings: Sequence[SettingResult], shown: Sequence[str]) -> list[str]:
    everywhere = [own.recipe for own in settings[0].recipes if own.recipe != LABELS]
    everywhere = [name for name in everywhere if all(name not in setting.diverged for setting in settings)]
    gains = {recipe: [gain(setting, recipe) for setting in settings] for recipe in everywhere}
    best = max(gains, key=lambda recipe: fmean(gains[recipe]))
    ranges = [_range(gains[recipe]) if recipe in gains else "" for recipe in shown]
    return [name, str(len(settings)), *ranges, best, _signed(fmean(gains[best]))]


def gain(setting: SettingResult, recipe: str) -> float:
    """Mean accuracy of a recipe beyond labels alone, in points."""
    return 100 * (fmean(setting.recipe(recipe).accuracy) - fmean(setting.recipe(LABELS).accuracy))


def _range(values: Sequence[float]) -> str:
    return f"{_signed(min(values))} to {_signed(max(values))}" if len(values) > 1 else _signed(values[0])


def recipes_table(result: BenchmarkResult) -> str:
    """Every recipe's gain over labels alone in every setting, and over all: its lowest, its mean ECE, its copying."""
    names = dict.fromkeys(own.recipe for setting in result.settings for own in setting.recipes)
    rows = []
    for name in (name for name in names if name != LABELS):
        complete = [setting for setting in result.settings if name not in setting.diverged]
        own = [setting.recipe(name) for setting in complete]
        gains = [gain(setting, name) for setting in complete]
        rows.append(
            [
                name,
                _signed(fmean(gains)),
                _range(gains),
                f"{sum(value > 0 for value in gains)} of {len(gains)}",
                f"{fmean(_regret(setting, name) for setting in complete):.1f}",
                f"{100 * fmean(value for one in own for value in one.ece):.0f}",
                _share(value for one in own for value in one.copied),
                _share(value for one in own for value in one.mended),
            ]
        )
    heading = ["recipe", "mean gain", "lowest to highest", "above labels", "regret", "ECE, %", "copied, %", "mended, %"]
    return table(heading, rows)


def _regret(setting: SettingResult, recipe: str) -> float:
    """How far a recipe is below the best of the setting, in points."""
    best = max(fmean(own.accuracy) for own in setting.recipes)
    return 100 * (best - fmean(setting.recipe(recipe).accuracy))


def _share(values: Any) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * fmean(known):.0f}" if known else ""


def about_table(result: BenchmarkResult) -> str:
    """What every setting is, and how sure its teacher."""
    rows = [
        [
            setting.name,
            setting.kind,
            setting.about,
            setting.source,
            f"{setting.labels:,}" + (f" + {setting.unlabeled:,} unlabeled" if setting.unlabeled else ""),
            f"{100 * fmean(setting.wrong_labels):.0f}",
            f"{100 * fmean(setting.teacher.confidence_on_students):.0f}",
            f"{100 * fmean(setting.teacher.accuracy_on_test):.1f}",
        ]
        for setting in result.settings
    ]
    heading = [
        "setting",
        "kind",
        "what it is",
        "data",
        "your labels",
        "wrong, %",
        "teacher's mean confidence, %",
        "teacher on test images, %",
    ]
    return table(heading, rows, names=4)


def notes(result: BenchmarkResult) -> str:
    """What the numbers are, and are not."""
    return (
        f"Accuracies in per cent, differences in points, {_seeds(result)} seeds. A seed draws the students' images, "
        "their weights and order; a setting's teacher is one for all seeds. Held-out images, a fifth of the students', "
        "choose each recipe's learning rate, for Fashion-MNIST those of four settings. Brackets: intervals that hold "
        "for all recipes of a setting together with 95 % confidence, over seeds and test images; bold where they leave "
        "out zero. The best check is that of the highest accuracy. Harm of KD undone: (best check − KD) / "
        "(labels − KD), where KD clearly does harm. Copied and mended: of the teacher's errors on test images, those "
        "that students repeat and those they get right. Regret: points below the setting's best recipe, the mean over "
        "settings; that of safe-audited is the regret of what preceptor audit advises. Made by "
        "`python -m experiments.unreliable`."
    )


def _seeds(result: BenchmarkResult) -> str:
    """How many there are, by setting."""
    counts = sorted({len(setting.wrong_labels) for setting in result.settings})
    return f"{counts[0]} or in natural settings {counts[-1]}" if len(counts) > 1 else str(counts[0])
