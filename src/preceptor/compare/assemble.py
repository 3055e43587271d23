"""The result of a comparison, from the folders of its runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from preceptor.compare.answers import Answers, MeasuredImages, measured_images, read_answers, write_answers
from preceptor.compare.comparison import Cell, Comparison
from preceptor.compare.comparison_result import (
    COVERAGES,
    ArmResult,
    Band,
    ComparisonResult,
    Cost,
    EpochPoint,
    FailedRun,
    Meeting,
    TeacherFacts,
)
from preceptor.compare.differences import Difference, corrected_differences
from preceptor.compare.measure import Measure
from preceptor.context import predicted_class
from preceptor.data import Dataset
from preceptor.metrics import calibration_error
from preceptor.metrics.accuracy import per_class_accuracy
from preceptor.metrics.agreement import outcomes
from preceptor.metrics.selective import Ranking, samples_kept
from preceptor.recipes.reader import DESCRIPTIONS
from preceptor.run import versions
from preceptor.run.resume import run_entries, run_state
from preceptor.run.set_up import SPLIT_SETTINGS, RunContext, data_key, training_data
from preceptor.teachers.cache import LogitCache
from preceptor.training.device import choose_device

BATCH = 512

Arm = tuple[str, str | None, str]
"""Recipe, teacher, and settings as text."""


def assemble(
    plan: Comparison, cells: Sequence[Cell], out: Path, contexts: Mapping[str, RunContext]
) -> ComparisonResult:
    """The result of all runs that are complete.

    Args:
        plan, cells: the comparison and all its runs.
        out: its folder.
        contexts: by teacher, the set-up of one of its runs.

    Raises:
        InputError: no run is complete.
    """
    images = _Images(out)
    by_arm: dict[Arm, list[Cell]] = {}
    for cell in cells:
        by_arm.setdefault(_arm(cell), []).append(cell)
    done = {arm: [cell for cell in runs if run_state(out / cell.place) == "complete"] for arm, runs in by_arm.items()}
    failed = {
        arm: [FailedRun(seed=cell.seed, message=_failure(out / cell.place)) for cell in runs if cell not in done[arm]]
        for arm, runs in by_arm.items()
    }
    answers = {arm: [images.answers(cell) for cell in runs] for arm, runs in done.items() if runs}
    measured = images.of(cells[0])
    facts, teachers = [], {}
    for name, context in contexts.items():
        one, teachers[name] = _teacher_facts(name, context, measured)
        facts.append(one)
    differences = _differences(plan, answers, {arm: images.of(runs[0]) for arm, runs in done.items() if runs})
    arms = [
        _arm_result(arm, done[arm], failed[arm], answers[arm], images, out, differences, teachers) for arm in answers
    ]
    first = images.dataset(cells[0])
    return ComparisonResult(
        data=cells[0].config.data,
        measured_on=measured.name,
        samples=len(measured.images),
        class_names=first.class_names,
        baseline=plan.baseline,
        compared=len(differences),
        teachers=facts,
        arms=arms,
        unfinished={_in_words(arm): failed[arm] for arm in by_arm if arm not in answers},
        differing=_differing([done[arm][0] for arm in answers]),
        plan=plan.model_dump(mode="json"),
        versions=versions(),
    )


def _arm(cell: Cell) -> Arm:
    return cell.recipe, cell.teacher, ", ".join(f"{key}={value}" for key, value in cell.settings.items())


def _in_words(arm: Arm) -> str:
    return ", ".join(part for part in arm if part)


def _failure(folder: Path) -> str:
    messages = [str(entry.get("message")) for entry in run_entries(folder) if entry.get("event") == "failed"]
    return messages[-1] if messages else f"not finished ({run_state(folder)})"


class _Images:
    """The images that runs are measured on, loaded once a data set."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._datasets: dict[str, Dataset] = {}
        self._measured: dict[str, MeasuredImages] = {}

    def dataset(self, cell: Cell) -> Dataset:
        key = data_key(cell.config)
        if key not in self._datasets:
            self._datasets[key] = training_data(cell.config)
        return self._datasets[key]

    def of(self, cell: Cell) -> MeasuredImages:
        key = data_key(cell.config) + cell.config.model_dump_json(include=SPLIT_SETTINGS)
        if key not in self._measured:
            self._measured[key] = measured_images(cell.config, self.dataset(cell))
        return self._measured[key]

    def answers(self, cell: Cell) -> Answers:
        """Those that were kept; a student that was not asked before is asked now."""
        folder, measured = self._out / cell.place, self.of(cell)
        if read_answers(folder, len(measured.images)) is None:
            write_answers(folder, measured, choose_device(cell.config.device))
        answers = read_answers(folder, len(measured.images))
        assert answers is not None, "they were just written"
        return answers


