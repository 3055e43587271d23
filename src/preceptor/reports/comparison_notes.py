"""What makes a comparison doubtful, in sentences."""

from collections.abc import Iterator

from preceptor.compare.comparison_result import ComparisonResult, TeacherFacts
from preceptor.compare.format import counted, percent

FAR_APART = 0.05
"""Between a teacher's accuracy on training labels and on the images measured on, worth a sentence."""


def warnings(result: ComparisonResult) -> list[str]:
    """What is missing from the comparison."""
    partly = {arm.recipe: arm.failed for arm in result.arms if arm.failed}
    runs = [*(run for failed in partly.values() for run in failed)]
    lost = sum(len(failed) for failed in result.unfinished.values())
    if not runs and not lost:
        return []
    planned = lost + sum(len(arm.seeds) + len(arm.failed) for arm in result.arms)
    text = f"{len(runs) + lost} of {counted(planned, 'run')} failed."
    if result.unfinished:
        text += f" Without any student, and not in the tables: {'; '.join(result.unfinished)}."
    return [text]


def caveats(result: ComparisonResult) -> list[str]:
    """What to know before believing the page."""
    return [*_measuring(result), *_intervals(result), *_teachers(result), *_failures(result)]


def _measuring(result: ComparisonResult) -> Iterator[str]:
    once = "The students are those of their last epoch; no epoch, setting or seed was chosen by the images measured on."
    if result.measured_on == "test set":
        yield f"{once} The test set was used once for each."
    else:
        yield (
            f"There is no test set. The students are measured on the {result.measured_on}, which were not trained on; "
            "they are as many as were held out, and those of the epochs’ curves."
        )
    recipes = len({arm.recipe for arm in result.arms})
    if len(result.arms) > 1:
        yield (
            f"The highest of {len(result.arms)} accuracies is flattered by having been chosen on these very images. "
            "Before you quote it, measure that student on images that were not used here."
        )
    if recipes > 1 and not any(key.startswith("training.") for key in result.differing):
        yield (
            "All recipes were trained with the same epochs, learning rate and so on. One that wants others is at a "
            "disadvantage; --vary tries some."
        )


def _intervals(result: ComparisonResult) -> Iterator[str]:
    if not result.compared:
        return
    seeds, percents = len(result.plan["seeds"]), "95\N{NO-BREAK SPACE}%"
    holds = f"All {result.compared} intervals together hold the true differences"
    covers = (
        f"{'The interval holds the true difference' if result.compared == 1 else holds} with {percents} confidence, "
    )
    if seeds == 1:
        yield (
            f"{covers}over other images of this kind. With one seed, training again is not in it: another seed may "
            "turn the order around."
        )
    else:
        yield (
            f"{covers}over training again with other seeds and over other images of this kind. "
            f"{'Few seeds make them long.' if seeds < 5 else ''}"
        )
    yield (
        "Not in the intervals: other training images, other teachers, other students, other data. All runs were "
        "trained on the same images; on another draw of them the order may differ."
    )


def _teachers(result: ComparisonResult) -> Iterator[str]:
    for teacher in result.teachers:
        if (gap := _gap(teacher)) is not None and gap > FAR_APART:
            yield (
                f"Teacher {teacher.name} names {percent(teacher.training_accuracy or 0, 1)} of the training labels, "
                f"and {percent(teacher.accuracy or 0, 1)} of those of the {result.measured_on}. It probably learned "
                "from these training images: then it is hardly ever wrong on them, and there is little to correct. "
                "Outputs that are honest there come from preceptor crossfit."
            )
    if result.teachers:
        yield "Seconds are those of a student’s own steps, beside others on one machine: compare them roughly."


def _gap(teacher: TeacherFacts) -> float | None:
    if teacher.training_accuracy is None or teacher.accuracy is None:
        return None
    return teacher.training_accuracy - teacher.accuracy


def _failures(result: ComparisonResult) -> Iterator[str]:
    for arm in result.arms:
        for run in arm.failed:
            yield f"{arm.recipe}, seed {run.seed}, failed: {run.message}. Its other seeds alone are in its numbers."
    for name, failed in result.unfinished.items():
        yield f"{name} failed with every seed: {failed[0].message}."
