"""The page of an evaluation: accuracy, the teacher beside it, errors, training, size, calibration and abstention."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from preceptor import __version__
from preceptor.compare.format import PER_CENT, percent
from preceptor.context import UNLABELED, predicted_class
from preceptor.metrics import FullReport
from preceptor.metrics.report import PartReport, SelectiveReport
from preceptor.metrics.scores import answered_class
from preceptor.reports.chart import label
from preceptor.reports.class_errors import MOST_CLASSES, class_errors
from preceptor.reports.evaluation_charts import confusions_of, live_confusions, live_learning, live_risk
from preceptor.reports.images import page_image, shown_pixels
from preceptor.reports.live_charts import LEAST_IN_BIN, live_errors, live_reliability
from preceptor.reports.page import check_page_path, render, write_page
from preceptor.reports.vega import with_scripts
from preceptor.run.evaluation import Evaluation
from preceptor.run.evaluation_text import (
    SIZE_HEADINGS,
    agreement_rows,
    calibration_rows,
    decision_in_words,
    estimate_of_share,
    figure,
    headline,
    headline_intervals,
    intervals_in_words,
    outcome_rows,
    outcomes_in_words,
    sets_in_words,
    size_in_words,
    size_rows,
)

TEMPLATE = "evaluation_page.html.j2"

SHOWN_IMAGES = 24
"""Images in a gallery, at most."""
MOST_ROWS = 200
"""Classes in a table, the worst ones."""
LETTERS = 40
"""Of a class's name, whose middle is left out beyond."""


def evaluation_page(evaluation: Evaluation) -> str:
    """The page as HTML. It loads nothing from elsewhere, and runs its own scripts only.

    Raises:
        MachineError: the extra ``report`` is not installed.
    """
    return render(TEMPLATE, lambda: _content(evaluation))


def write_evaluation_page(evaluation: Evaluation, path: Path) -> None:
    """Write the page, in place of an earlier evaluation page at most.

    Raises:
        InputError: another file is there.
        MachineError: it cannot be written, or the extra ``report`` is not installed.
    """
    check_page_path(path)
    write_page(evaluation_page(evaluation), path)


def _content(evaluation: Evaluation) -> dict[str, Any]:
    report, data = evaluation.report, evaluation.data
    return {
        "title": f"{data.card.architecture} on {data.spec}",
        "run": str(data.folder),
        "report": report,
        "headline": headline(evaluation),
        "headline_intervals": headline_intervals(evaluation),
        "intervals": intervals_in_words(report),
        "warnings": evaluation.warnings,
        "outcomes": None if report.agreement is None else outcome_rows(report.agreement.outcomes),
        "mistakes": [] if report.agreement is None else outcomes_in_words(report.agreement.outcomes),
        "agreement": agreement_rows(report),
        "teacher": evaluation.teacher,
        "no_teacher": evaluation.no_teacher,
        **_errors(evaluation),
        "galleries": _galleries(evaluation),
        "learning": live_learning(evaluation.epochs) if evaluation.epochs else [],
        "size_headings": SIZE_HEADINGS,
        "sizes": size_rows(evaluation),
        "size": size_in_words(evaluation),
        "device": evaluation.device,
        **_probabilities(evaluation),
        "version": __version__,
        **with_scripts("charts.js"),
    }


def _errors(evaluation: Evaluation) -> dict[str, Any]:
    """By class, and by pair of classes."""
    report, names = evaluation.report, evaluation.data.card.class_names
    shares = [None if part.accuracy.value is None else 1 - part.accuracy.value for part in report.per_class]
    confusions = confusions_of(evaluation.data.images.labels, evaluation.predictions.prediction, names)
    rows = _class_rows(evaluation)
    return {
        "error_chart": live_errors(class_errors(names, [shares]), "The student's error rate by class"),
        "most_classes": MOST_CLASSES,
        "class_headings": ["images", "right", *(["teacher right"] if evaluation.teacher else []), "mean confidence"],
        "classes": rows[:MOST_ROWS],
        "matrix": live_confusions(confusions),
        "in_matrix": len(confusions.names),
        "hidden_errors": confusions.hidden_errors,
        "confusions": [
            (
                f"{label(names[one.label], LETTERS)} → {label(names[one.prediction], LETTERS)}",
                f"{one.count:,}",
                percent(one.share, 1),
            )
            for one in report.confusions
        ],
    }


