"""The page of an evaluation: how good a student is, and how well it knows when it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor import __version__
from preceptor.compare.format import probability
from preceptor.metrics import Estimate, FullReport
from preceptor.metrics.report import CalibrationReport
from preceptor.reports.charts import MOST_CLASSES, ClassError, error_chart
from preceptor.reports.evaluation_charts import drawn_scores, reliability_chart, risk_coverage_chart
from preceptor.reports.extra import require_report_extra
from preceptor.reports.images import PageImage, page_image
from preceptor.reports.page import render, write_page
from preceptor.run.evaluation import Evaluation
from preceptor.run.evaluation_text import (
    agreement_rows,
    decision_in_words,
    estimate_of_share,
    figure,
    finding,
    sets_in_words,
)

TEMPLATE = "evaluation_page.html.j2"

SHOWN_IMAGES = 24
"""Images in each gallery."""

_COVERAGES = ("100", "95", "90", "80", "70")
_RISKS = ("1", "2", "5")


@dataclass(frozen=True)
class ImageItem:
    """An image of a gallery.

    Attributes:
        image: to put into the page.
        truth: the right class; None where it is not known.
        said: what the student says.
        confidence: how surely.
        wrong: whether that is wrong.
    """

    image: PageImage
    truth: str | None
    said: str
    confidence: str
    wrong: bool


def evaluation_page(evaluation: Evaluation) -> str:
    """The page as HTML. It asks for nothing from elsewhere: no script, no font, no image.

    Raises:
        MachineError: the extra ``report`` is not installed.
    """
    require_report_extra()
    return render(TEMPLATE, _content(evaluation))


def write_evaluation_page(evaluation: Evaluation, path: Path) -> None:
    """Write the page, beside its place and renamed.

    Raises:
        MachineError: it cannot be written, or the extra ``report`` is not installed.
    """
    write_page(evaluation_page(evaluation), path)


def _content(evaluation: Evaluation) -> dict[str, Any]:
    report, card, shown = evaluation.report, evaluation.shown.card, evaluation.shown
    errors = class_errors(report)
    scaled = report.scaled
    return {
        "title": f"{card.architecture} on {shown.spec}",
        "run": str(shown.folder),
        "report": report,
        "part": "training images" if shown.whole else "test images",
        "finding": finding(evaluation),
        "facts": facts(report),
        "calibration": _calibration_rows(report.calibration, None if scaled is None else scaled.calibration),
        "scaled": scaled,
        "held_out": evaluation.held_out,
        "scores": _score_rows(report),
        "score_headings": [
            "AURC",
            "excess AURC",
            "excess, asymptotic",
            "AUGRC",
            "AUROC",
            *(f"error at {coverage}\N{NO-BREAK SPACE}%" for coverage in _COVERAGES[1:]),
            *(f"coverage at risk {risk}\N{NO-BREAK SPACE}%" for risk in _RISKS),
        ],
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
        "wrong_pictures": _pictures(evaluation, report.confidently_wrong[:SHOWN_IMAGES]),
        "declined_pictures": _pictures(evaluation, declined_first(evaluation)),
        "declines": evaluation.declined is not None,
        "version": __version__,
    }


def class_errors(report: FullReport) -> list[ClassError]:
    """The errors by class, the worst first, classes without images last."""
    shares = [(part.name, part.accuracy.value) for part in report.per_class]
    known = [ClassError(name, 1 - value, [1 - value]) for name, value in shares if value is not None]
    missing = [ClassError(name, float("nan"), [float("nan")]) for name, value in shares if value is None]
    return [*sorted(known, key=lambda error: -error.mean), *missing]


def facts(report: FullReport) -> list[tuple[str, str]]:
    """What is said first, by name."""
    rows = [("accuracy", estimate_of_share(report.accuracy))]
    if report.top5_accuracy is not None:
        rows.append(("among its first five", estimate_of_share(report.top5_accuracy)))
    return [*rows, ("mean confidence", estimate_of_share(report.mean_confidence))]


def declined_first(evaluation: Evaluation) -> list[int]:
    """Positions of the images that are declined, the least sure first; without a decision, of the least sure."""
    positions = evaluation.report.least_sure
    if evaluation.declined is not None:
        positions = [position for position in positions if bool(evaluation.declined[position])]
    return positions[:SHOWN_IMAGES]


def _calibration_rows(before: CalibrationReport, after: CalibrationReport | None) -> list[tuple[str, list[str]]]:
    columns = [before] if after is None else [before, after]
    shares = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "classwise_ece": "class-wise ECE"}
    return [
        ("negative log-likelihood", [figure(one.nll, 4) for one in columns]),
        ("Brier score", [figure(one.brier, 4) for one in columns]),
        *((said, [estimate_of_share(getattr(one, name)) for one in columns]) for name, said in shares.items()),
    ]


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
                *(estimate_of_share(one.error_at_coverage[coverage]) for coverage in _COVERAGES[1:]),
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
                _share(part.mean_confidence),
                _share(part.coverage["90"]),
                _share(part.error["90"]),
            ],
        )
        for part in report.per_class
    ]


def _share(value: float | None) -> str:
    return estimate_of_share(Estimate(value, None, None))


def _pictures(evaluation: Evaluation, positions: Sequence[int]) -> list[ImageItem]:
    return [_picture(evaluation, position) for position in positions]


def _picture(evaluation: Evaluation, position: int) -> ImageItem:
    images, card = evaluation.shown.images, evaluation.shown.card
    logits = evaluation.outputs[position, : card.classes]
    said, truth = int(logits.argmax()), int(images.labels[position])
    pixels = images.images[position]
    return ImageItem(
        image=page_image(_shown(pixels.numpy()), f"image {position}"),
        truth=card.class_names[truth] if truth >= 0 else None,
        said=card.class_names[said],
        confidence=probability(float(logits.softmax(dim=0)[said])),
        wrong=said != truth,
    )


def _shown(pixels: Any) -> Any:
    """Gray or red, green and blue, channels last; of other numbers of channels the first."""
    return pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