def _differences(
    plan: Comparison, answers: Mapping[Arm, Sequence[Answers]], images: Mapping[Arm, MeasuredImages]
) -> dict[Arm, Difference]:
    """Of every arm whose runs are all complete, to the baseline of the same teacher and settings."""
    right = {
        arm: torch.stack([one.predicted == images[arm].images.labels for one in runs])
        for arm, runs in answers.items()
        if len(runs) == len(plan.seeds)
    }
    tables: list[tuple[Arm, list[Arm]]] = []
    for baseline in [arm for arm in right if arm[0] == plan.baseline]:
        # A baseline of labels alone is that of every teacher; a recipe of labels alone is compared under the first.
        others = [arm for arm in right if arm != baseline and arm[2] == baseline[2]]
        if baseline[1] is not None:
            first = next(arm for arm in right if arm[0] == plan.baseline and arm[2] == baseline[2])
            others = [arm for arm in others if arm[1] == baseline[1] or (arm[1] is None and baseline == first)]
        tables.append((baseline, others))
    compared = sum(len(others) for _, others in tables)
    result: dict[Arm, Difference] = {}
    for baseline, others in tables:
        if others:
            rows = {str(arm): right[arm] for arm in (baseline, *others)}
            differences = corrected_differences(rows, str(baseline), comparisons=compared)
            result |= {arm: differences[str(arm)] for arm in others}
    return result


def _teacher_facts(
    name: str, context: RunContext, measured: MeasuredImages
) -> tuple[TeacherFacts, Int[Tensor, " n"] | None]:
    """What is known of a teacher, and the classes it names of the images measured on, if it can be asked."""
    loaded, check = context.teacher, context.teacher_predictions
    assert loaded is not None, "a run that uses a teacher"
    labeled = int((context.train.labels.cpu()[context.index] >= 0).sum())
    teacher = loaded.teacher.teacher if isinstance(loaded.teacher, LogitCache) else loaded.teacher
    unasked = None
    if teacher is None:
        unasked = "a cache alone holds outputs of the training images only"
    elif measured.index is None and any(member.kind == "file" for member in loaded.members):
        unasked = "a file holds outputs of the training images only"
    predicted = None
    if unasked is None:
        assert teacher is not None
        place, view, parts = context.train.images.device, context.augmentation.identity, []
        index = torch.arange(len(measured.images)) if measured.index is None else measured.index
        for images, part in zip(measured.images.images.split(BATCH), index.split(BATCH), strict=True):
            logits = teacher.outputs(images.to(place), part, torch.full_like(part, view)).logits
            parts.append(predicted_class(logits).cpu())
        predicted = torch.cat(parts)
    return (
        TeacherFacts(
            name=name,
            paths=[str(member.path) for member in loaded.members],
            kind=loaded.kind,
            images=len(context.index),
            labeled=labeled,
            training_accuracy=None if check is None else check.check.accuracy,
            training_confidence=None if check is None else float(check.confidence.mean()),
            accuracy=None if predicted is None else float((predicted == measured.images.labels).double().mean()),
            unasked=unasked,
        ),
        predicted,
    )


