"""The page of an evaluation: accuracy, abstention, calibration, errors, and agreement with the teacher."""

from pathlib import Path
from typing import Any

from preceptor import __version__
from preceptor.compare.format import PER_CENT, percent
from preceptor.metrics import FullReport
from preceptor.reports.charts import MOST_CLASSES, class_errors, error_chart
from preceptor.reports.evaluation_charts import drawn_scores, reliability_chart, risk_coverage_chart
from preceptor.reports.images import page_image
from preceptor.reports.page import check_page_path, render, write_page
from preceptor.run.evaluation import Evaluation
from preceptor.run.evaluation_text import (
    agreement_rows,
    calibration_rows,
    decision_in_words,
    estimate_of_share,
    figure,
    intervals_in_words,
    main_result,
    sets_in_words,
)

TEMPLATE = "evaluation_page.html.j2"

SHOWN_IMAGES = 24
"""Images in each gallery."""

_COVERAGES = ("95", "90", "80", "70")
_RISKS = ("1", "2", "5")
_SCORE_HEADINGS = (
    *("AURC", "excess AURC", "excess, asymptotic", "AUGRC", "AUROC"),
    *(f"error at {coverage}{PER_CENT}" for coverage in _COVERAGES),
    *(f"coverage at risk {risk}{PER_CENT}" for risk in _RISKS),
)


def evaluation_page(evaluation: Evaluation) -> str:
    """The page as HTML. It loads nothing from elsewhere: no script, no font, no image.

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
    report, card, data = evaluation.report, evaluation.data.card, evaluation.data
    shares = [None if part.accuracy.value is None else 1 - part.accuracy.value for part in report.per_class]
    errors = class_errors([part.name for part in report.per_class], [shares])
    scaled = report.scaled
    return {
        "title": f"{card.architecture} on {data.spec}",
        "run": str(data.folder),
        "report": report,
        "part": "training images" if data.whole else "test images",
        "finding": main_result(evaluation),
        "intervals": intervals_in_words(report),
        "warnings": evaluation.warnings,
        "calibration": calibration_rows(report),
        "scaled": scaled,
        "held_out": evaluation.held_out,
        "scores": _score_rows(report),
        "score_headings": _SCORE_HEADINGS,
        "lines": [line for line, _ in drawn_scores(report)],
        "risk_chart": risk_coverage_chart(report),
        "reliability_chart": reliability_chart(
            report.calibration.reliability, None if scaled is None else scaled.calibration.reliability
        ),
        "decision": decision_in_words(evaluation),
        "sets": sets_in_words(evaluation),
        "agreement": agreement_rows(report),
        "teacher": evaluation.teacher,
        "no_teacher": evaluation.no_teacher,
        "error_chart": error_chart(errors, "errors", "student"),
        "most_classes": MOST_CLASSES,
        "classes": _class_rows(report),
        "confusions": [
            (card.class_names[one.label], card.class_names[one.prediction], one.count, estimate_of_share(one.share))
            for one in report.confusions
        ],
        "wrong_images": [_gallery_image(evaluation, index) for index in report.confidently_wrong[:SHOWN_IMAGES]],
        "unsure_images": [_gallery_image(evaluation, index) for index in unsure_first(evaluation)],
        "abstains": evaluation.abstained is not None,
        "version": __version__,
    }


def unsure_first(evaluation: Evaluation) -> list[int]:
    """Indices of the images abstained on, the least sure first; without a decision, of the least sure."""
    indices = evaluation.report.least_sure
    if evaluation.abstained is not None:
        indices = [index for index in indices if bool(evaluation.abstained[index])]
    return indices[:SHOWN_IMAGES]


def _score_rows(report: FullReport) -> list[tuple[str, list[str]]]:
    return [
        (
            one.score.replace("_", " ") + "".join(f", {key} = {value:g}" for key, value in one.options.items()),
            [
                estimate_of_share(one.aurc),
                estimate_of_share(one.excess_aurc),
                estimate_of_share(one.excess_aurc_asymptotic),
                estimate_of_share(one.augrc),
                figure(one.auroc, 3),
                *(estimate_of_share(one.error_at_coverage[coverage]) for coverage in _COVERAGES),
                *(estimate_of_share(one.coverage_at_risk[risk]) for risk in _RISKS),
            ],
        )
        for one in report.selective
    ]


def _class_rows(report: FullReport) -> list[tuple[str, int, list[str]]]:
    return [
        (
            part.name,
            part.n,
            [
                estimate_of_share(part.accuracy),
                estimate_of_share(part.mean_confidence),
                estimate_of_share(part.coverage["90"]),
                estimate_of_share(part.error["90"]),
            ],
        )
        for part in report.per_class
    ]


def _gallery_image(evaluation: Evaluation, index: int) -> dict[str, Any]:
    images, card = evaluation.data.images, evaluation.data.card
    logits = evaluation.outputs[index, : card.classes].double()
    prediction, truth = int(logits.argmax()), int(images.labels[index])
    pixels = images.images[index].numpy()
    # Gray or red, green and blue, channels last; of other numbers of channels the first.
    shown = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    return {
        "image": page_image(shown, f"image {index}"),
        "name": f"{'train' if evaluation.data.whole else 'test'} {index}",
        "truth": card.class_names[truth] if truth >= 0 else None,
        "prediction": card.class_names[prediction],
        "confidence": percent(float(logits.softmax(dim=0)[prediction]), 1),
        "wrong": prediction != truth,
    }