def _class_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """By class, the worst first, those without images last."""
    report, labels, teacher = evaluation.report, evaluation.data.images.labels, evaluation.predictions.teacher
    right = None if teacher is None else (answered_class(teacher) == labels)[labels != UNLABELED].double()
    counts = labels[labels != UNLABELED]
    theirs = None if right is None else torch.bincount(counts, right, minlength=report.classes).tolist()

    def accuracy(numbered: tuple[int, PartReport]) -> float:
        return 2.0 if numbered[1].accuracy.value is None else numbered[1].accuracy.value

    return [
        (
            label(part.name, LETTERS),
            [
                f"{part.n:,}",
                estimate_of_share(part.accuracy, 1),
                *([] if theirs is None else [percent(theirs[number] / part.n, 1) if part.n else "–"]),
                estimate_of_share(part.mean_confidence, 1),
            ],
        )
        for number, part in sorted(enumerate(report.per_class), key=accuracy)
    ]


def _galleries(evaluation: Evaluation) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Name, heading and images of each gallery that has any."""
    abstains = evaluation.abstained is not None
    unsure = "Images it abstains on, the least sure first" if abstains else "Images of which it is least sure"
    chosen = [
        ("sure", "Images on which it is most confidently wrong", evaluation.report.confidently_wrong),
        ("unsure", unsure, unsure_first(evaluation)),
    ]
    return [
        (name, heading, [_gallery_image(evaluation, index) for index in indices[:SHOWN_IMAGES]])
        for name, heading, indices in chosen
        if indices
    ]


def unsure_first(evaluation: Evaluation) -> list[int]:
    """Indices of the images abstained on, the least sure first; without a decision, of the least sure."""
    indices = evaluation.report.least_sure
    if evaluation.abstained is not None:
        indices = [index for index in indices if bool(evaluation.abstained[index])]
    return indices[:SHOWN_IMAGES]


def _gallery_image(evaluation: Evaluation, index: int) -> dict[str, Any]:
    images, names, known = evaluation.data.images, evaluation.data.card.class_names, evaluation.predictions
    logits, truth = known.class_logits[index].double(), int(images.labels[index])
    prediction = int(known.prediction[index])
    return {
        "image": page_image(shown_pixels(images.images, index), f"image {index}"),
        "name": evaluation.data.image_name(index),
        "truth": label(names[truth], LETTERS) if truth >= 0 else None,
        "prediction": label(names[prediction], LETTERS),
        "confidence": percent(float(logits.softmax(dim=0)[prediction]), 1),
        "teacher": None
        if known.teacher is None
        else label(names[int(predicted_class(known.teacher[index][None]))], LETTERS),
        "wrong": prediction != truth,
    }


def _probabilities(evaluation: Evaluation) -> dict[str, Any]:
    """Calibration, and abstention by confidence."""
    report = evaluation.report
    diagrams = [report.calibration.reliability]
    if report.scaled is not None:
        diagrams.append(report.scaled.calibration.reliability)
    main = next(one for one in report.selective if one.score == report.main_score)
    return {
        "calibration": calibration_rows(report),
        "scaled": report.scaled,
        "held_out": evaluation.held_out,
        "reliability": live_reliability(diagrams, "How often it is right, by its confidence", "came true (accuracy)"),
        "least_in_bin": LEAST_IN_BIN,
        "main_score": _score_name(main),
        "risk_chart": live_risk(main.curve, _score_name(main), estimate_of_share(main.aurc)),
        "main_rows": _main_rows(main),
        "score_headings": ["AURC", "AUROC", f"error at 90{PER_CENT}", f"coverage at risk 2{PER_CENT}"],
        "scores": _score_rows(report),
        "decision": decision_in_words(evaluation),
        "sets": sets_in_words(evaluation),
    }


def _main_rows(one: SelectiveReport) -> list[tuple[str, str]]:
    at_coverage = ((f"error when {name}{PER_CENT} are answered", part) for name, part in one.error_at_coverage.items())
    at_risk = ((f"answered at a risk of {name}{PER_CENT}", part) for name, part in one.coverage_at_risk.items())
    return [
        *((name, estimate_of_share(part)) for name, part in (*at_coverage, *at_risk)),
        ("AURC, mean error over all coverages", estimate_of_share(one.aurc)),
        ("excess AURC, above a perfect ranking's", estimate_of_share(one.excess_aurc)),
        ("excess AURC, asymptotic form", estimate_of_share(one.excess_aurc_asymptotic)),
        ("AUGRC, mean share answered and wrong", estimate_of_share(one.augrc)),
        ("AUROC, right from wrong ones", figure(one.auroc, 3)),
    ]


def _score_rows(report: FullReport) -> Sequence[tuple[str, list[str]]]:
    return [
        (
            _score_name(one),
            [
                estimate_of_share(one.aurc),
                figure(one.auroc, 3),
                estimate_of_share(one.error_at_coverage["90"]),
                estimate_of_share(one.coverage_at_risk["2"]),
            ],
        )
        for one in report.selective
    ]


def _score_name(one: SelectiveReport) -> str:
    return one.score.replace("_", " ") + "".join(f", {key} = {value:g}" for key, value in one.options.items())