def _arm_result(
    arm: Arm,
    runs: Sequence[Cell],
    failed: list[FailedRun],
    answers: Sequence[Answers],
    images: _Images,
    out: Path,
    differences: Mapping[Arm, Difference],
    teachers: Mapping[str, Int[Tensor, " n"] | None],
) -> ArmResult:
    first = runs[0]
    labels, classes = images.of(first).images.labels, images.dataset(first).classes
    rights = [one.predicted == labels for one in answers]
    rankings = [Ranking.of(one.confidence, ~right) for one, right in zip(answers, rights, strict=True)]
    epochs = [[entry for entry in run_entries(out / run.place) if entry.get("event") == "epoch"] for run in runs]
    held_out = [one[-1]["validation_accuracy"] for one in epochs if "validation_accuracy" in one[-1]]
    predicted = teachers.get(arm[1] or next(iter(teachers), ""))
    return ArmResult(
        recipe=arm[0],
        about=first.config.recipe.about,
        paper=first.config.recipe.paper,
        teacher=arm[1],
        settings=dict(first.settings),
        seeds=[run.seed for run in runs],
        failed=failed,
        accuracy=Measure.of([float(right.double().mean()) for right in rights]),
        nll=Measure.of([float(one.nll.double().mean()) for one in answers]),
        ece=Measure.of([calibration_error(a.confidence, r) for a, r in zip(answers, rights, strict=True)]),
        aurc=Measure.of([float(ranking.aurc()) for ranking in rankings]),
        held_out=Measure.of(held_out) if len(held_out) == len(runs) else None,
        difference=differences.get(arm),
        per_class=_per_class(answers, labels, classes),
        beside_teacher=None if predicted is None else _meetings(answers, predicted, labels),
        risk=_mean_rows(_risk(ranking) for ranking in rankings),
        curve=list(_curve(epochs)),
        cost=Cost(
            seconds=Measure.of([sum(entry["student_seconds"] for entry in one) for one in epochs]),
            queried=Measure.of([sum(entry["queried"] for entry in one) for one in epochs]),
            parameters=answers[0].facts["parameters"],
            peak_memory=max(one.facts["peak_memory"] for one in answers),
        ),
        folders=[str(run.place) for run in runs],
    )


def _per_class(answers: Sequence[Answers], labels: Int[Tensor, " n"], classes: int) -> list[float | None]:
    """Accuracy by class, the mean over seeds; None for a class without an image."""
    by_seed = torch.stack([per_class_accuracy(one.predicted, labels, classes) for one in answers])
    return [None if share != share else share for share in by_seed.mean(dim=0).tolist()]


def _meetings(
    answers: Sequence[Answers], teacher: Int[Tensor, " n"], labels: Int[Tensor, " n"]
) -> dict[Meeting, float]:
    """Shares of the images by how teacher and student meet, the mean over seeds."""
    counted = [outcomes(one.predicted, teacher, labels) for one in answers]
    counts: dict[Meeting, list[int]] = {
        "both_right": [one.both_right for one in counted],
        "mended": [one.mended for one in counted],
        "own_mistake": [one.own for one in counted],
        "copied": [one.copied for one in counted],
        "other_mistake": [one.wrong_otherwise for one in counted],
    }
    return {kind: fmean(by_seed) / len(labels) for kind, by_seed in counts.items()}


def _risk(ranking: Ranking) -> list[float]:
    kept = [samples_kept(ranking.n, max(coverage / 100, 1 / ranking.n)) for coverage in COVERAGES]
    return [float(value) for value in ranking.error_among(kept)]


def _mean_rows(rows: Iterable[Sequence[float]]) -> list[float]:
    return [fmean(values) for values in zip(*rows, strict=True)]


def _curve(epochs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[EpochPoint]:
    for entries in zip(*epochs, strict=False):
        held_out = [entry["validation_accuracy"] for entry in entries if "validation_accuracy" in entry]
        yield EpochPoint(
            epoch=entries[0]["epoch"],
            loss=Band.of([entry["total"] for entry in entries]),
            held_out=Band.of(held_out) if held_out else None,
        )


def _differing(runs: Sequence[Cell]) -> dict[str, list[Any]]:
    """The settings in which runs differ, by dotted key, a value a run; what describes a recipe is left out."""
    flat = [dict(_leaves(run.config.model_dump(mode="json", exclude={"seed"}))) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    described = tuple(f"recipe.{name}" for name in DESCRIPTIONS)
    rows = {key: [one.get(key) for one in flat] for key in keys if not key.startswith(described)}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
